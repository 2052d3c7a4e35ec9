"""What is to be sent to one client, and whether it is over.

Rules.
1. What is put is sent in order. It is bounded: a client that lets it fill is ended with 4408.
2. What is offered (history) goes only when nothing else waits, one piece at a time: the live stream never
   waits for more than the piece on its way.
"""

from __future__ import annotations

import asyncio
from collections import deque

TOO_SLOW = 4408
LAGGING_MESSAGES = 4


class Outbox:
    """One client's. Made inside the event loop."""

    def __init__(self, backlog_bytes_max: int) -> None:
        self._backlog_bytes_max = backlog_bytes_max
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._offered: bytes | None = None
        self._taken = asyncio.Event()
        self.ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    @property
    def lagging(self) -> bool:
        """Whether it is no use to put more of what can be put together later."""
        return len(self._messages) >= LAGGING_MESSAGES or self._bytes > self._backlog_bytes_max // 2

    def put(self, message: bytes) -> None:
        """File `message`; ends the client if it lags too far behind. A lone message always fits."""
        if self.ended.done():
            return
        if self._messages and self._bytes + len(message) > self._backlog_bytes_max:
            self.end(TOO_SLOW, "too slow: subscribe to fewer points, with mode latest, or read faster")
            return
        self._messages.append(message)
        self._bytes += len(message)
        self._filled.set()

    async def offer(self, message: bytes) -> None:
        """Have `message` sent when nothing else waits; returns when there is room for it."""
        while self._offered is not None:
            self._taken.clear()
            await self._taken.wait()
        if not self.ended.done():
            self._offered = message
            self._filled.set()

    async def take(self) -> bytes:
        """The next message, as soon as there is one."""
        while not self._messages and self._offered is None:
            self._filled.clear()
            await self._filled.wait()
        if self._messages:
            message = self._messages.popleft()
            self._bytes -= len(message)
            return message
        message, self._offered = self._offered or b"", None
        self._taken.set()
        return message

    def end(self, code: int, reason: str) -> None:
        """Have the socket closed with `code`; the first call counts. What is still filed is dropped."""
        if not self.ended.done():
            self.ended.set_result((code, reason))
            self._messages.clear()
            self._bytes = 0
            self._offered = None
            self._taken.set()
