"""One MQTT connection at the fake: CONNECT, subscriptions, publishes, and how each is answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from tests.thingsboard import codec, verdict
from tests.thingsboard.centre import Entity
from tests.thingsboard.codec import V5, Connect, MalformedError, Packet, Publish
from tests.thingsboard.gateway import Gateway
from tests.thingsboard.login import PROVISION, Refusal, login
from tests.thingsboard.own import ME, Own, provision
from tests.thingsboard.verdict import Verdict

if TYPE_CHECKING:
    from tests.thingsboard.server import FakeThingsBoard

FILTERS = {
    *(ME + name for name in ("attributes", "attributes/response/+", "rpc/request/+", "rpc/response/+")),
    *("v1/gateway/" + name for name in ("attributes", "attributes/response", "rpc")),
    "/provision/response",
}
SHUFFLE_WAIT_S = 0.01


class Connection:
    """Also the door (see `centre.Door`) through which the centre reaches the device and its sub-devices."""

    def __init__(
        self, board: FakeThingsBoard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._board, self._reader, self._writer = board, reader, writer
        self._behaviour, self._centre = board.behaviour, board.centre
        self.version = V5
        self.entity: Entity | None = None
        self.subscriptions: dict[str, int] = {}
        self.acknowledged = 0
        self._own: Own | None = None
        self._gateway = Gateway(self._centre, self._behaviour, board.meter, self.push)
        self._mid = 0
        self._packet_bytes_max = 1 << 28
        self._closing = self._forgotten = False
        self._held: list[bytes] = []
        self._dribble: asyncio.Queue[bytes] | None = asyncio.Queue() if board.behaviour.dribble else None

    async def run(self) -> None:
        """Until the client leaves, or is made to."""
        self._board.connections.append(self)
        pump = asyncio.create_task(self._drip()) if self._dribble is not None else None
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await self._serve()
            if pump and self._dribble is not None:
                async with asyncio.timeout(1):
                    await self._dribble.join()
        finally:
            if pump:
                pump.cancel()
            self._leave()
            self._writer.close()

    async def _serve(self) -> None:
        try:
            first = await self._next()
            if first.kind != codec.CONNECT:
                return
            self._connected(codec.connect(first.body))
            while not self._closing:
                await self._take(await self._next())
        except MalformedError as error:
            self.close(0x81 if error.too_large else 0x82)
        except TimeoutError:
            self.close(0x83)

    async def _next(self) -> Packet:
        async with asyncio.timeout(self._behaviour.own_session_s):
            packet = await codec.read_packet(self._reader, self._behaviour.payload_bytes_max)
        if self._behaviour.read_bytes_s:
            await asyncio.sleep((len(packet.body) + 2) / self._behaviour.read_bytes_s)
        while self._behaviour.silent or self._forgotten:
            await asyncio.sleep(0.01)
        return packet

    def _connected(self, asked: Connect) -> None:
        self.version = asked.version
        if asked.version == V5 and self._behaviour.mqtt5 != "granted":
            if self._behaviour.mqtt5 == "refused":
                self._send(codec.connack(codec.V311, 1, session_present=False))
            self._closing = self._behaviour.mqtt5 != "silent"
            return
        self._packet_bytes_max = asked.packet_bytes_max
        tls = self._writer.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else None
        who = login(self._centre.devices.values(), asked, certificate)
        if isinstance(who, Refusal):
            self._send(codec.connack(self.version, who.reason(self.version), session_present=False))
            self.close(who.v5)
            return
        self._send(codec.connack(self.version, 0, session_present=not asked.clean))
        if who is not PROVISION:
            self._welcome(who)

    def _welcome(self, entity: Entity) -> None:
        if self._behaviour.one_session_per_token:
            for other in self._board.connections:
                if other is not self and other.entity is entity:
                    other.close(0x8E)
                    other.abort_soon()
        self.entity = entity
        self._own = Own(self._centre, self._behaviour, self._board.meter, entity, self.push)
        self._centre.doors.append(self)

    async def _take(self, packet: Packet) -> None:
        if packet.kind == codec.PUBLISH:
            self._published(codec.publish(packet, self.version))
        elif packet.kind == codec.SUBSCRIBE:
            self._subscribe(packet.body)
        elif packet.kind == codec.UNSUBSCRIBE:
            mid, filters = codec.unsubscribe(packet.body, self.version)
            gone = [0 if self.subscriptions.pop(name, None) is not None else 0x11 for name in filters]
            self._send(codec.unsuback(self.version, mid, gone))
        elif packet.kind == codec.PINGREQ:
            self._send(codec.PONG)
        elif packet.kind == codec.PUBACK:
            self.acknowledged += 1
        elif packet.kind == codec.DISCONNECT:
            self._closing = True
        else:
            raise MalformedError(f"packet type {packet.kind}")
        await asyncio.sleep(0)

    def _subscribe(self, body: bytes) -> None:
        mid, filters = codec.subscribe(body, self.version)
        refused = 0x8F if self.version == V5 else 0x80
        granted = [
            min(qos, 1) if name in FILTERS - self._behaviour.refused_filters else refused
            for name, qos in filters
        ]
        self._send(codec.suback(self.version, mid, granted))
        for (name, qos), grant in zip(filters, granted, strict=True):
            if grant == refused:
                continue
            if name in (f"{ME}attributes", f"{ME}rpc/request/+") and not self._meter_own():
                continue  # dropped silently, SUBACK said granted
            self.subscriptions[name] = min(qos, 1)
            if name == f"{ME}rpc/request/+" and self.entity:
                self._centre.push_pending(self.entity.name)

    def _meter_own(self) -> bool:
        return self._board.meter.take("own_messages")

    # Publishes of the client.

    def _published(self, message: Publish) -> None:
        self._centre.messages[message.topic] += 1
        self._answer(message, self._judge(message))

    def _judge(self, message: Publish) -> Verdict:
        if self.entity is None or self._own is None:
            return self._provision(message)
        if message.topic.startswith("v1/gateway/"):
            if not self.entity.gateway:
                return verdict.IGNORED
            return self._gateway.take(message.topic, message.payload)
        return self._own.take(message.topic, message.payload)

    def _provision(self, message: Publish) -> Verdict:
        if message.topic != "/provision/request":
            return verdict.UNKNOWN_TOPIC._replace(closes_5=True, closes_3=True)
        self.push("/provision/response", provision(self._centre, self._behaviour, message.payload))
        return verdict.TAKEN

    def _answer(self, message: Publish, answer: Verdict) -> None:
        v5 = self.version == V5
        acks = answer.reason is not None if v5 else answer.acks_3
        if acks and message.qos and not self._behaviour.withhold_puback(message.topic, message.payload):
            reason = answer.reason or 0
            packet = codec.puback(self.version, message.mid, reason)
            self._acknowledge(packet, answer.pubacks + self._behaviour.duplicate_pubacks)
        if answer.closes_5 if v5 else answer.closes_3:
            self._flush_pubacks()
            self.close(answer.disconnect)

    def _acknowledge(self, packet: bytes, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            if self._behaviour.puback_delay_s:
                loop.call_later(self._behaviour.puback_delay_s, self._send, packet)
            elif self._behaviour.shuffle_pubacks:
                if not self._held:
                    loop.call_later(SHUFFLE_WAIT_S, self._flush_pubacks)
                self._held.append(packet)
                if len(self._held) >= self._behaviour.shuffle_pubacks:
                    self._flush_pubacks()
            else:
                self._send(packet)

    def _flush_pubacks(self) -> None:
        held, self._held = self._held, []
        self._board.rand.shuffle(held)
        for packet in held:
            self._send(packet)

    # The door of the centre.

    def push(self, topic: str, message: Any) -> None:
        """Send to the client, with the QoS of its subscription; without one, QoS 1 anyway."""
        if self._closing or self._forgotten:
            return
        pattern = "/".join((*topic.split("/")[:-1], "+"))
        qos = self.subscriptions.get(topic, self.subscriptions.get(pattern, 1))
        self._mid = self._mid % 65_535 + 1
        packet = codec.push(self.version, topic, json.dumps(message).encode(), qos, self._mid)
        if len(packet) <= self._packet_bytes_max:
            self._send(packet)

    def push_raw(self, topic: str, payload: bytes) -> None:
        """Send bytes that may be no JSON."""
        self._mid = self._mid % 65_535 + 1
        self._send(codec.push(self.version, topic, payload, 1, self._mid))

    def push_rpc(self, device: str, number: int, method: str, params: Any) -> bool:
        data = {"method": method, "params": params}
        if self._is(device):
            if f"{ME}rpc/request/+" not in self.subscriptions:
                return False
            self.push(f"{ME}rpc/request/{number}", data)
            return True
        if not self._gateway.reaches(device):
            return False
        self.push("v1/gateway/rpc", {"device": device, "data": {"id": number, **data}})
        return True

    def push_attributes(self, device: str, changed: dict[str, Any]) -> bool:
        if self._is(device):
            if f"{ME}attributes" not in self.subscriptions:
                return False
            self.push(f"{ME}attributes", changed)
            return True
        if not self._gateway.reaches(device):
            return False
        self.push("v1/gateway/attributes", {"device": device, "data": changed})
        return True

    def _is(self, device: str) -> bool:
        return self.entity is not None and self.entity.name == device

    def dropped(self, device: str) -> None:
        """The device was deleted or renamed."""
        self._gateway.seen_s.pop(device, None)
        if self._is(device):
            self.close(0x98)

    def expire(self, device: str) -> None:
        """Let the sub-device's session end, silently."""
        self._gateway.seen_s.pop(device, None)

    def close(self, reason: int | None) -> None:
        """End the connection, with a DISCONNECT on MQTT 5 if there is a reason to give."""
        if (
            reason is not None
            and self.version == V5
            and not self._closing
            and self._behaviour.release != "3.6"
        ):
            self._send(codec.disconnect(reason))
        self._closing = True
        self.abort_soon()

    def abort_soon(self) -> None:
        """Close, after what was written has left: the read ends, so `run` does."""
        if not self._forgotten and self._dribble is None:
            self._writer.close()

    def abort(self) -> None:
        """Reset the TCP connection."""
        self._closing = True
        self._writer.transport.abort()

    def forget(self) -> None:
        """Half-open: the client is not told, and never heard again."""
        self._forgotten = True
        self._leave()
        self._board.connections.append(self)

    def _leave(self) -> None:
        self.entity = None
        if self in self._board.connections:
            self._board.connections.remove(self)
        if self in self._centre.doors:
            self._centre.doors.remove(self)

    # Bytes.

    def _send(self, data: bytes) -> None:
        if self._behaviour.silent or self._forgotten or self._writer.is_closing():
            return
        if self._dribble is None:
            self._writer.write(data)
        else:
            self._dribble.put_nowait(data)

    async def _drip(self) -> None:
        assert self._dribble is not None
        while True:
            data = await self._dribble.get()
            with contextlib.suppress(OSError):
                for byte in data:
                    self._writer.write(bytes((byte,)))
                    await self._writer.drain()
                    await asyncio.sleep(0)
            self._dribble.task_done()
