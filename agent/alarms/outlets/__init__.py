"""The ways out for alarms. A new one is an entry in the union, and one in the service, which opens it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from agent.alarms.outlets.follow import Follower, Outlet, OutletOptions
from agent.alarms.outlets.mail import Mail, MailOptions
from agent.alarms.outlets.webhook import Webhook, WebhookOptions, webhook_secret
from agent.schema import Name


class CentreOptions(OutletOptions):
    """`[[outlet]]` with `kind = "thingsboard"`: by the REST side of `uplink`; off while it has none."""

    kind: Literal["thingsboard"]
    uplink: Name


def outlet_faults(
    outlets: Iterable[tuple[str, Mapping[str, Any]]], uplinks: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """What is wrong between outlets (key path and table) and uplinks, as key path and text."""
    centres = [str(each.get("name")) for each in uplinks if each.get("kind") == "thingsboard"]
    for path, outlet in outlets:
        wanted = outlet.get("uplink")
        if outlet.get("kind") == "thingsboard" and isinstance(wanted, str) and wanted not in centres:
            known = ", ".join(centres) or "none"
            yield f"{path}.uplink", f"expected an uplink to a ThingsBoard ({known}), found {wanted!r}"
        if outlet.get("ca_file") and (
            outlet.get("security") == "off" or str(outlet.get("url", "https:")).startswith("http:")
        ):
            yield f"{path}.ca_file", "expected TLS beside it: without TLS it is never used"


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
    "outlet_faults",
    "webhook_secret",
]
