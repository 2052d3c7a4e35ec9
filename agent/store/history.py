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
from contextlib import aclosing, closing, contextmanager
from typing import Any, NamedTuple, TypeAlias

import aiosqlite
import numpy as np
from numpy.typing import NDArray

from agent.model import Group, Reading
from agent.store import layout, segments
from agent.store.columns import Floats, Ints
from agent.store.disk import Disk
from agent.store.sealed import READINGS_PER_STEP, Numbered, stepped
from agent.store.segments import Gathering, Row

Period: TypeAlias = tuple[int, int]
ReadingSteps: TypeAlias = AsyncGenerator[list[Reading], None]

LOG = (
    "SELECT seq, group_id, time_ms, quality, packed FROM reading"
    " WHERE seq > ? AND seq <= ? AND group_id IN (SELECT value FROM json_each(?))"
    " AND time_ms >= ? AND time_ms < ? ORDER BY seq LIMIT ?"
)


class Columns(NamedTuple):
    """Some points of one group: n times and qualities, n x points values (NaN: not available)."""

    group: Group
    points: tuple[str, ...]
    time_ms: Ints
    quality: Ints
    values: Floats


class Steps(NamedTuple):
    """Some points of one group, n steps that begin at `time_ms`; the rest is n x points. `counts` is how many
    values a step has; where it is 0 the others are NaN."""

    group: Group
    points: tuple[str, ...]
    time_ms: Ints
    mean: Floats
    least: Floats
    most: Floats
    last: Floats
    counts: Ints


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
        keyed = _keyed(self._disk.groups, points)
        with self._reading_back():
            async with self._disk.history_reader() as reader:
                # What is committed while we read may leave memory before we come to it: read on.
                while (until := self._committed()) > after:
                    async for step in self._on_disk(reader, (after, until), keyed, period_ms):
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
        keyed = _keyed(self._disk.groups, points)
        with self._reading_back(), closing(await asyncio.to_thread(self._disk.sealed.connect)) as db:
            sealed_seq, last_seq, log = await asyncio.to_thread(_log_part, db, keyed, period_ms)
            log.add(_rows(self._newer(last_seq), keyed, period_ms))
            for key, group in keyed.items():
                ids = group.point_ids
                places = [at for at, each in enumerate(ids) if each in points]
                tail = log.block(key, places)
                steps = segments.in_time_order(db, sealed_seq, period_ms, places, tail)
                async for block in stepped(steps):
                    names = tuple(ids[at] for at in places)
                    yield Columns(group, names, block.times_ms, block.quality, block.values)

    async def steps(self, points: set[str], period_ms: Period, step_ms: int) -> AsyncGenerator[Steps, None]:
        """See `Store.downsample`."""
        async with aclosing(self.columns(points, period_ms)) as found:
            async for step in downsampled(found, step_ms):
                yield step

    @contextmanager
    def _reading_back(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._note(error)
            raise OSError(f"store: cannot read history: {error}") from error


def _keyed(groups: Mapping[int, Group], points: set[str]) -> dict[int, Group]:
    """The groups that hold any of `points`."""
    return {key: group for key, group in groups.items() if not points.isdisjoint(group.point_ids)}


def _within(reading: Reading, period_ms: Period) -> bool:
    return period_ms[0] <= reading.time_ms < period_ms[1]


def _rows(newest: Sequence[Numbered], keyed: dict[int, Group], period_ms: Period) -> Iterator[Row]:
    """As the log will have them."""
    ids = {group: key for key, group in keyed.items()}
    for seq, reading in newest:
        if reading.group in ids and _within(reading, period_ms):
            packed = layout.packer(len(reading.values)).pack(*reading.values)
            yield seq, ids[reading.group], reading.time_ms, int(reading.quality), packed


def _log_part(db: sqlite3.Connection, keys: Collection[int], period_ms: Period) -> tuple[int, int, Gathering]:
    """Up to where all is sealed, up to where all is on disk, and what is between, as of one moment."""
    db.execute("BEGIN")
    ((sealed_seq,),) = db.execute("SELECT coalesce(max(last_seq), 0) FROM chunk")
    ((last_seq,),) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'reading'")
    log = Gathering()
    log.add(db.execute(LOG, (sealed_seq, last_seq, json.dumps(list(keys)), *period_ms, -1)))
    db.execute("COMMIT")
    return sealed_seq, last_seq, log


class _Sums(NamedTuple):
    """Of n buckets; all but `bucket` are n x points."""

    bucket: Ints
    total: Floats
    known: Ints
    least: Floats
    most: Floats
    last: Floats


def _cut(sums: _Sums, which: slice) -> _Sums:
    return _Sums._make([each[which] for each in sums])


async def downsampled(found: AsyncIterator[Columns], step_ms: int) -> AsyncGenerator[Steps, None]:
    """`found`, in the order of time within a group, as steps; each step once."""
    group: Group | None = None
    points: tuple[str, ...] = ()
    open_: _Sums | None = None  # the last bucket, to which more may come
    async for part in found:
        sums = await asyncio.to_thread(_sums, part, step_ms)
        if open_ is not None and group is part.group:
            sums = _after(open_, sums)
        elif open_ is not None and group is not None:
            yield _steps(group, points, open_, step_ms)
        group, points, open_ = part.group, part.points, _cut(sums, slice(-1, None))
        if len(sums.bucket) > 1:
            yield _steps(group, points, _cut(sums, slice(0, -1)), step_ms)
    if open_ is not None and group is not None:
        yield _steps(group, points, open_, step_ms)


def _sums(part: Columns, step_ms: int) -> _Sums:
    bucket = part.time_ms // step_ms
    starts = np.flatnonzero(np.concatenate(([True], bucket[1:] != bucket[:-1])))
    known: NDArray[np.bool_] = ~np.isnan(part.values)
    newest = np.maximum.reduceat(np.where(known, np.arange(len(bucket))[:, None], -1), starts)
    last = np.take_along_axis(part.values, np.maximum(newest, 0), axis=0)
    return _Sums(
        bucket[starts],
        np.add.reduceat(np.where(known, part.values, 0.0), starts),
        np.add.reduceat(known.astype(np.int64), starts),
        np.fmin.reduceat(part.values, starts),
        np.fmax.reduceat(part.values, starts),
        np.where(newest >= 0, last, np.nan),
    )


def _after(open_: _Sums, sums: _Sums) -> _Sums:
    """One after the other; if they meet in a bucket, that is one."""
    if open_.bucket[0] != sums.bucket[0]:
        return _Sums._make([np.concatenate(pair) for pair in zip(open_, sums, strict=True)])
    first = _cut(sums, slice(0, 1))
    one = _Sums(
        first.bucket,
        open_.total + first.total,
        open_.known + first.known,
        np.fmin(open_.least, first.least),
        np.fmax(open_.most, first.most),
        np.where(first.known > 0, first.last, open_.last),
    )
    rest = _cut(sums, slice(1, None))
    return _Sums._make([np.concatenate(pair) for pair in zip(one, rest, strict=True)])


def _steps(group: Group, points: tuple[str, ...], sums: _Sums, step_ms: int) -> Steps:
    with np.errstate(invalid="ignore"):
        mean = sums.total / sums.known
    return Steps(
        group, points, sums.bucket * step_ms, mean, sums.least, sums.most, sums.last, sums.known
    )  # fmt: skip
