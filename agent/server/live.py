"""Readings to the WebSockets, as they are captured.

Rules.
1. The hub's call costs a list append, or nothing when nobody watches. What came is sent together
   after FLUSH_S.
2. A reading is encoded once for all who want the same of its points; clients with the same selection
   share the very same message.
3. A client has a bounded backlog. One that lets it fill is ended with 4408; nobody else notices.
4. The first message holds the latest readings, the next ones exactly those that came after: no gap,
   no reading twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from agent.hub import Hub
from agent.model import Reading
from agent.server.selection import Selection
from agent.server.wire import reading_json, readings_json

FLUSH_S = 0.05
GOING_AWAY = 1001
TOO_SLOW = 4408

_HEAD = b'"type":"readings",'


class Seat:
    """One client's outbox: what is to be sent, and whether it is over."""

    def __init__(self, backlog_bytes_max: int) -> None:
        self._backlog_bytes_max = backlog_bytes_max
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self.ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.selection = Selection()

    def put(self, message: bytes) -> None:
        """File `message`; ends the client if it lags too far behind. A lone message always fits."""
        if self.ended.done():
            return
        if self._messages and self._bytes + len(message) > self._backlog_bytes_max:
            self.end(TOO_SLOW, "too slow: subscribe to fewer points, or read faster")
            return
        self._messages.append(message)
        self._bytes += len(message)
        self._filled.set()

    async def take(self) -> bytes:
        """The oldest message, as soon as there is one."""
        while not self._messages:
            self._filled.clear()
            await self._filled.wait()
        message = self._messages.popleft()
        self._bytes -= len(message)
        return message

    def end(self, code: int, reason: str) -> None:
        """Have the socket closed with `code`; the first call counts. What is still filed is dropped."""
        if not self.ended.done():
            self.ended.set_result((code, reason))
            self._messages.clear()
            self._bytes = 0


class Live:
    """Between the hub and the seats; `open` and `close` are called inside the event loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._seats: set[Seat] = set()
        self._came: list[Reading] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deaf: Callable[[], None] | None = None

    @property
    def watching(self) -> int:
        """How many clients get readings."""
        return len(self._seats)

    def open(self) -> None:
        self._deaf = self._hub.listen(self._hear)

    def close(self) -> None:
        """Hear no more; what came last is still filed."""
        if self._deaf is not None:
            self._deaf()
            self._deaf = None
        self._flush()

    def join(self, seat: Seat, welcome: bytes) -> None:
        """Give `seat` the latest readings under the head `welcome`, and from now on every one."""
        self._flush()
        seat.put(latest_json(welcome, self._hub, seat.selection))
        self._seats.add(seat)

    def leave(self, seat: Seat) -> None:
        self._seats.discard(seat)

    def choose(self, seat: Seat, selection: Selection) -> None:
        """From now on `seat` gets these points only."""
        self._flush()
        seat.selection = selection

    def _hear(self, readings: Sequence[Reading]) -> None:
        if not self._seats:
            return
        self._came.extend(readings)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._came:
            return
        batch = Batch(self._came)
        self._came = []
        for seat in self._seats:
            message = batch.message(seat.selection)
            if message is not None:
                seat.put(message)


class Batch:
    """Readings that go out together, encoded as they are wanted and not again."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings
        self._encoded: dict[tuple[int, tuple[int, ...]], bytes] = {}
        self._messages: dict[tuple[str, ...], bytes | None] = {}

    def message(self, selection: Selection) -> bytes | None:
        """The message for those who chose `selection`; None if nothing of it came."""
        if selection.patterns not in self._messages:
            parts = [
                self._part(at, reading, columns)
                for at, reading in enumerate(self._readings)
                if (columns := selection.columns(reading.group))
            ]
            self._messages[selection.patterns] = readings_json(_HEAD, parts) if parts else None
        return self._messages[selection.patterns]

    def _part(self, at: int, reading: Reading, columns: tuple[int, ...]) -> bytes:
        part = self._encoded.get((at, columns))
        if part is None:
            part = self._encoded[at, columns] = reading_json(reading, columns)
        return part


def latest_json(head: bytes, hub: Hub, selection: Selection) -> bytes:
    """The newest reading of every group under `head`."""
    return readings_json(
        head,
        (
            reading_json(reading, columns)
            for group, reading in hub.latest.items()
            if (columns := selection.columns(group))
        ),
    )
