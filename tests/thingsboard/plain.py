"""A plain client, paho on a thread, that knows nothing of the agent."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

TIMEOUT_S = 3.0
VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class Plain:
    """Enter to connect. `publish` answers the PUBACK's reason, None if there was none before the end."""

    def __init__(
        self,
        port: int,
        version: str = "5",
        *,
        username: str | None = "T0KEN",
        password: str | None = None,
        client_id: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._port, self._loop = port, asyncio.get_running_loop()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=VERSIONS[version],
            reconnect_on_failure=False,
        )
        if username is not None:
            self._client.username_pw_set(username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.on_connect = lambda c, u, flags, reason, p: self._tell(self._connected, (reason, flags))
        self._client.on_publish = lambda c, u, mid, reason, p: self._tell(self._acked, mid, reason.value)
        self._client.on_disconnect = lambda c, u, f, reason, p: self._tell(self._gone, reason.value)
        self._client.on_message = lambda c, u, m: self._tell(self._pushed, m.topic, m.payload)
        self._client.on_subscribe = lambda c, u, mid, reasons, p: self._tell(self._granted, mid, reasons)
        self.connack = asyncio.Event()
        self.connack_reason = -1
        self.session_present = False
        self.gone: int | None = None
        self.pushes: list[tuple[str, Any]] = []
        self.on_push: Callable[[str, Any], None] = lambda topic, payload: None
        self.pubacks: list[tuple[int, int]] = []
        self.grants: dict[int, list[int]] = {}
        self._change = asyncio.Event()

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        def told() -> None:
            call(*arguments)
            self._change.set()

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(told)

    def _connected(self, answer: tuple[Any, Any]) -> None:
        self.connack_reason, self.session_present = answer[0].value, answer[1].session_present
        self.connack.set()

    def _acked(self, mid: int, reason: int) -> None:
        self.pubacks.append((mid, reason))

    def _gone(self, reason: int) -> None:
        self.gone = reason

    def _pushed(self, topic: str, payload: bytes) -> None:
        message = json.loads(payload) if payload else None
        self.pushes.append((topic, message))
        self.on_push(topic, message)

    def _granted(self, mid: int, reasons: list[Any]) -> None:
        self.grants[mid] = [reason.value for reason in reasons]

    async def __aenter__(self) -> Plain:
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def until(self, condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> bool:
        """Whether `condition` came true in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            return False
        return True

    async def accepted(self) -> bool:
        await self.until(self.connack.is_set)
        return self.connack_reason == 0

    def send(self, topic: str, message: Any, qos: int = 1) -> int:
        """Hand over a message; its packet id."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        return int(self._client.publish(topic, payload, qos=qos).mid)

    async def publish(self, topic: str, message: Any, timeout_s: float = TIMEOUT_S) -> int | None:
        assert await self.accepted()
        mid = self.send(topic, message)
        await self.until(lambda: any(m == mid for m, _ in self.pubacks) or self.gone is not None, timeout_s)
        return next((reason for m, reason in self.pubacks if m == mid), None)

    async def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        assert await self.accepted()
        _, mid = self._client.subscribe([(name, qos) for name in filters])
        assert await self.until(lambda: mid in self.grants)
        return self.grants[mid]

    async def closed(self) -> bool:
        return await self.until(lambda: self.gone is not None)

    async def pushed(self, count: int = 1) -> list[tuple[str, Any]]:
        assert await self.until(lambda: len(self.pushes) >= count), self.pushes
        return self.pushes
