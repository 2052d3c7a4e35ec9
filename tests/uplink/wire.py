"""A link without a network: what a centre answers is a function of the message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.supervise import Backoff, Episode, supervise
from agent.uplink.delivery import Delivery

Judge = Callable[[str, dict], str | None]  # "": taken, None: the link ends with it, else: refused, why


class Wire:
    """One link. `taken` are (device, ts) in the order of their coming, `log` is shared by all links."""

    def __init__(self, centre: Centre, taken: list[tuple[str, int]], delay_s: float = 0.0) -> None:
        self._centre, self._taken, self._delay_s = centre, taken, delay_s
        self._refused: dict[str, str] = {}
        self._unsettled = 0
        self.spoke_s: dict[str, float] = {}
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def publish_acked(self, topic: str, payload: bytes, who: str, *, retain: bool = False) -> None:
        self.check()
        message = json.loads(payload)
        answer = self._centre.judge(topic, message)
        if answer is None:
            self.gone.set_result(None)
        elif answer:
            self._refused[who] = answer
        elif topic == "v1/gateway/telemetry":
            self._taken += [(name, each["ts"]) for name, entries in message.items() for each in entries]
        self._unsettled += 1
        self.spoke_s[who] = time.monotonic()

    async def settle(self) -> dict[str, str]:
        await asyncio.sleep(self._delay_s if self._unsettled else 0)
        self._unsettled = 0
        self.check()
        refused, self._refused = self._refused, {}
        return refused

    def check(self) -> None:
        if self.gone.done():
            raise ConnectionError("connection lost: closed")


class Centre:
    """Links to it, one after the other."""

    def __init__(self, judge: Judge = lambda topic, message: "", delay_s: float = 0.0) -> None:
        self.judge, self._delay_s = judge, delay_s
        self.taken: list[tuple[str, int]] = []
        self.links: list[Wire] = []

    @asynccontextmanager
    async def linked(self, delivery: Delivery, episode: Episode, *, sure: bool = True) -> AsyncIterator[None]:
        """Deliver over one link after the other."""

        async def run() -> None:
            self.links.append(Wire(self, self.taken, self._delay_s))
            await delivery.deliver(self.links[-1], sure=sure)

        task = asyncio.create_task(supervise(run, episode, Backoff(0.01, 0.02)))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
