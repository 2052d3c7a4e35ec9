"""All of a group in the order of time, from its segments and the log: a stream of blocks of bounded size.

Rules. Only what the next block may hold is begun. Of a segment that is larger than a block only the heads
(times, numbers, qualities) stay in memory: its values are decoded anew for each block, a column at a time,
which costs less than to keep them. What came late is sorted in where it belongs.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agent.store import columns
from agent.store.chunk_table import Encoded
from agent.store.columns import Floats
from agent.store.log_part import LogPart
from agent.store.read_only import one_moment
from agent.store.segments import Block, Stored, bodies_of, heads_of, joined, within

STEP_VALUES = 50_000

Rows: TypeAlias = NDArray[np.integer[Any]]

FIND = (
    "SELECT id, from_ms FROM segment WHERE group_id = ? AND from_ms < ? AND to_ms >= ? AND chunk <= ?"
    " ORDER BY from_ms"
)
READ = "SELECT id, group_id, readings, seqs, times, quality FROM segment WHERE id = ?"


class Wanted(NamedTuple):
    """Of a group the columns `points`, about `step_rows` at once; `log` says from when to when, as of which
    moment, and has what was not sealed then."""

    group_id: int
    points: Sequence[int]
    step_rows: int
    log: LogPart


def in_time_order(db: sqlite3.Connection, wanted: Wanted) -> Iterator[Block]:
    """See the module."""
    waiting = _all(db, wanted)
    begun: list[_Begun] = []
    while True:
        reach_ms = _reach_ms(begun, wanted.step_rows)
        if waiting and (reach_ms is None or waiting[0][0] <= reach_ms):
            begun += waiting.popleft()[1]()
            continue
        parts = [each.taken(reach_ms) for each in begun]
        begun = [each for each in begun if each.left]
        if any(map(len, parts)):
            yield joined(parts)
        if not (begun or waiting):
            return


def _all(db: sqlite3.Connection, wanted: Wanted) -> deque[tuple[int, Callable[[], list[_Begun]]]]:
    """What there is: when it begins, and how to."""
    log, key = wanted.log, wanted.group_id
    found = db.execute(FIND, (key, log.period_ms[1], log.period_ms[0], log.sealed_seq)).fetchall()
    waiting = [(from_ms, partial(_opened, db, segment, wanted)) for segment, from_ms in found]
    if (first_ms := log.first_ms(key)) is not None:
        waiting.append((first_ms, partial(_log, db, wanted)))
    return deque(sorted(waiting, key=itemgetter(0)))


def _log(db: sqlite3.Connection, wanted: Wanted) -> list[_Begun]:
    found = wanted.log.taken(wanted.group_id)
    sealed = [each for segment in found.segments for each in _opened(db, segment, wanted)]
    return sealed + [_of_log(each, wanted) for each in found.blocks]


def _reach_ms(begun: Sequence[_Begun], rows: int) -> int | None:
    """Up to when the next `rows` are; None: there are not as many."""
    if sum(each.left for each in begun) < rows:
        return None
    times = np.concatenate([each.times_ms[each.at : each.at + rows] for each in begun])
    return int(np.partition(times, rows - 1)[rows - 1])


class _Begun:
    """The `rows` of a block that are wanted, and where we are in them; `values` gives those of some rows."""

    def __init__(self, heads: Block, rows: Rows, values: Callable[[Rows], Floats]) -> None:
        times_ms = heads.times_ms[rows]
        if not np.all(times_ms[1:] >= times_ms[:-1]):
            rows = rows[np.lexsort((heads.seqs[rows], times_ms))]
            times_ms = heads.times_ms[rows]
        self._heads, self._rows, self._values = heads, rows.astype(np.int32), values
        self.times_ms, self.at = heads.times_ms if len(rows) == len(heads) else times_ms, 0

    @property
    def left(self) -> int:
        return len(self._rows) - self.at

    def taken(self, until_ms: int | None) -> Block:
        """What is not later than `until_ms` (None: all of it)."""
        end = len(self._rows)
        if until_ms is not None:
            end = int(np.searchsorted(self.times_ms, until_ms, side="right"))
        rows, self.at = self._rows[self.at : end], end
        heads = self._heads
        values = self._values(rows)
        if len(values) < len(rows):  # it was given up meanwhile
            rows, self._rows = rows[:0], self._rows[:0]
            self.times_ms, self.at = self.times_ms[:0], 0
        return replace(
            heads,
            seqs=heads.seqs[rows],
            times_ms=heads.times_ms[rows],
            quality=heads.quality[rows],
            values=values,
        )


def _opened(db: sqlite3.Connection, key: int, wanted: Wanted) -> list[_Begun]:
    """Nothing, if the segment was given up meanwhile."""
    row = db.execute(READ, (key,)).fetchone()
    if row is None:
        return []
    stored = Stored(*row)
    heads = heads_of(stored)
    rows = np.flatnonzero(
        within(heads.times_ms, wanted.log.period_ms) & (heads.seqs <= wanted.log.moment.last_seq)
    )
    values = _Values(db, stored, wanted.points)
    return [_Begun(heads, rows, values if len(rows) > wanted.step_rows else values.kept(rows))]


def _of_log(part: Block | Encoded, wanted: Wanted) -> _Begun:
    if isinstance(part, Block):
        whole, points = part.values, np.array(wanted.points, np.intp)
        return _Begun(part, np.arange(len(part)), lambda rows: whole[rows[:, None], points])
    heads = heads_of(Stored(0, part.group_id, part.readings, part.seqs, part.times, part.quality))

    def values(rows: Rows) -> Floats:
        return _decoded([part.values[at] for at in wanted.points], part.readings, rows)

    return _Begun(heads, np.arange(len(heads)), values)


def _decoded(bodies: Sequence[bytes], readings: int, rows: Rows) -> Floats:
    values = np.empty((len(rows), len(bodies)), order="F")
    for at, body in enumerate(bodies):
        values[:, at] = columns.decode_floats(body, readings)[rows]
    return values


class _Values:
    """Of a segment, when they are asked for; none if the segment is not what it was."""

    def __init__(self, db: sqlite3.Connection, stored: Stored, points: Sequence[int]) -> None:
        self._db, self._stored, self._points = db, stored, points

    def __call__(self, rows: Rows) -> Floats:
        with one_moment(self._db):
            if self._db.execute(READ, (self._stored.key,)).fetchone() != self._stored:
                return np.empty((0, len(self._points)))
            bodies = [body for at in self._points for body in bodies_of(self._db, self._stored.key, at, at)]
        return _decoded(bodies, self._stored.readings, rows)

    def kept(self, wanted: Rows) -> Callable[[Rows], Floats]:
        """The same, those of `wanted` decoded once."""
        whole: list[Floats] = []

        def values(rows: Rows) -> Floats:
            if not whole:
                whole.append(self(wanted))
            return whole[0][np.searchsorted(wanted, rows)] if len(whole[0]) else whole[0]

        return values
