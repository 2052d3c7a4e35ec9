"""The doors out. An uplink is a cursor over the store: an outage of a second and of a week are one code."""

from __future__ import annotations

from pathlib import Path

from agent.store import Store
from agent.uplink.credentials import SECRET_KEYS, certificate_faults, secret
from agent.uplink.thingsboard import ThingsBoard, ThingsBoardOptions

UplinkOptions = ThingsBoardOptions
UPLINKS = {"thingsboard": ThingsBoard}


def open_uplink(options: UplinkOptions, store: Store, state_dir: Path) -> ThingsBoard:
    """The uplink that `options.kind` names, delivering from `store`; `state_dir` is its memory."""
    return UPLINKS[options.kind](options, store, state_dir)


__all__ = [
    "SECRET_KEYS",
    "UPLINKS",
    "ThingsBoard",
    "UplinkOptions",
    "certificate_faults",
    "open_uplink",
    "secret",
]
