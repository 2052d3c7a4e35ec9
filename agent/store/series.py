"""The past as arrays: as columns, as steps of a coarser time. Streamed, bounded, plain functions.

For a thread or for another process: they need a connection that reads and nothing of an event loop; errors
are sqlite3's. The module is lean on purpose: an export's process starts with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.model import Group
from agent.store import layout
from agent.store.columns import Floats, Ints
from agent.store.log_part import LogPart
from agent.store.moment import Moment, Period, keyed
from agent.store.ordered import Wanted, in_time_order

STEP_VALUES = 100_000
AGGREGATES = {"mean": "mean", "min": "least", "max": "most", "last": "last", "count": "counts"}


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

    def as_columns(self, aggregate: str) -> Columns:
        """One of AGGREGATES of each step as its value (without qualities)."""
        values: Floats = getattr(self, AGGREGATES[aggregate]).astype(np.float64)
        return Columns(self.group, self.points, self.time_ms, np.zeros(len(values), np.int64), values)


def groups_of(db: sqlite3.Connection) -> dict[int, Group]:
    """Each group that the file knows, by its row."""
    rows = db.execute("SELECT id, device, name, layout FROM point_group")
    return {key: layout.decode(*described) for key, *described in rows}


def columns(
    db: sqlite3.Connection, groups: Mapping[int, Group], points: set[str], period_ms: Period, moment: Moment
) -> Iterator[Columns]:
    """`points` of `groups`, from <= time < to: group by group, each in the order of time, some at once."""
    for stream in streams(db, groups, points, LogPart(db, sorted(keyed(groups, points)), period_ms, moment)):
        yield from stream


def streams(
    db: sqlite3.Connection,
    groups: Mapping[int, Group],
    points: set[str],
    log: LogPart,
    step_values: int = STEP_VALUES,
) -> list[Iterator[Columns]]:
    """`points` of each of `groups` by itself, in the order of time, some `step_values` at once."""

    def stream(key: int, group: Group) -> Iterator[Columns]:
        ids = group.point_ids
        places = [at for at, each in enumerate(ids) if each in points]
        names = tuple(ids[at] for at in places)
        wanted = Wanted(key, places, max(1, step_values // max(1, len(places))), log)
        for block in in_time_order(db, wanted):
            yield Columns(group, names, block.times_ms, block.quality, block.values)

    return [stream(*each) for each in sorted(keyed(groups, points).items())]


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


def steps(found: Iterable[Columns], step_ms: int) -> Iterator[Steps]:
    """`found`, in the order of time within a group, as steps; each step once."""
    group: Group | None = None
    points: tuple[str, ...] = ()
    open_: _Sums | None = None  # the last bucket, to which more may come
    for part in found:
        sums = _sums(part, step_ms)
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
