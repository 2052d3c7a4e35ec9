"""One MQTT connection whose publishes are known by their PUBACK.

aiomqtt keeps the connection; on top of it this session keeps a window of publishes in flight,
reads the MQTT 5 reason of each PUBACK (aiomqtt drops it) and notices a link on which nothing is
acknowledged any more. Every failure is an OSError; the session is then left and a new one made:
nothing is resent from here, whoever publishes knows what was not acknowledged.

Two ways to publish: `publish_acked` and `settle` for a stream of readings, `publish_one` for a single
message beside it, with a small window of its own. On 3.1.1 a PUBACK cannot say no, and the platform
sends one even for what it rejects, then closes: there nothing counts as taken until the connection has
outlived its PUBACK, in `publish_one` by `REFUSED_CLOSE_S`; whoever sends the stream sees to that itself,
without waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.supervise import heed_cancellation

QUEUED_INCOMING_MAX = 1000
INCOMING_BYTES_MAX = 65_536  # of one message; MQTT 5 tells the server, which drops larger ones
BESIDE_INFLIGHT_MAX = 16  # of `publish_one`
TAKEN = ReasonCode(PacketTypes.PUBACK)
NO_PROPERTIES = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]  # paho's


REFUSED_CLOSE_S = 0.3
UNSUPPORTED_VERSION = (1, 132)  # what brokers of 3.1.1 and of 5 call it
SESSION_TAKEN_OVER, PACKET_TOO_LARGE = 0x8E, 0x81
DISCONNECTS = {
    SESSION_TAKEN_OVER: "another client came with the same credentials: two boxes must not share a token",
    PACKET_TOO_LARGE: "a message was larger than the centre takes",
}


class UnsupportedVersionError(ConnectionError):
    """The broker does not speak this version of MQTT."""


class HungUpError(ConnectionError):
    """The peer took our CONNECT and gave no answer: it closed the connection, or stays silent."""


class SubscriptionRefusedError(ConnectionError):
    """The broker does not let us subscribe; the connection stands."""


class TakenOverError(ConnectionError):
    """The centre ended our session for another one with the same credentials (MQTT 5 says so)."""


def _incoming_limit(version: aiomqtt.ProtocolVersion) -> Properties | None:
    if version is not aiomqtt.ProtocolVersion.V5:
        return None
    limit = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    limit.MaximumPacketSize = INCOMING_BYTES_MAX
    return limit


class Session(aiomqtt.Client):
    """A connection to enter once. `publish_acked` and `settle` raise OSError when the link fails."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        version: aiomqtt.ProtocolVersion,
        username: str | None,
        password: str | None,
        client_id: str | None,
        tls: ssl.SSLContext | None,
        inflight_max: int,
        puback_timeout_s: float,
        keepalive_s: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            host,
            port,
            protocol=version,
            username=username,
            password=password,
            identifier=client_id,
            tls_context=tls,
            timeout=puback_timeout_s,
            keepalive=keepalive_s,
            properties=_incoming_limit(version),
            max_inflight_messages=inflight_max + BESIDE_INFLIGHT_MAX,
            max_queued_incoming_messages=QUEUED_INCOMING_MAX,
            logger=logging.getLogger(f"{__name__}.paho"),
        )
        self._read_puback = self._client._handle_pubackcomp
        self._client._handle_pubackcomp = self._quick_puback  # type: ignore[method-assign]  # see there
        self._inflight_max, self._puback_timeout_s = inflight_max, puback_timeout_s
        self._unacked: dict[int, str] = {}
        self._refused: dict[str, str] = {}
        self._acked = 0
        self._change: asyncio.Future[None] | None = None
        self._puback_is_certain = version is aiomqtt.ProtocolVersion.V5
        self._beside = asyncio.Semaphore(BESIDE_INFLIGHT_MAX)
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._clock = clock
        self._spoke_s: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        gone = self._disconnected
        try:
            await super().__aenter__()
            heed_cancellation()
            # aiomqtt forgets an end that came with the CONNACK: the connection would look alive for ever.
            self._disconnected = gone
            self.check()
        except aiomqtt.MqttError as error:
            stands = isinstance(self._client.socket(), socket.socket)
            unanswered = stands and not isinstance(error, aiomqtt.MqttCodeError)
            self._cut()
            if isinstance(error, aiomqtt.exceptions.MqttConnectError) and error.rc in UNSUPPORTED_VERSION:
                raise UnsupportedVersionError(f"cannot connect: {error}") from error
            if unanswered:
                raise HungUpError(f"cannot connect: no CONNACK in {self.timeout:g} s") from error
            raise ConnectionError(f"cannot connect: {error}") from error
        except UnicodeError as error:
            self._cut()
            raise ConnectionError(f"cannot connect: not a host name: {self._hostname!r}") from error
        except BaseException:
            self._cut()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) or (isinstance(error, BaseExceptionGroup) and error.subgroup(OSError)):
            # The link is bad: a polite DISCONNECT would wait for it again.
            self._cut()
            with contextlib.suppress(TimeoutError, aiomqtt.MqttError):
                await asyncio.wait_for(asyncio.shield(self._disconnected), 1)
        with contextlib.suppress(aiomqtt.MqttError):
            await super().__aexit__(kind, error, trace)

    @property
    def gone(self) -> asyncio.Future[None]:
        """Done once the connection is lost."""
        return self._disconnected

    def _cut(self) -> None:
        """End the TCP connection; paho notices and lets go of the socket."""
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    async def publish_acked(self, topic: str, payload: bytes, who: str, *, retain: bool = False) -> None:
        """Hand over one QoS 1 message that concerns `who`, waiting while the window is full; see `settle`."""
        while len(self._unacked) >= self._inflight_max:
            await self._progress()
        self.check()
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != 0:
            raise ConnectionError(f"cannot publish: {aiomqtt.exceptions.MqttCodeError(info.rc)}")
        if not info.is_published():
            self._unacked[info.mid] = who
        self._spoke_s[who] = self._clock()

    @property
    def spoke_s(self) -> Mapping[str, float]:
        """When something was last published that concerns a device, on this connection, by its name."""
        return self._spoke_s

    async def publish_one(self, topic: str, payload: bytes, who: str = "") -> str:
        """Publish one message, beside the window of `publish_acked`: "" once it is taken, else why it is not.

        TimeoutError without a PUBACK in `puback_timeout_s`, ConnectionError if the link is lost before.
        """
        async with self._beside:
            self.check()
            reason = await self._answer(topic, payload)
        if who:
            self._spoke_s[who] = self._clock()
        if reason or not self._puback_is_certain:
            await self._outlive()
        return reason

    async def _answer(self, topic: str, payload: bytes) -> str:
        """The reason of the PUBACK, "" for success."""
        info = self._client.publish(topic, payload, qos=1)
        if info.rc != 0:
            raise ConnectionError(f"cannot publish: {aiomqtt.exceptions.MqttCodeError(info.rc)}")
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[info.mid] = answer
        try:
            ends = (answer, self.gone)
            await asyncio.wait(ends, timeout=self._puback_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self.check()
                raise TimeoutError(f"no PUBACK in {self._puback_timeout_s:g} s for a message on {topic}")
            return answer.result()
        finally:
            del self._answers[info.mid]

    async def _outlive(self) -> None:
        """A server that closes now refuses the session (a rate limit): ConnectionError."""
        await asyncio.wait((self.gone,), timeout=REFUSED_CLOSE_S)
        self.check()

    async def subscribe_to(self, *filters: str) -> None:
        """Subscribe with QoS 1. SubscriptionRefusedError if one is refused."""
        try:
            granted = await self.subscribe([(name, 1) for name in filters])
            heed_cancellation()
        except aiomqtt.MqttError as error:
            self.check()
            raise ConnectionError(f"cannot subscribe: {error}") from error
        reasons = [getattr(code, "value", code) for code in granted]  # of MQTT 5, or bare numbers
        for name, reason in zip(filters, reasons, strict=True):
            if reason >= 0x80:
                raise SubscriptionRefusedError(f"the centre refuses the subscription to {name} ({reason:#x})")

    async def incoming(self) -> AsyncIterator[tuple[str, bytes]]:
        """(topic, payload) of what the centre sends, until the link is lost (ConnectionError)."""
        try:
            async for message in self.messages:
                payload = message.payload
                yield str(message.topic), payload if isinstance(payload, bytes) else b""
        except aiomqtt.MqttError as error:
            self.check()
            raise ConnectionError(f"connection lost: {error}") from error

    async def settle(self) -> dict[str, str]:
        """Wait until everything handed over has its answer; who was refused, and why.

        A message that stays without PUBACK while others have theirs is refused too: the platform does
        that to a device it cannot make. TimeoutError if nothing at all is acknowledged for
        `puback_timeout_s`, ConnectionError if the link is lost, or closed because of a refusal.
        """
        while self._unacked:
            try:
                await self._progress()
            except TimeoutError as error:
                if not self._acked:
                    raise
                self._refused |= dict.fromkeys(self._unacked.values(), str(error))
                self._unacked.clear()
        self.check()
        if self._refused:
            await self._outlive()
        refused, self._refused, self._acked = self._refused, {}, 0
        return refused

    async def _progress(self) -> None:
        """Until the next PUBACK or the end of the connection."""
        self.check()
        self._change = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._puback_timeout_s):
                await self._change
        except TimeoutError:
            count = len(self._unacked)
            raise TimeoutError(f"no PUBACK in {self._puback_timeout_s:g} s for {count} messages") from None
        finally:
            self._change = None
        self.check()

    def check(self) -> None:
        """ConnectionError if the link is lost."""
        if self._disconnected.done():
            error = self._disconnected.exception()
            code = getattr(getattr(error, "rc", None), "value", None)
            when = f" after a refusal ({next(iter(self._refused.values()))})" if self._refused else ""
            text = f"connection lost{when}: {DISCONNECTS.get(code, error) if code else error}"
            raise (TakenOverError if code == SESSION_TAKEN_OVER else ConnectionError)(text)

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def _quick_puback(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        """A PUBACK that says no more than "taken", without the reason and properties objects that paho
        builds for it: they cost a quarter of all our CPU at 4000 values/s."""
        packet = self._client._in_packet["packet"]
        if cmd != "PUBACK" or any(packet[2:]):
            return self._read_puback(cmd)
        mid = int.from_bytes(packet[:2], "big")
        with self._client._out_message_mutex:
            if mid in self._client._out_messages:
                return self._client._do_on_publish(mid, TAKEN, NO_PROPERTIES)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        """As aiomqtt's, but the socket may be closed by the time it is this one's turn."""

        def write() -> None:
            try:
                self._client.loop_write()
            except OSError as error:
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        def register() -> None:
            if sock.fileno() >= 0:
                self._loop.add_writer(sock.fileno(), write)

        self._loop.call_soon_threadsafe(register)

    # aiomqtt's callbacks, widened: its own keep the PUBACK's reason and the disconnect to themselves.

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        super()._on_publish(client, userdata, mid, reason_code, properties)
        # 3.8-4.2 ThingsBoards acknowledge the same message several times.
        answer = self._answers.get(mid)
        if answer is not None:
            if not answer.done():
                answer.set_result(str(reason_code) if reason_code.is_failure else "")
            return
        who = self._unacked.pop(mid, None)
        self._acked += 1
        if who is not None and reason_code.is_failure:
            self._refused[who] = str(reason_code)
        self._wake()

    def _on_disconnect(self, *args: Any) -> None:
        if self._connected.cancelled():  # left while connecting: aiomqtt would ask it for its error
            if not self._disconnected.done():
                self._disconnected.set_result(None)
            return
        super()._on_disconnect(*args)
        if not self._connected.done():
            self._connected.set_exception(HungUpError("cannot connect: the peer hung up"))
        for end in (self._connected, self._disconnected):
            if end.done() and not end.cancelled():
                end.exception()  # whoever waited for it may have left: asyncio would log it as lost
        self._wake()
