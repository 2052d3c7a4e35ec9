"""Changing the configuration and the profiles of a running agent: tried first, exchanged whole, the version
before it kept."""

from agent.configuring.document import Configuring
from agent.configuring.sheets import Sheets

__all__ = ["Configuring", "Sheets"]
