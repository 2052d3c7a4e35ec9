"""alarms.db: what is active, what happened, how far each outlet has told it. All of its SQL.

Rules.
1. The log is the buffer: an outlet is a cursor over the events. Being offline for a second and for a week is
   the same; what was cut off from the front meanwhile is counted.
2. Events and active alarms are written in one transaction, so that they never contradict each other.
3. The oldest events go beyond a number of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

from agent.alarms.alarm import Alarm, Change, Event, from_json
from agent.database import Database

ALARMS_FILE = "alarms.db"
SCHEMA = "agent.alarms.schema"
PAGE_MAX = 1000


class Batch(NamedTuple):
    """Events to append, alarms to keep as they are now, ids of those that are over."""

    events: Sequence[Event]
    changed: Collection[Alarm]
    gone: Collection[str]


class Journal:
    """Entered to open `file`; sqlite3.Error when the disk fails later on."""

    def __init__(self, file: Path, *, events_max: int = 20_000) -> None:
        self._database = Database(file, SCHEMA, anew="alarms begin anew")
        self._events_max = events_max
        self._cursors: dict[str, int] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self.last_number = 0

    async def __aenter__(self) -> Self:
        """Open or make the file; a broken one is moved aside. OSError if there can be none."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._database)
            ((last,),) = await self._database.rows("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")
            self.last_number = int(last)
            self._cursors = dict(await self._database.rows("SELECT outlet, number FROM cursor"))
            self._closing = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    async def active(self) -> list[Alarm]:
        """What an earlier run left active."""
        rows = await self._database.rows("SELECT unseen, suppressed, body FROM alarm")
        return [
            from_json(orjson.loads(body), unseen=bool(unseen), suppressed=bool(suppressed))
            for unseen, suppressed, body in rows
        ]

    async def write(self, batch: Batch) -> None:
        """All of `batch`, in one transaction; then who waits for events is woken."""
        events = [(each.number, each.time_ms, each.alarm.id, _event_json(each)) for each in batch.events]
        kept = [
            (each.id, each.unseen, each.suppressed, orjson.dumps(each.as_json()).decode())
            for each in batch.changed
        ]
        over = [(each[0] - self._events_max,) for each in events[-1:]]
        await self._database.write_many(
            # Again after a failure that came too late: the same numbers, the same events.
            ("INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?)", events),
            ("INSERT OR REPLACE INTO alarm VALUES (?, ?, ?, ?)", kept),
            ("DELETE FROM alarm WHERE id = ?", [(each,) for each in batch.gone]),
            ("DELETE FROM event WHERE number <= ?", over),
        )
        if batch.events:
            self.last_number = max(self.last_number, batch.events[-1].number)
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def history(
        self, from_ms: int, to_ms: int, *, limit: int = PAGE_MAX, before: int | None = None, name: str = ""
    ) -> list[Event]:
        """Events with `from_ms` <= time < `to_ms`, newest first, numbered below `before`, of alarm `name`."""
        sql = (
            "SELECT number, body FROM event WHERE time_ms >= ? AND time_ms < ? AND number < ?"
            " AND (? = '' OR id = ?) ORDER BY number DESC LIMIT ?"
        )
        below = 2**62 if before is None else before
        rows = await self._database.rows(
            sql, (from_ms, to_ms, below, name, name, max(1, min(limit, PAGE_MAX)))
        )
        return [_event(*row) for row in rows]

    # ---------------------------------------------------------------- outlets

    async def cursor(self, outlet: str) -> int:
        """The last event that `outlet` has told; a new outlet begins with what happens from now on."""
        if outlet not in self._cursors:
            await self.advance(outlet, self.last_number)  # or a restart would begin later still
        return self._cursors[outlet]

    async def advance(self, outlet: str, number: int) -> None:
        """`outlet` has told everything up to `number`."""
        await self._database.write(("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (outlet, number)))
        self._cursors[outlet] = number

    async def read_after(self, number: int, limit: int) -> list[Event]:
        """Up to `limit` events after `number`, oldest first."""
        sql = "SELECT number, body FROM event WHERE number > ? ORDER BY number LIMIT ?"
        return [_event(*row) for row in await self._database.rows(sql, (number, limit))]

    async def wait_beyond(self, number: int) -> None:
        """Until there is an event after `number` on disk."""
        while self.last_number <= number:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            finally:
                if future in self._waiting:
                    self._waiting.remove(future)


def _event_json(event: Event) -> str:
    alarm = event.alarm
    more = {"unseen": alarm.unseen, "suppressed": alarm.suppressed}
    return orjson.dumps({**event.as_json(), **more}).decode()


def _event(number: int, body: str) -> Event:
    row: Mapping[str, Any] = orjson.loads(body)
    alarm = from_json(row["alarm"], unseen=row["unseen"], suppressed=row["suppressed"])
    return Event(number, row["time_ms"], Change(row["change"]), row["who"], row["note"], alarm)
