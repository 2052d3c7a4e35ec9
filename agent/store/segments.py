"""Sealed history: stretches of the log (chunks) as one segment of columns per group, and back.

Plain functions on arrays and on a connection of `sqlite3`, for a process of their own; errors are sqlite3's.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.model import HOUR_MS
from agent.store import columns
from agent.store.chunk_table import POINTS_MAX, Chunk, Encoded
from agent.store.columns import Floats, Ints
from agent.store.moment import Row
from agent.store.read_only import one_moment

ROWS_AT_ONCE = 4000
_GROUP_ID = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Block:
    """Readings of one group: `seqs`, `times_ms`, `quality` of n, `values` of n x points.

    `values` may hold fewer columns, where only those were asked for.
    """

    group_id: int
    seqs: Ints
    times_ms: Ints
    quality: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.seqs)

    def where(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> Block:
        """The readings that `mask` (or an order) picks."""
        if mask.dtype == np.bool_ and mask.all():
            return self
        return replace(
            self,
            seqs=self.seqs[mask],
            times_ms=self.times_ms[mask],
            quality=self.quality[mask],
            values=self.values[mask],
        )

    def between(self, after: int, until: int) -> Block:
        """Those with `after` < seq <= `until`."""
        if len(self) == 0 or (self.seqs[0] > after and self.seqs[-1] <= until):
            return self
        return self.where((self.seqs > after) & (self.seqs <= until))

    def hours(self, mask: NDArray[np.bool_]) -> dict[int, int]:
        """How many of the readings that `mask` picks are in each hour."""
        found, counts = np.unique(self.times_ms[mask] // HOUR_MS, return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))


class Stored(NamedTuple):
    """What is needed of a segment's row to decode it."""

    key: int
    group_id: int
    readings: int
    seqs: bytes
    times: bytes
    quality: bytes


class Gathering:
    """Rows of the log, sorted by group as they come."""

    def __init__(self) -> None:
        self._heads: dict[int, tuple[array[int], ...]] = {}  # seqs, times_ms, quality
        self._values: dict[int, bytearray] = defaultdict(bytearray)
        self.first_seq = self.last_seq = self.packed_bytes = 0

    def add(self, rows: Iterable[Row]) -> None:
        """In the order of the log."""
        left = iter(rows)
        while some := list(islice(left, ROWS_AT_ONCE)):
            self.first_seq, self.last_seq = self.first_seq or some[0][0], some[-1][0]
            some.sort(key=_GROUP_ID)
            for group_id, of_group in groupby(some, _GROUP_ID):
                self._add(group_id, zip(*of_group, strict=True))

    def _add(self, group_id: int, fields: Iterator[tuple[Any, ...]]) -> None:
        if group_id not in self._heads:
            self._heads[group_id] = (array("q"), array("q"), array("q"))
        seqs, times_ms, quality = self._heads[group_id]
        new_seqs, _, new_times_ms, new_quality, bodies = fields
        seqs.extend(new_seqs)
        times_ms.extend(new_times_ms)
        quality.extend(new_quality)
        packed = b"".join(bodies)
        self._values[group_id] += packed
        self.packed_bytes += len(packed)

    def blocks(self) -> list[Block]:
        """One for each group."""
        return [self._block(group_id) for group_id in self._heads]

    def large(self, more_than_bytes: int) -> Iterator[Block]:
        """One for each group that has more than so much, which is forgotten here."""
        for group_id in [key for key, values in self._values.items() if len(values) > more_than_bytes]:
            yield self._block(group_id)
            del self._heads[group_id], self._values[group_id]

    def _block(self, group_id: int) -> Block:
        seqs, times_ms, quality = (np.frombuffer(head, np.int64) for head in self._heads[group_id])
        values = np.frombuffer(self._values[group_id], "<f8").reshape(len(seqs), -1)
        return Block(group_id, seqs, times_ms, quality, values)


def encode(block: Block) -> Encoded:
    """`block`, small."""
    return Encoded(
        block.group_id,
        int(block.times_ms.min()),
        int(block.times_ms.max()),
        len(block),
        columns.encode_ints(block.seqs),
        columns.encode_ints(block.times_ms),
        columns.encode_ints(block.quality),
        columns.encode_floats(block.values),
    )


def blocks_of(
    db: sqlite3.Connection,
    chunk: Chunk,
    group_ids: Collection[int] | None = None,
    period_ms: tuple[int, int] | None = None,
    points: Sequence[int] | None = None,
) -> list[Block]:
    """What `chunk` holds (of `group_ids`, of from <= time < to, the columns `points`), as of one moment."""
    sql = "SELECT id, group_id, readings, seqs, times, quality FROM segment WHERE chunk = ?"
    given: list[object] = [chunk.first_seq]
    if group_ids is not None:
        sql += " AND group_id IN (SELECT value FROM json_each(?))"
        given.append(json.dumps(list(group_ids)))
    if period_ms is not None:
        sql += " AND from_ms < ? AND to_ms >= ?"
        given += period_ms[::-1]
    with one_moment(db):
        found = [decode(db, Stored(*row), points) for row in db.execute(sql, given).fetchall()]
    if period_ms is None:
        return found
    return [block.where(within(block.times_ms, period_ms)) for block in found]


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks of one group as one, in the order of time."""
    whole = Block(
        blocks[0].group_id,
        np.concatenate([block.seqs for block in blocks]),
        np.concatenate([block.times_ms for block in blocks]),
        np.concatenate([block.quality for block in blocks]),
        np.concatenate([block.values for block in blocks]),
    )
    if np.all(whole.times_ms[1:] >= whole.times_ms[:-1]):
        return whole
    return whole.where(np.lexsort((whole.seqs, whole.times_ms)))


def heads_of(stored: Stored) -> Block:
    """A segment's block without any of its columns."""
    _, group_id, readings, *heads = stored
    seqs, times_ms, quality = (columns.decode_ints(head, readings) for head in heads)
    return Block(group_id, seqs, times_ms, quality, np.empty((readings, 0)))


def decode(db: sqlite3.Connection, stored: Stored, points: Sequence[int] | None = None) -> Block:
    """A segment's block, of its points the columns `points` (None: all)."""
    key, _, readings, *_ = stored
    if points is None:
        bodies = bodies_of(db, key, 0, POINTS_MAX - 1)
    else:
        bodies = [body for at in points for body in bodies_of(db, key, at, at)]
    values = np.empty((readings, len(bodies)), order="F")
    for at, body in enumerate(bodies):
        values[:, at] = columns.decode_floats(body, readings)
    return replace(heads_of(stored), values=values)


def bodies_of(db: sqlite3.Connection, key: int, first: int, last: int) -> list[bytes]:
    """The packed columns of a segment from the place `first` to `last`."""
    sql = "SELECT body FROM segment_column WHERE id BETWEEN ? AND ? ORDER BY id"
    base = key * POINTS_MAX
    return [body for (body,) in db.execute(sql, (base + first, base + last))]


def within(times_ms: Ints, period_ms: tuple[int, int]) -> NDArray[np.bool_]:
    """Which times are in the half-open period."""
    return (times_ms >= period_ms[0]) & (times_ms < period_ms[1])
