"""The ways out for alarms.

A new one is an entry in the union of `options`, and one in `agent.alarming`, which opens it.
"""

from agent.alarms.outlets.follow import Follower, Outlet
from agent.alarms.outlets.options import (
    AnyOutlet,
    CentreOptions,
    MailOptions,
    OutletOptions,
    WebhookOptions,
    outlet_faults,
)

__all__ = [
    "AnyOutlet",
    "CentreOptions",
    "Follower",
    "MailOptions",
    "Outlet",
    "OutletOptions",
    "WebhookOptions",
    "outlet_faults",
]
