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
from contextlib import aclosing, asynccontextmanager, closing
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agent.model import Group, Quality, Reading
from agent.store import layout, segments
from agent.store.columns import Floats, Ints
from agent.store.sealed import EVER, READINGS_PER_STEP, Merged, Numbered, Sealed, stepped
from agent.store.segments import Chunk, Gathering, Row

Period: TypeAlias = tuple[int, int]
ReadingSteps: TypeAlias = AsyncGenerator[list[Reading], None]

LOG = (
    "SELECT seq, group_id, time_ms, quality, packed FROM reading"
    " WHERE seq > ? AND seq <= ? AND group_id IN (SELECT value FROM json_each(?))"
    " AND time_ms >= ? AND time_ms < ? ORDER BY seq LIMIT ?"
)


LAST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'reading'"
SPAN = (
    f"SELECT min(from_ms), max(to_ms), ({LAST}) FROM chunk"  # noqa: S608 - nothing from outside
    f" UNION ALL SELECT min(time_ms), max(time_ms), ({LAST}) FROM reading"
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
        keyed = _keyed(self._sealed.groups, points)
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
        keyed = _keyed(self._sealed.groups, points)
        async with self._connected() as db:
            sealed_seq, last_seq, log = await asyncio.to_thread(_log_part, db, keyed, period_ms)
            log.add(_rows(self._newer(last_seq), keyed, period_ms))
            for key, group in sorted(keyed.items(), key=lambda each: each[0]):
                ids = group.point_ids
                places = [at for at, each in enumerate(ids) if each in points]
                tail = log.block(key, places)
                steps = segments.in_time_order(db, sealed_seq, period_ms, places, tail)
                async for block in stepped(steps):
                    names = tuple(ids[at] for at in places)
                    yield Columns(group, names, block.times_ms, block.quality, block.values)

    async def span_ms(self) -> Period | None:
        """See `Store.span_ms`."""
        await self._commit()
        async with self._connected() as db:
            found = await asyncio.to_thread(lambda: list(db.execute(SPAN)))
        times = [each for row in found for each in row[:2] if each is not None]
        times += [reading.time_ms for _, reading in self._newer(max(row[2] for row in found))]
        return (min(times), max(times)) if times else None

    async def steps(self, points: set[str], period_ms: Period, step_ms: int) -> AsyncGenerator[Steps, None]:
        """See `Store.downsample`."""
        async with aclosing(self.columns(points, period_ms)) as found:
            async for step in downsampled(found, step_ms):
                yield step

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
    ((last_seq,),) = db.execute(LAST)
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
