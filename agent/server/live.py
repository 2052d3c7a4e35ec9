"""Readings to the WebSockets, as they are captured.

Rules.
1. The hub's call costs a list append, or nothing when nobody watches. What comes after a pause is sent at
   once; what follows is gathered until FLUSH_S after that.
2. A reading is encoded once for all who want the same of its points; who has the same subscription
   shares the very same message.
3. `every`: each reading, in order. A client has a bounded backlog; one that lets it fill is ended with 4408,
   and nobody else notices.
4. `latest`: at most so many messages a second, each with what is newest of what has changed. A client that
   is slow gets fewer of them; all that is remembered for it is which groups have changed.
5. The first message holds the latest readings (`image`), the next ones what came after: no gap, and with
   `every` no reading twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import orjson

from agent.hub import Hub
from agent.model import Group, Reading
from agent.server.outbox import Outbox
from agent.server.selection import Selection
from agent.server.wire import reading_json, readings_json

FLUSH_S = 0.05
PER_S = 10.0  # messages of `latest`, unless the client says otherwise: a reading waits 0.1 s at most
GOING_AWAY = 1001

Mode = Literal["latest", "every"]


class Subscription:
    """Some points for one client. `id` is the client's name for it; `interval_s` is for `latest`."""

    def __init__(
        self,
        outbox: Outbox,
        id: str | int,
        selection: Selection,
        mode: Mode = "latest",
        interval_s: float = 1 / PER_S,
    ) -> None:
        self.outbox, self.selection, self.mode, self.interval_s = outbox, selection, mode, interval_s
        self.head = b'"type":"readings","id":%b,' % orjson.dumps(id)
        self.missed: set[Group] = set()


class Live:
    """Between the hub and the subscriptions; `open` and `close` are called inside the event loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._every: set[Subscription] = set()
        self._channels: dict[tuple[tuple[str, ...], float], Channel] = {}
        self._came: list[Reading] = []
        self._flushed_s = 0.0
        self._timer: asyncio.Handle | None = None
        self._timer_s = 0.0  # when it is due; uvloop's handles of what is due at once do not say
        self._deaf: Callable[[], None] | None = None

    @property
    def subscriptions(self) -> int:
        """How many get readings."""
        return len(self._every) + sum(len(each.members) for each in self._channels.values())

    def open(self) -> None:
        self._deaf = self._hub.listen(self._hear)

    def close(self) -> None:
        """Hear no more; what came last is still filed."""
        if self._deaf is not None:
            self._deaf()
            self._deaf = None
        self._flush()
        self._stop_timer()

    def join(self, wanted: Subscription) -> None:
        """Give `wanted` the latest readings, and from now on what comes."""
        self._flush()
        wanted.outbox.put(latest_json(wanted.head + b'"image":true,', self._hub, wanted.selection))
        if wanted.mode == "every":
            self._every.add(wanted)
            return
        key = (wanted.selection.patterns, wanted.interval_s)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(wanted.selection, wanted.interval_s)
        channel.members.add(wanted)

    def leave(self, left: Subscription) -> None:
        """No more for `left`."""
        self._every.discard(left)
        key = (left.selection.patterns, left.interval_s)
        channel = self._channels.get(key)
        if channel is not None:
            channel.members.discard(left)
            if not channel.members:
                del self._channels[key]

    def _hear(self, readings: Sequence[Reading]) -> None:
        if not self._every and not self._channels:
            return
        self._came.extend(readings)
        self._flush_at(self._flushed_s + FLUSH_S)

    def _flush_at(self, when_s: float) -> None:
        if self._timer is not None:
            if self._timer_s <= when_s:
                return
            self._timer.cancel()
        self._timer, self._timer_s = asyncio.get_running_loop().call_at(when_s, self._flush), when_s

    def _flush(self) -> None:
        self._stop_timer()
        loop = asyncio.get_running_loop()
        now_s = self._flushed_s = loop.time()
        came, self._came = self._came, []
        if came:
            self._send_every(came)
        # What came late is history: it has not changed the image.
        latest = self._hub.latest
        changed = {
            each.group for each in came if (now := latest.get(each.group)) and now.time_ms <= each.time_ms
        }
        encoder = Encoder()
        for channel in self._channels.values():
            channel.changed |= changed
            channel.flush(now_s, self._hub, encoder)
        due_s = min((each.due_s for each in self._channels.values() if each.waiting), default=None)
        if due_s is not None:
            self._flush_at(max(due_s, now_s + FLUSH_S))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send_every(self, came: Sequence[Reading]) -> None:
        batch = Batch(came)
        for wanted in self._every:
            message = batch.message(wanted.head, wanted.selection)
            if message is not None:
                wanted.outbox.put(message)


class Channel:
    """All who want the latest of the same points equally often."""

    def __init__(self, selection: Selection, interval_s: float) -> None:
        self.members: set[Subscription] = set()
        self.changed: set[Group] = set()
        self.due_s = 0.0
        self._selection, self._interval_s = selection, interval_s

    @property
    def waiting(self) -> bool:
        return bool(self.changed) or any(each.missed for each in self.members)

    def flush(self, now_s: float, hub: Hub, encoder: Encoder) -> None:
        """Send what has changed, if it is time."""
        if now_s < self.due_s or not self.waiting:
            return
        self.due_s = now_s + self._interval_s
        changed = {group for group in self.changed if self._selection.columns(group)}
        self.changed = set()
        shared: dict[bytes, bytes] = {}
        for member in self.members:
            if member.outbox.lagging:
                member.missed |= changed
            elif member.missed:
                groups, member.missed = member.missed | changed, set()
                member.outbox.put(encoder.message(member.head, hub, self._selection, groups))
            elif changed:
                message = shared.get(member.head)
                if message is None:
                    message = encoder.message(member.head, hub, self._selection, changed)
                    shared[member.head] = message
                member.outbox.put(message)


class Encoder:
    """The newest readings of groups, each encoded once for all who want the same of it."""

    def __init__(self) -> None:
        self._encoded: dict[tuple[Group, tuple[int, ...]], bytes] = {}

    def message(self, head: bytes, hub: Hub, selection: Selection, groups: Iterable[Group]) -> bytes:
        newest = ((group, hub.latest.get(group)) for group in groups)
        return readings_json(
            head, [self._part(each, selection.columns(group)) for group, each in newest if each is not None]
        )

    def _part(self, reading: Reading, columns: tuple[int, ...]) -> bytes:
        part = self._encoded.get((reading.group, columns))
        if part is None:
            part = self._encoded[reading.group, columns] = reading_json(reading, columns)
        return part


class Batch:
    """Readings that go out together, encoded as they are wanted and not again."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings
        self._encoded: dict[tuple[int, tuple[int, ...]], bytes] = {}
        self._messages: dict[tuple[bytes, tuple[str, ...]], bytes | None] = {}

    def message(self, head: bytes, selection: Selection) -> bytes | None:
        """The message for those who chose `selection`; None if nothing of it came."""
        key = (head, selection.patterns)
        if key not in self._messages:
            parts = [
                self._part(at, reading, columns)
                for at, reading in enumerate(self._readings)
                if (columns := selection.columns(reading.group))
            ]
            self._messages[key] = readings_json(head, parts) if parts else None
        return self._messages[key]

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
