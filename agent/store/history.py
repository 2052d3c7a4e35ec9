"""A period of the past: as readings, as columns, as steps of a coarser time. Streamed, bounded."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import (
    AsyncGenerator,
    Iterator,
    Mapping,
)

from agent.model import Group, Quality, Reading
from agent.store import layout, segments, series
from agent.store.chunk_table import EVER, Chunk, chunks
from agent.store.log_part import ROWS
from agent.store.merged import Merged
from agent.store.moment import LAST, Period, Row, keyed
from agent.store.past import Past, within
from agent.store.read_only import one_moment
from agent.store.sealed import READINGS_PER_STEP, Numbered, stepped
from agent.store.series import Columns, Steps

LOG = f"{ROWS} LIMIT ?"
SPAN = (
    f"SELECT min(from_ms), max(to_ms), ({LAST}) FROM chunk"  # noqa: S608 - nothing from outside
    f" UNION ALL SELECT min(time_ms), max(time_ms), ({LAST}) FROM reading"
)


class History(Past):
    """Read in this process."""

    async def readings(self, points: set[str], period_ms: Period) -> AsyncGenerator[list[Reading], None]:
        """See `Store.history`."""
        await self._commit()
        chosen = keyed(self._groups(), points)
        async with self._connected() as db:
            walk, before = _Walk(db, chosen, period_ms), -1
            newest: list[Numbered] = []
            # What was committed while we read may have left memory before we came to it: read on.
            while walk.after != before and (before < 0 or (newest and newest[0][0] > walk.after + 1)):
                before = walk.after
                async for step in stepped(walk.steps()):
                    yield step
                newest = self._newer(walk.after)
        within = [each for _, each in newest if within(each, period_ms)]
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


class _Walk:
    """What is on disk beyond `after`, of `groups` and a period: chunk by chunk, then the log."""

    def __init__(self, db: sqlite3.Connection, groups: Mapping[int, Group], period_ms: Period) -> None:
        self._db, self._groups, self._period_ms = db, groups, period_ms
        self._keys = json.dumps(list(groups))
        self.after = 0

    def steps(self) -> Iterator[list[Reading]]:
        while True:
            # As of one moment: what leaves the log is in a chunk.
            with one_moment(self._db):
                found = chunks(self._db, self.after, self._period_ms, 1)
                rows, last_seq = ([], 0) if found else self._log()
            if found:
                yield from self._sealed(found[0])
                self.after = max(self.after, found[0].last_seq)
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
            yield [self._reading(*row[1:]) for row in merged.rows(at, at + READINGS_PER_STEP)]

    def _log(self) -> tuple[list[Row], int]:
        given = (self.after, EVER[1], self._keys, *self._period_ms, READINGS_PER_STEP)
        rows = self._db.execute(LOG, given).fetchall()
        ((last_seq,),) = self._db.execute(LAST)
        return rows, last_seq

    def _reading(self, group_id: int, time_ms: int, quality: int, packed: bytes) -> Reading:
        return Reading(self._groups[group_id], time_ms, layout.unpack(packed), Quality(quality))
