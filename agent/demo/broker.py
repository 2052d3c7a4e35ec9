"""An MQTT broker on loopback that plays the centre: it takes telemetry, counts it and answers nothing.

Anyone may connect, so it listens on 127.0.0.1 only. It speaks MQTT 3.1.1 (a version 5 CONNECT is refused
with "unsupported protocol version") and no $SYS topics. A message is counted when its packet arrives,
just before it is acknowledged: amqtt hands messages to subscribers only after that, and drops those in
between when the publisher disconnects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import orjson
from amqtt.broker import Broker
from amqtt.errors import BrokerError
from amqtt.mqtt.publish import PublishPacket
from amqtt.plugins.base import BasePlugin

HOST = "127.0.0.1"
CONNECTIONS_MAX = 16
SESSION_EXPIRY_S = 60
TELEMETRY, OWN_TELEMETRY = "v1/gateway/telemetry", "v1/devices/me/telemetry"

Listen = Callable[[str, bytes], None]


class Center:
    """`async with Center() as center:` serves MQTT at `center.port` until left.

    `messages`, `readings` and `values` count what came to `v1/gateway/telemetry`, redeliveries included;
    `own_readings` the agent's own, which come apart from them; `malformed` what was not telemetry.
    `listen(topic, payload)` hears every message.
    """

    def __init__(self, port: int = 0, listen: Listen = lambda topic, payload: None) -> None:
        self.host, self.port = HOST, port
        self.messages = self.readings = self.values = self.own_readings = self.malformed = 0
        self._listen = listen
        self._broker: Broker | None = None

    async def start(self) -> None:
        """Listen; a port once taken is kept when stopped and started again. OSError if it cannot be had."""
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        broker = Broker(_config(self.port))
        await _opened(broker, self.port)
        tap = broker.plugins_manager.get_plugin(Tap.__name__)
        assert isinstance(tap, Tap)
        tap.heard = self._heard
        self.port = broker._servers["default"].instance.sockets[0].getsockname()[1]
        self._broker = broker

    async def stop(self) -> None:
        """Drop every client and close the socket."""
        if self._broker:
            await self._broker.shutdown()
            self._broker = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _heard(self, topic: str, payload: bytes) -> None:
        if topic in (TELEMETRY, OWN_TELEMETRY):
            try:
                self._count(payload, is_own=topic == OWN_TELEMETRY)
            except ValueError:
                self.malformed += 1
        self._listen(topic, payload)

    def _count(self, payload: bytes, *, is_own: bool) -> None:
        if is_own:
            self.own_readings += contents(b'{"agent":' + payload + b"}")[0]
            return
        self.messages += 1
        readings, values = contents(payload)
        self.readings += readings
        self.values += values


class Tap(BasePlugin):  # type: ignore[misc]  # amqtt carries no types
    """Tells the centre of each PUBLISH. amqtt makes it by name; `heard` is set right after."""

    heard: Listen

    async def on_mqtt_packet_received(self, packet: object, **_: object) -> None:
        if isinstance(packet, PublishPacket) and packet.topic_name is not None:
            self.heard(packet.topic_name, bytes(packet.data or b""))


def contents(payload: bytes) -> tuple[int, int]:
    """How many readings and values a gateway telemetry message carries; ValueError if it is not one."""
    try:
        sizes = [len(entry["values"]) for entries in orjson.loads(payload).values() for entry in entries]
        return len(sizes), sum(sizes)
    except (AttributeError, KeyError, TypeError, orjson.JSONDecodeError) as error:
        raise ValueError(f"expected gateway telemetry, found {payload[:40]!r}") from error


def _config(port: int) -> dict[str, Any]:
    """Every plugin is named: amqtt's own list brings $SYS topics and deprecation warnings."""
    return {
        "listeners": {
            "default": {"type": "tcp", "bind": f"{HOST}:{port}", "max_connections": CONNECTIONS_MAX}
        },
        "session_expiry_interval": SESSION_EXPIRY_S,
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
            f"{Tap.__module__}.{Tap.__qualname__}": {},
        },
    }


async def _opened(broker: Broker, port: int) -> None:
    """Start it, its failures as OSError."""
    try:
        await broker.start()
    except BrokerError as error:
        raise OSError(f"cannot listen on {HOST}:{port}: {error}") from error
