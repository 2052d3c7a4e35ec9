"""ThingsBoard's gateway API over MQTT.

What was read is delivered in the order of the log, a batch at a time; a batch counts as delivered
when every message of it has its PUBACK, and only then the cursor moves. So an outage, a restart and
a crash are one case: go on after the cursor. What was in flight is sent again, which the platform
stores as the same value at the same time.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import aiomqtt
import orjson
from pydantic import Field

from agent.model import Device, Reading
from agent.schema import FilePath, Name, Options, Port
from agent.store import Store
from agent.supervise import Episode
from agent.uplink import payload
from agent.uplink.mqtt import Session, UnsupportedVersionError

log = logging.getLogger(__name__)

AGENT_DEVICE = "agent"  # the agent's own points belong to the gateway device itself
TOPIC_BYTES = 64  # topic, packet id and properties, counted by the platform with the payload
VERSIONS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}


class ThingsBoardOptions(Options):
    """`[[uplink]]` with `kind = "thingsboard"`."""

    kind: Literal["thingsboard"]
    name: Name
    host: Annotated[str, Field(min_length=1)]
    port: Port = 1883
    token_file: FilePath
    tls: bool = False
    ca_file: FilePath | None = None
    client_id: Annotated[str, Field(max_length=64)] = ""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: Annotated[int, Field(ge=5, le=600)] = 60
    puback_timeout_s: Annotated[float, Field(ge=0.5, le=120)] = 10.0
    inflight_max: Annotated[int, Field(ge=1, le=1000)] = 80
    batch_readings_max: Annotated[int, Field(ge=1, le=10_000)] = 1000
    message_bytes_max: Annotated[int, Field(ge=1024, le=65_536)] = 60_000
    linger_ms: Annotated[int, Field(ge=0, le=1000)] = 50
    retry_s_max: Annotated[float, Field(ge=1, le=3600)] = 10.0


class UplinkState(NamedTuple):
    """`backlog` in readings; `last_error` is what ended the last connection, "" if none did."""

    name: str
    connected: bool
    delivered_readings: int
    delivered_values: int
    backlog: int
    connections: int
    protocol: str
    last_error: str


class ThingsBoard:
    """Uplink `thingsboard`; `run` is entered again after every loss of the connection."""

    def __init__(self, options: ThingsBoardOptions, store: Store) -> None:
        self.name = options.name
        self.retry_s_max = options.retry_s_max
        self.episode = Episode(log, f"uplink {options.name} ({options.host}:{options.port})")
        self._options, self._store = options, store
        self._protocol = "5" if options.protocol == "auto" else options.protocol
        self._known_to_work = False
        self._connected = False
        self._connections = self._readings = self._values = 0
        self._last_error = ""

    @property
    def state(self) -> UplinkState:
        """What the uplink has done since the agent started."""
        return UplinkState(
            self.name,
            self._connected,
            self._readings,
            self._values,
            self._store.backlog(self.name),
            self._connections,
            self._protocol,
            self._last_error,
        )

    async def run(self) -> None:
        """Connect and deliver for ever; OSError when the link fails."""
        try:
            await self._connect_and_deliver()
        except UnsupportedVersionError:
            if self._protocol == "3.1.1" or self._options.protocol != "auto":
                raise
            log.info("uplink %s: the broker has no MQTT 5, going on with 3.1.1", self.name)
            self._protocol = "3.1.1"
            await self._connect_and_deliver()

    async def _connect_and_deliver(self) -> None:
        try:
            async with self._session() as session:
                self._known_to_work = self._connected = True
                self._connections += 1
                await self._deliver(session)
        except UnsupportedVersionError:
            raise
        except OSError as error:
            self._last_error = str(error)
            if not self._known_to_work and self._options.protocol == "auto":
                # Some old brokers do not refuse MQTT 5 but hang up on it: meet them half way.
                self._protocol = "3.1.1" if self._protocol == "5" else "5"
            raise
        finally:
            self._connected = False

    def _session(self) -> Session:
        options = self._options
        return Session(
            options.host,
            options.port,
            version=VERSIONS[self._protocol],
            username=_secret(options.token_file),
            password=None,
            client_id=options.client_id or None,
            tls=ssl.create_default_context(cafile=options.ca_file) if options.tls else None,
            inflight_max=options.inflight_max,
            puback_timeout_s=options.puback_timeout_s,
            keepalive_s=options.keepalive_s,
        )

    async def _deliver(self, session: Session) -> None:
        introduced: set[str] = set()
        cursor = self._store.cursor(self.name)
        while True:
            await self._wait_beyond(session, cursor)
            batch = await self._store.read_after(cursor, self._options.batch_readings_max)
            readings = [reading for _, reading in batch]
            await self._introduce(session, readings, introduced)
            await self._publish(session, readings)
            await session.settle()
            cursor = batch[-1][0]
            self._store.delivered(self.name, cursor)
            self._readings += len(readings)
            self._values += sum(len(reading.values) for reading in readings)
            self.episode.ended()

    async def _wait_beyond(self, session: Session, cursor: int) -> None:
        """Until there is something to send; a moment longer, so that one wake-up serves many readings."""
        if self._store.released_seq - cursor >= self._options.batch_readings_max:
            return
        if self._store.released_seq <= cursor:
            news = asyncio.ensure_future(self._store.wait_beyond(cursor))
            try:
                await asyncio.wait((news, session.gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                news.cancel()
            await session.settle()
        await asyncio.sleep(self._options.linger_ms / 1000)

    async def _introduce(self, session: Session, readings: Iterable[Reading], introduced: set[str]) -> None:
        """Connect each sub-device before its first data: data alone would make it with the wrong profile."""
        new: dict[str, Device] = {
            reading.group.device.name: reading.group.device
            for reading in readings
            if reading.group.device.name not in introduced
        }
        new.pop(AGENT_DEVICE, None)
        for device in new.values():
            message = orjson.dumps({"device": device.name, "type": device.type})
            await session.publish_acked("v1/gateway/connect", message)
        await session.settle()
        introduced.update(new)

    async def _publish(self, session: Session, readings: Sequence[Reading]) -> None:
        """One sub-device per message: a device that the platform refuses does not take others with it."""
        bytes_max = self._options.message_bytes_max - TOPIC_BYTES
        for name, group in groupby(sorted(readings, key=_device_name), key=_device_name):
            own = name == AGENT_DEVICE
            topic = "v1/devices/me/telemetry" if own else "v1/gateway/telemetry"
            for message in payload.messages(None if own else name, group, bytes_max):
                await session.publish_acked(topic, message)


def _device_name(reading: Reading) -> str:
    return reading.group.device.name


def _secret(file: Path) -> str:
    """The first line of a secret file; read at every connection, so that a new token needs no restart."""
    secret = file.read_text(encoding="utf-8").strip()
    if not secret or "\n" in secret:
        raise OSError(f"{file}: expected one line with the token")
    return secret
