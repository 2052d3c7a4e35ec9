"""ThingsBoard's gateway API over MQTT.

What was read is delivered in the order of the log, a batch at a time; a batch counts as delivered
when every message of it has its PUBACK, and only then the cursor moves. So an outage, a restart and
a crash are one case: go on after the cursor. What was in flight is sent again, which the platform
stores as the same value at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import aiomqtt
import orjson
from pydantic import Field

from agent.model import Device, Reading
from agent.schema import Host, Name, Port
from agent.store import Store
from agent.supervise import Episode
from agent.uplink import payload
from agent.uplink.credentials import CredentialOptions, Login, login, tls_context
from agent.uplink.holds import Holds
from agent.uplink.mqtt import HungUpError, Session, UnsupportedVersionError
from agent.uplink.provision import USER, provision

log = logging.getLogger(__name__)

AGENT_DEVICE = "agent"  # the agent's own points belong to the gateway device itself
TOPIC_BYTES = 64  # topic, packet id and properties, counted by the platform with the payload
VERSIONS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}


class ThingsBoardOptions(CredentialOptions):
    """`[[uplink]]` with `kind = "thingsboard"`."""

    kind: Literal["thingsboard"]
    name: Name
    host: Host
    port: Port = 1883
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
    held_devices: int
    delivered_readings: int
    delivered_values: int
    backlog: int
    connections: int
    protocol: str
    last_error: str


class ThingsBoard:
    """Uplink `thingsboard`; `run` is entered again after every loss of the connection."""

    def __init__(self, options: ThingsBoardOptions, store: Store, state_dir: Path = Path()) -> None:
        self._provisioned = state_dir / f"{options.name}.token"
        self.name = options.name
        self.retry_s_max = options.retry_s_max
        self.episode = Episode(log, f"uplink {options.name} ({options.host}:{options.port})")
        self._options, self._store = options, store
        self._protocol = ""
        self._holds = Holds(options.name, store)
        self._connected = False
        self._connections = self._readings = self._values = 0
        self._last_error = ""

    @property
    def state(self) -> UplinkState:
        """What the uplink has done since the agent started."""
        return UplinkState(
            self.name,
            self._connected,
            len(self._holds),
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
            try:
                await self._connect_and_deliver(self._first_protocol)
            except (UnsupportedVersionError, HungUpError):
                if self._options.protocol != "auto":
                    raise
                # Old brokers refuse MQTT 5 or hang up on it. The next connection tries 5 again: an
                # acknowledgement of 3.1.1 cannot say no.
                log.debug("uplink %s: no MQTT 5, going on with 3.1.1", self.name)
                await self._connect_and_deliver("3.1.1")
        except OSError as error:
            self._last_error = str(error)
            raise

    @property
    def _first_protocol(self) -> str:
        return "5" if self._options.protocol == "auto" else self._options.protocol

    async def _connect_and_deliver(self, protocol: str) -> None:
        self._protocol = protocol
        if self._options.provision_key_file and not self._provisioned.exists():
            asking = self._session(Login(USER, None, None))
            await provision(asking, self._options, self._provisioned)
        try:
            async with self._session(login(self._options, self._provisioned)) as session:
                self._connected = True
                self._connections += 1
                await self._deliver(session)
        finally:
            self._connected = False

    def _session(self, who: Login) -> Session:
        options = self._options
        return Session(
            options.host,
            options.port,
            version=VERSIONS[self._protocol],
            username=who.username,
            password=who.password,
            client_id=who.client_id,
            tls=tls_context(options),
            inflight_max=options.inflight_max,
            puback_timeout_s=options.puback_timeout_s,
            keepalive_s=options.keepalive_s,
        )

    async def _deliver(self, session: Session) -> None:
        introduced: set[str] = set()
        cursor = self._store.cursor(self.name)
        while True:
            await self._wait_beyond(session, cursor)
            until = self._store.released_seq
            batch = await self._store.read_after(cursor, self._options.batch_readings_max)
            readings = [reading for _, reading in batch if reading.group.device.name not in self._holds]
            refused = await self._send(session, readings, introduced)
            for device, reason in refused.items():
                self._holds.add(device, cursor, reason)
            # Without a batch the log was emptied up to what was the newest when we looked.
            cursor = batch[-1][0] if batch else until
            self._store.delivered(self.name, cursor)
            self.episode.ended()
            await self._retry_held(session, introduced, cursor)

    async def _retry_held(self, session: Session, introduced: set[str], cursor: int) -> None:
        """Catch up, by one batch, a device that was held back long enough."""
        device = self._holds.due()
        if device is None:
            return
        seq = self._holds.seq(device)
        batch = await self._store.read_after(seq, self._options.batch_readings_max)
        own = [reading for at, reading in batch if at <= cursor and reading.group.device.name == device]
        refused = await self._send(session, own, introduced)
        if device in refused:
            self._holds.add(device, seq, refused[device])
        else:
            self._holds.advanced(device, min(batch[-1][0], cursor) if batch else cursor, cursor)

    async def _send(
        self, session: Session, readings: Sequence[Reading], introduced: set[str]
    ) -> dict[str, str]:
        """Deliver `readings`; the devices that were refused, with the reason, and nothing of them counts."""
        refused = await self._introduce(session, readings, introduced)
        welcome = [reading for reading in readings if reading.group.device.name not in refused]
        await self._publish(session, welcome)
        refused |= await session.settle()
        taken = [reading for reading in welcome if reading.group.device.name not in refused]
        self._readings += len(taken)
        self._values += sum(len(reading.values) for reading in taken)
        return refused

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
            session.check()
        await asyncio.sleep(self._options.linger_ms / 1000)

    async def _introduce(
        self, session: Session, readings: Iterable[Reading], introduced: set[str]
    ) -> dict[str, str]:
        """Connect each sub-device before its first data: data alone would make it with the wrong profile."""
        new: dict[str, Device] = {
            reading.group.device.name: reading.group.device
            for reading in readings
            if reading.group.device.name not in introduced
        }
        new.pop(AGENT_DEVICE, None)
        for device in new.values():
            message = orjson.dumps({"device": device.name, "type": device.type})
            await session.publish_acked("v1/gateway/connect", message, device.name)
        refused = await session.settle() if new else {}
        introduced.update(new.keys() - refused.keys())
        return refused

    async def _publish(self, session: Session, readings: Sequence[Reading]) -> None:
        """One sub-device per message: a device that the platform refuses does not take others with it."""
        bytes_max = self._options.message_bytes_max - TOPIC_BYTES
        for name, group in groupby(sorted(readings, key=_device_name), key=_device_name):
            own = name == AGENT_DEVICE
            topic = "v1/devices/me/telemetry" if own else "v1/gateway/telemetry"
            for message in payload.messages(None if own else name, group, bytes_max):
                await session.publish_acked(topic, message, name)


def _device_name(reading: Reading) -> str:
    return reading.group.device.name
