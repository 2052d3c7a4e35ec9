"""The doors out. An uplink is a cursor over the store: an outage of a second and of a week are one code."""

from __future__ import annotations

from agent.store import Store
from agent.uplink.thingsboard import ThingsBoard, ThingsBoardOptions, secret

UplinkOptions = ThingsBoardOptions
UPLINKS = {"thingsboard": ThingsBoard}


def open_uplink(options: UplinkOptions, store: Store) -> ThingsBoard:
    """The uplink that `options.kind` names, delivering from `store`."""
    return UPLINKS[options.kind](options, store)


__all__ = ["UPLINKS", "ThingsBoard", "UplinkOptions", "open_uplink", "secret"]
