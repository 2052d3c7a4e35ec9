"""The doors out. Each keeps what it has yet to deliver: an outage of a second and of a week are one code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from agent.store import Store
from agent.uplink.companion import let_talk
from agent.uplink.credentials import SECRET_KEYS, certificate_faults, secret
from agent.uplink.plain_mqtt import PlainMqtt, PlainMqttOptions
from agent.uplink.settings import Setting, Settings
from agent.uplink.thingsboard import ThingsBoard, ThingsBoardOptions
from agent.uplink.uplink import Uplink, UplinkState
from agent.uplink.wishes import SETTINGS

UplinkOptions = Annotated[ThingsBoardOptions | PlainMqttOptions, Field(discriminator="kind")]
UPLINKS = {"thingsboard": ThingsBoard, "mqtt": PlainMqtt}


def open_uplinks(
    options: Iterable[ThingsBoardOptions | PlainMqttOptions], store: Store, state_dir: Path, site: str
) -> list[Uplink]:
    """An uplink for each table, delivering from `store`; a standby knows its primary. `state_dir` is their
    memory, `site` names us where a topic does."""

    def opened(table: ThingsBoardOptions | PlainMqttOptions, primary: Uplink | None) -> Uplink:
        if isinstance(table, PlainMqttOptions):
            return PlainMqtt(table, store, site, primary)
        return ThingsBoard(table, store, state_dir, primary)

    tables = list(options)
    primaries = {table.name: opened(table, None) for table in tables if not table.standby_for}
    store.outbox.want(primaries)
    for name in primaries:
        store.outbox.progress(name)  # from now on the store keeps for it what it has not delivered
    return [
        opened(table, primaries[table.standby_for]) if table.standby_for else primaries[table.name]
        for table in tables
    ]


def standby_faults(tables: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
    """What is wrong between uplinks, given as key path and table: as key path and text."""
    written = list(tables)
    primaries = [str(table.get("name")) for _, table in written if not table.get("standby_for")]
    for path, table in written:
        wanted = table.get("standby_for")
        if isinstance(wanted, str) and wanted not in primaries:
            known = ", ".join(primaries) or "none"
            yield (
                f"{path}.standby_for",
                f"expected an uplink that is not a standby itself ({known}), found {wanted!r}",
            )
        elif wanted is None and (stray := [key for key in ("takeover_s", "on_return") if key in table]):
            yield f"{path}.{stray[0]}", "expected standby_for beside it: only a standby takes over"


__all__ = [
    "SECRET_KEYS",
    "SETTINGS",
    "UPLINKS",
    "PlainMqtt",
    "PlainMqttOptions",
    "Setting",
    "Settings",
    "ThingsBoard",
    "ThingsBoardOptions",
    "Uplink",
    "UplinkOptions",
    "UplinkState",
    "certificate_faults",
    "let_talk",
    "open_uplinks",
    "secret",
    "standby_faults",
]
