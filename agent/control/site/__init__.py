"""The running control of a site: around the pure core of `agent.control`, its config, clock, files and doors.

`SiteControl` is what the service opens and runs. numpy comes with it: import it only where there are rooms.
"""

from agent.control.site.rests import Rests
from agent.control.site.site_control import Doors, SiteControl

__all__ = ["Doors", "Rests", "SiteControl"]
