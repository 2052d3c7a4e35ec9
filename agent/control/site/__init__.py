"""The running control of a site: around the pure core of `agent.control`, its config, clock, files and doors.

`SiteControl` is what the service opens and runs. Nothing here loads numpy in the agent's own process: what
needs it (plans, learning, holidays, tariffs) is done in a child while it is needed (`aside`).
"""

from agent.control.site.doors import Doors
from agent.control.site.rests import Rests
from agent.control.site.site_control import SiteControl

__all__ = ["Doors", "Rests", "SiteControl"]
