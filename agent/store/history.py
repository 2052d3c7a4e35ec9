"""A period of the past: as readings, as columns, as steps of a coarser time. Streamed, bounded."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeAlias

import aiosqlite

from agent.model import Group, Reading
from agent.store import layout, series
from agent.store.disk import Disk
from agent.store.log_part import ROWS
from agent.store.moment import Moment, Period, Row
from agent.store.sealed import READINGS_PER_STEP, Numbered, stepped
from agent.store.series import Columns, Steps

LOG = f"{ROWS} LIMIT ?"
ReadingSteps: TypeAlias = AsyncGenerator[list[Reading], None]


class History:
    """`commit()` brings to disk what it can, `committed()` is up to where that is, `newer(seq)` is what
    memory holds beyond `seq`, `note` is told every error of the disk."""

    def __init__(
        self,
        disk: Disk,
        commit: Callable[[], Awaitable[None]],
        committed: Callable[[], int],
        newer: Callable[[int], list[Numbered]],
        note: Callable[[Exception], None],
    ) -> None:
        self._disk, self._commit, self._committed = disk, commit, committed
        self._newer, self._note = newer, note

    async def readings(self, points: set[str], period_ms: Period) -> AsyncGenerator[list[Reading], None]:
        """See `Store.history`."""
        await self._commit()
        after = 0
        chosen = series.keyed(self._disk.groups, points)
        with self._reading_back():
            async with self._disk.history_reader() as reader:
                # What is committed while we read may leave memory before we come to it: read on.
                while (until := self._committed()) > after:
                    async for step in self._on_disk(reader, (after, until), chosen, period_ms):
                        yield step
                    after = until
                newest = self._newer(after)
        within = [each for _, each in newest if _within(each, period_ms)]
        wanted = [each for each in within if not points.isdisjoint(each.group.point_ids)]
        for at in range(0, len(wanted), READINGS_PER_STEP):
            yield wanted[at : at + READINGS_PER_STEP]

    async def _on_disk(
        self, reader: aiosqlite.Connection, between: tuple[int, int], keys: Collection[int], period_ms: Period
    ) -> AsyncGenerator[list[Reading], None]:
        """Readings of the groups `keys`, after < seq <= until, in steps."""
        after, until = between
        rows: list[Any] | None = None
        while after < until:
            chunk = await self._disk.sealed.next_chunk(after, period_ms)
            if chunk is not None and chunk.first_seq <= until:
                async for step in self._disk.sealed.readings(chunk, (after, until), keys, period_ms):
                    yield step
                after, rows = chunk.last_seq, None  # what we read of the log may have been sealed since
                continue
            if rows is not None:
                if rows:
                    yield [self._disk.reading(*row[1:]) for row in rows]
                if len(rows) < READINGS_PER_STEP:
                    return
                after = rows[-1][0]
            given = (after, until, json.dumps(list(keys)), *period_ms, READINGS_PER_STEP)
            rows = list(await reader.execute_fetchall(LOG, given))

    async def columns(self, points: set[str], period_ms: Period) -> AsyncGenerator[Columns, None]:
        """See `Store.columns`."""
        await self._commit()
        chosen, moment = dict(self._disk.groups), self.moment(points, period_ms)
        with self._reading_back(), closing(await asyncio.to_thread(self._disk.sealed.connect)) as db:
            async for part in stepped(series.columns(db, chosen, points, period_ms, moment)):
                yield part

    def moment(self, points: Collection[str], period_ms: Period) -> Moment:
        """What there is now of the groups that hold any of `points`."""
        last_seq, chosen = self._committed(), series.keyed(self._disk.groups, points)
        return Moment(last_seq, list(_rows(self._newer(last_seq), chosen, period_ms)))

    async def steps(self, points: set[str], period_ms: Period, step_ms: int) -> AsyncGenerator[Steps, None]:
        """See `Store.downsample`."""
        await self._commit()
        chosen, moment = dict(self._disk.groups), self.moment(points, period_ms)
        with self._reading_back(), closing(await asyncio.to_thread(self._disk.sealed.connect)) as db:
            found = series.columns(db, chosen, points, period_ms, moment)
            async for part in stepped(series.steps(found, step_ms)):
                yield part

    @contextmanager
    def _reading_back(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._note(error)
            raise OSError(f"store: cannot read history: {error}") from error


def _within(reading: Reading, period_ms: Period) -> bool:
    return period_ms[0] <= reading.time_ms < period_ms[1]


def _rows(newest: Sequence[Numbered], chosen: Mapping[int, Group], period_ms: Period) -> Iterator[Row]:
    """As the log will have them."""
    ids = {group: key for key, group in chosen.items()}
    for seq, reading in newest:
        if reading.group in ids and _within(reading, period_ms):
            packed = layout.packer(len(reading.values)).pack(*reading.values)
            yield seq, ids[reading.group], reading.time_ms, int(reading.quality), packed
