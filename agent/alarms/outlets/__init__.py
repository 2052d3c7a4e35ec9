"""The ways out for alarms. A new one is an entry in the union, and one in the service, which opens it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agent.alarms.outlets.follow import Follower, Outlet, OutletOptions
from agent.alarms.outlets.mail import Mail, MailOptions
from agent.alarms.outlets.webhook import Webhook, WebhookOptions, webhook_secret
from agent.schema import Name


class CentreOptions(OutletOptions):
    """`[[outlet]]` with `kind = "thingsboard"`: alarms at the centre, by the REST side of `uplink`."""

    kind: Literal["thingsboard"]
    uplink: Name


AnyOutlet = Annotated[WebhookOptions | MailOptions | CentreOptions, Field(discriminator="kind")]

__all__ = [
    "AnyOutlet",
    "CentreOptions",
    "Follower",
    "Mail",
    "MailOptions",
    "Outlet",
    "OutletOptions",
    "Webhook",
    "WebhookOptions",
    "webhook_secret",
]
