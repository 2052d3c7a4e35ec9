"""ThingsBoard's gateway API over MQTT: its options, its topics, its way of saying who speaks."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import aiomqtt
import orjson

from agent.model import Reading
from agent.schema import FilePath
from agent.store import Store
from agent.uplink import payload
from agent.uplink.message import Message
from agent.uplink.mqtt import Session
from agent.uplink.options import DeliveryOptions
from agent.uplink.uplink import Uplink, tls_context

TOKEN_CHARS_MAX = 4096
AGENT_DEVICE = "agent"  # the agent's own points belong to the gateway device itself
TOPIC_BYTES = 64  # topic, packet id and properties, counted by the platform with the payload
SESSION_EXPIRES_S = 602.0  # the platform's 600 s for a quiet sub-device; until then a connect changes nothing


class ThingsBoardOptions(DeliveryOptions):
    """`[[uplink]]` with `kind = "thingsboard"`."""

    kind: Literal["thingsboard"]
    token_file: FilePath


class ThingsBoardFormat:
    """One sub-device per message, introduced before its first data: data alone would make it with the
    wrong profile."""

    expires_s = SESSION_EXPIRES_S

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max - TOPIC_BYTES

    def greetings(
        self, device: str, readings: Sequence[Reading], greeted: Mapping[Hashable, object]
    ) -> Iterator[Message]:
        if device not in greeted and device != AGENT_DEVICE:
            word = orjson.dumps({"device": device, "type": readings[0].group.device.type})
            yield Message("v1/gateway/connect", word, device, greets=device)

    def data(self, device: str, readings: Sequence[Reading], values_max: int) -> Iterator[Message]:
        own = device == AGENT_DEVICE
        topic = "v1/devices/me/telemetry" if own else "v1/gateway/telemetry"
        for text, values in payload.messages(None if own else device, readings, self._bytes_max, values_max):
            yield Message(topic, text, device, values)


class ThingsBoard(Uplink):
    """Uplink `thingsboard`."""

    def __init__(self, options: ThingsBoardOptions, store: Store, primary: Uplink | None = None) -> None:
        super().__init__(options, ThingsBoardFormat(options.message_bytes_max), store, primary)
        self._options = options

    def session(self, protocol: aiomqtt.ProtocolVersion) -> Session:
        options = self._options
        return Session(
            options.host,
            options.port,
            version=protocol,
            username=secret(options.token_file),
            password=None,
            client_id=options.client_id or None,
            tls=tls_context(options),
            inflight_max=options.inflight_max,
            puback_timeout_s=options.puback_timeout_s,
            keepalive_s=options.keepalive_s,
        )


def secret(file: Path) -> str:
    """The one line of a secret file; read at every connection, so that a new token needs no restart.

    OSError says what is wrong with it, never what it holds.
    """
    try:
        text = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not 1 <= len(text) <= TOKEN_CHARS_MAX:
        raise OSError(f"{file}: expected one line of text with the token")
    return text
