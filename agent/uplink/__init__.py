"""The doors out. Each keeps what it has yet to deliver: an outage of a second and of a week are one code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from agent.store import Store
from agent.uplink.plain_mqtt import PlainMqtt, PlainMqttOptions
from agent.uplink.thingsboard import ThingsBoard, ThingsBoardOptions, secret
from agent.uplink.uplink import Uplink, UplinkState

UplinkOptions = Annotated[ThingsBoardOptions | PlainMqttOptions, Field(discriminator="kind")]
UPLINKS = {"thingsboard": ThingsBoard, "mqtt": PlainMqtt}


def open_uplinks(
    options: Iterable[ThingsBoardOptions | PlainMqttOptions], store: Store, site: str
) -> list[Uplink]:
    """An uplink for each table, delivering from `store`; a standby knows its primary."""
    tables = list(options)
    store.outbox.want([table.name for table in tables if not table.standby_for])
    primaries = {table.name: _open(table, store, site, None) for table in tables if not table.standby_for}
    return [
        _open(table, store, site, primaries[table.standby_for])
        if table.standby_for
        else primaries[table.name]
        for table in tables
    ]


def _open(
    options: ThingsBoardOptions | PlainMqttOptions, store: Store, site: str, primary: Uplink | None
) -> Uplink:
    if isinstance(options, PlainMqttOptions):
        return PlainMqtt(options, store, primary, site)
    return ThingsBoard(options, store, primary)


__all__ = [
    "UPLINKS",
    "PlainMqtt",
    "PlainMqttOptions",
    "ThingsBoard",
    "ThingsBoardOptions",
    "Uplink",
    "UplinkOptions",
    "UplinkState",
    "open_uplinks",
    "secret",
]
