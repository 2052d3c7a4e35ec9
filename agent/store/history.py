"""A period of the past: as readings, as columns, as steps of a coarser time. Streamed, bounded."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, closing
from typing import TypeAlias

from agent.model import Group, Quality, Reading
from agent.store import layout, segments, series
from agent.store.log_part import ROWS
from agent.store.moment import Moment, Period, Row
from agent.store.sealed import EVER, READINGS_PER_STEP, Merged, Numbered, Sealed, stepped
from agent.store.segments import Chunk
from agent.store.series import Columns, Steps

ReadingSteps: TypeAlias = AsyncGenerator[list[Reading], None]

LOG = f"{ROWS} LIMIT ?"
LAST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'reading'"
SPAN = (
    f"SELECT min(from_ms), max(to_ms), ({LAST}) FROM chunk"  # noqa: S608 - nothing from outside
    f" UNION ALL SELECT min(time_ms), max(time_ms), ({LAST}) FROM reading"
)


class History:
    """`sealed` is the file, `commit()` brings to disk what it can, `newer(seq)` is what memory holds beyond
    `seq`, `note` is told every error of the disk."""

    def __init__(
        self,
        sealed: Sealed,
        commit: Callable[[], Awaitable[None]],
        newer: Callable[[int], list[Numbered]],
        note: Callable[[Exception], None],
    ) -> None:
        self._sealed, self._commit, self._newer, self._note = sealed, commit, newer, note

    async def readings(self, points: set[str], period_ms: Period) -> AsyncGenerator[list[Reading], None]:
        """See `Store.history`."""
        await self._commit()
        keyed = series.keyed(self._groups(), points)
        async with self._connected() as db:
            walk, before = _Walk(db, keyed, period_ms), -1
            newest: list[Numbered] = []
            # What was committed while we read may have left memory before we came to it: read on.
            while walk.after != before and (before < 0 or (newest and newest[0][0] > walk.after + 1)):
                before = walk.after
                async for step in stepped(walk.steps()):
                    yield step
                newest = self._newer(walk.after)
        within = [each for _, each in newest if _within(each, period_ms)]
        wanted = [each for each in within if not points.isdisjoint(each.group.point_ids)]
        for at in range(0, len(wanted), READINGS_PER_STEP):
            yield wanted[at : at + READINGS_PER_STEP]

    async def columns(self, points: set[str], period_ms: Period) -> AsyncGenerator[Columns, None]:
        """See `Store.columns`."""
        await self._commit()
        async with self._connected() as db:
            moment = await self._moment(db, points, period_ms)
            async for part in stepped(series.columns(db, self._groups(), points, period_ms, moment)):
                yield part

    async def steps(self, points: set[str], period_ms: Period, step_ms: int) -> AsyncGenerator[Steps, None]:
        """See `Store.downsample`."""
        await self._commit()
        async with self._connected() as db:
            moment = await self._moment(db, points, period_ms)
            found = series.columns(db, self._groups(), points, period_ms, moment)
            async for part in stepped(series.steps(found, step_ms)):
                yield part

    async def span_ms(self) -> Period | None:
        """See `Onlooker.span_ms`."""
        await self._commit()
        async with self._connected() as db:
            found = await asyncio.to_thread(lambda: list(db.execute(SPAN)))
        times = [each for row in found for each in row[:2] if each is not None]
        times += [reading.time_ms for _, reading in self._newer(max(row[2] for row in found))]
        return (min(times), max(times)) if times else None

    async def moment(self, points: Collection[str], period_ms: Period) -> Moment:
        """See `Store.moment`."""
        await self._commit()
        async with self._connected() as db:
            return await self._moment(db, points, period_ms)

    async def _moment(self, db: sqlite3.Connection, points: Collection[str], period_ms: Period) -> Moment:
        ((last_seq,),) = await asyncio.to_thread(lambda: db.execute(LAST).fetchall())
        chosen = series.keyed(self._groups(), points)
        return Moment(last_seq, list(_rows(self._newer(last_seq), chosen, period_ms)))

    def _groups(self) -> dict[int, Group]:
        return dict(self._sealed.groups)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[sqlite3.Connection]:
        """A connection of its own, so that a long read holds nobody up."""
        try:
            with closing(await asyncio.to_thread(self._sealed.connect)) as db:
                yield db
        except sqlite3.Error as error:
            self._note(error)
            raise OSError(f"store: cannot read history: {error}") from error


class _Walk:
    """What is on disk beyond `after`, of `groups` and a period: chunk by chunk, then the log."""

    def __init__(self, db: sqlite3.Connection, groups: Mapping[int, Group], period_ms: Period) -> None:
        self._db, self._groups, self._period_ms = db, groups, period_ms
        self._keys = json.dumps(list(groups))
        self.after = 0

    def steps(self) -> Iterator[list[Reading]]:
        while True:
            # As of one moment: what leaves the log is in a chunk.
            with segments.one_moment(self._db):
                chunks = segments.chunks(self._db, self.after, self._period_ms, 1)
                rows, last_seq = ([], 0) if chunks else self._log()
            if chunks:
                yield from self._sealed(chunks[0])
                self.after = max(self.after, chunks[0].last_seq)
                continue
            if rows:
                yield [self._reading(*row[1:]) for row in rows]
            if len(rows) < READINGS_PER_STEP:
                self.after = max(self.after, last_seq)
                return
            self.after = rows[-1][0]

    def _sealed(self, chunk: Chunk) -> Iterator[list[Reading]]:
        blocks = segments.blocks_of(self._db, chunk, self._groups, self._period_ms)
        merged = Merged([block.between(self.after, chunk.last_seq) for block in blocks], "times_ms")
        for at in range(0, len(merged), READINGS_PER_STEP):
            yield [each for _, each in merged.numbered(at, at + READINGS_PER_STEP, self._groups)]

    def _log(self) -> tuple[list[Row], int]:
        given = (self.after, EVER[1], self._keys, *self._period_ms, READINGS_PER_STEP)
        rows = self._db.execute(LOG, given).fetchall()
        ((last_seq,),) = self._db.execute(LAST)
        return rows, last_seq

    def _reading(self, group_id: int, time_ms: int, quality: int, packed: bytes) -> Reading:
        return Reading(self._groups[group_id], time_ms, layout.unpack(packed), Quality(quality))


def _within(reading: Reading, period_ms: Period) -> bool:
    return period_ms[0] <= reading.time_ms < period_ms[1]


def _rows(newest: Sequence[Numbered], keyed: Mapping[int, Group], period_ms: Period) -> Iterator[Row]:
    """As the log will have them."""
    ids = {group: key for key, group in keyed.items()}
    for seq, reading in newest:
        if reading.group in ids and _within(reading, period_ms):
            packed = layout.packer(len(reading.values)).pack(*reading.values)
            yield seq, ids[reading.group], reading.time_ms, int(reading.quality), packed
