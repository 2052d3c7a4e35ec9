"""The listener: connections that come, fall silent and are killed; the centre stays."""

from __future__ import annotations

import asyncio
import random
import ssl
from types import TracebackType
from typing import Self

from tests.thingsboard.behaviour import Behaviour, Meter
from tests.thingsboard.centre import Centre
from tests.thingsboard.connection import Connection


class FakeThingsBoard:
    """A ThingsBoard at 127.0.0.1:`port`. Entered it listens, left it is gone; `kill` and `start` between."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        centre: Centre | None = None,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        seed: int = 1,
    ) -> None:
        self.behaviour, self.centre = behaviour or Behaviour(), centre or Centre()
        self.meter = Meter(self.behaviour, self.centre.clock)
        self.port, self._tls = port, tls
        self.rand = random.Random(seed)
        self.connections: list[Connection] = []
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Listen (again, at the same port)."""
        self._server = await asyncio.start_server(
            self._met, "127.0.0.1", self.port, ssl=self._tls, limit=1 << 17
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """End every connection with a reset and stop to listen."""
        if self._server is None:
            return
        self._server.close()
        self.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def drop(self) -> None:
        """Reset every connection; new ones are welcome."""
        for connection in list(self.connections):
            connection.abort()

    def half_open(self) -> None:
        """Forget every connection without a word to its client: what comes there is never read."""
        for connection in list(self.connections):
            connection.forget()

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(Connection(self, reader, writer).run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
