"""The door on the LAN: tokens, live readings over WebSocket, CSV export, health, and the page."""

from agent.server.app import Server
from agent.server.door import Door
from agent.server.identity.permissions import Role
from agent.server.identity.users import User, UserError, Users
from agent.server.office import IDENTITY_FILE
from agent.server.options import ServerOptions
from agent.server.parts import Parts

__all__ = ["IDENTITY_FILE", "Door", "Parts", "Role", "Server", "ServerOptions", "User", "UserError", "Users"]
