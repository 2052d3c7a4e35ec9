"""The centre as a subscriber at a real broker: what arrived, by device, time and point."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import aiomqtt

Seen = dict[tuple[str, int, str], float]


class Center:
    """`values` holds each value once; `differing` counts values that came again as another number."""

    def __init__(self) -> None:
        self.values: Seen = {}
        self.differing = 0
        self.messages: list[tuple[str, object]] = []
        self._here = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def at(cls, port: int) -> AsyncIterator[Self]:
        """A centre that listens at the broker on `port`, and comes back when the broker does."""
        center = cls()
        task = asyncio.create_task(center._listen(port))
        try:
            await center.subscribed()
            yield center
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def subscribed(self) -> None:
        """Until the subscription stands (again)."""
        async with asyncio.timeout(10):
            await self._here.wait()

    async def _listen(self, port: int) -> None:
        while True:
            try:
                async with aiomqtt.Client("127.0.0.1", port, timeout=2) as client:
                    await client.subscribe("v1/#", qos=1)
                    self._here.set()
                    async for message in client.messages:
                        self.take(str(message.topic), json.loads(bytes(message.payload)))  # type: ignore[arg-type]
            except aiomqtt.MqttError:
                self._here.clear()
                await asyncio.sleep(0.02)

    def take(self, topic: str, payload: dict) -> None:
        self.messages.append((topic, payload))
        if topic != "v1/gateway/telemetry":
            return
        for device, entries in payload.items():
            for entry in entries:
                for name, value in entry["values"].items():
                    key = device, entry["ts"], name
                    self.differing += self.values.setdefault(key, value) != value
