"""Any MQTT broker: one JSON object per reading, on a topic of its own; see docs/uplinks.md."""

from __future__ import annotations

import math
import ssl
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import aiomqtt
import orjson
from pydantic import Field

from agent.model import Group, Reading
from agent.schema import FilePath
from agent.store import Store
from agent.uplink.credentials import secret
from agent.uplink.message import Message
from agent.uplink.mqtt import Session
from agent.uplink.options import DeliveryOptions
from agent.uplink.uplink import Uplink


class PlainMqttOptions(DeliveryOptions):
    """`[[uplink]]` with `kind = "mqtt"`."""

    kind: Literal["mqtt"]
    username: Annotated[str, Field(max_length=256)] = ""
    password_file: FilePath | None = None
    client_id: Annotated[str, Field(max_length=64)] = ""
    tls: bool = False
    ca_file: FilePath | None = None
    topic: Annotated[str, Field(pattern=r"^[^#+$/][^#+]*$", max_length=200)] = "uicps"


class PlainMqttFormat:
    """`<topic>/<site>/<device>/<group>`, and beside it, retained, what its values mean."""

    expires_s = math.inf  # what is retained stays

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def greetings(
        self, device: str, readings: Sequence[Reading], greeted: Mapping[Hashable, object]
    ) -> Iterator[Message]:
        for group in dict.fromkeys(reading.group for reading in readings):
            if group not in greeted:
                topic = f"{self._topic(group)}/meta"
                yield Message(topic, meta(group), device, retain=True, greets=group)

    def data(self, device: str, readings: Sequence[Reading], values_max: int) -> Iterator[Message]:
        for reading in readings:
            yield Message(self._topic(reading.group), body(reading), device, len(reading.values))

    def _topic(self, group: Group) -> str:
        return f"{self._prefix}/{group.device.name}/{group.name}"


def body(reading: Reading) -> bytes:
    """A reading as JSON; what is not available is null."""
    names = (point.name for point in reading.group.points)
    return orjson.dumps(
        {
            "time_ms": reading.time_ms,
            "quality": reading.quality.name.lower(),
            "values": dict(zip(names, map(float, reading.values), strict=True)),
        }
    )


def meta(group: Group) -> bytes:
    """What the values of a group mean, as JSON."""
    return orjson.dumps(
        {
            "device": group.device.name,
            "type": group.device.type,
            "label": group.device.label,
            "group": group.name,
            "interval_ms": group.interval_ms,
            "points": {
                point.name: {
                    "unit": point.unit,
                    "kind": point.kind.value,
                    "states": {str(code): text for code, text in point.states.items()},
                }
                for point in group.points
            },
        }
    )


class PlainMqtt(Uplink):
    """Uplink `mqtt`."""

    def __init__(
        self, options: PlainMqttOptions, store: Store, site: str, primary: Uplink | None = None
    ) -> None:
        super().__init__(options, PlainMqttFormat(f"{options.topic}/{site}"), store, primary)
        self._options = options

    def session(self, protocol: aiomqtt.ProtocolVersion) -> Session:
        options = self._options
        return Session(
            options.host,
            options.port,
            version=protocol,
            username=options.username or None,
            password=secret(options.password_file) if options.password_file else None,
            client_id=options.client_id or None,
            tls=ssl.create_default_context(cafile=options.ca_file) if options.tls else None,
            inflight_max=options.inflight_max,
            puback_timeout_s=options.puback_timeout_s,
            keepalive_s=options.keepalive_s,
        )
