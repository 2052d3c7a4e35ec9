"""The door on the LAN: tokens, live readings over WebSocket, CSV export, health, and the page."""

from agent.server.app import IDENTITY_FILE, Server
from agent.server.options import ServerOptions
from agent.server.users import Role, User, UserError, Users

__all__ = ["IDENTITY_FILE", "Role", "Server", "ServerOptions", "User", "UserError", "Users"]
