"""What is not sealed when somebody begins to read the past: found again when he comes to it.

Rules. Until then only its extent is known. What was sealed meanwhile is read where it is now, the rest from
the log, both as of one moment. Of the log the groups that fit together are read at once; much of one group is
packed as sealing would.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple

from agent.store.chunk_table import Encoded
from agent.store.moment import Moment, Period, Row
from agent.store.read_only import one_moment
from agent.store.segments import ROWS_AT_ONCE, Block, Gathering, encode

BYTES_AT_ONCE = 4_000_000
PACK_BYTES = 500_000  # of one group

SEALED = "SELECT coalesce(max(last_seq), 0) FROM chunk"
OF_LOG = (
    " FROM reading WHERE seq > ? AND seq <= ? AND group_id IN (SELECT value FROM json_each(?))"
    " AND time_ms >= ? AND time_ms < ?"
)
EXTENTS = f"SELECT group_id, min(time_ms), sum(length(packed)) {OF_LOG} GROUP BY group_id"
ROWS = f"SELECT seq, group_id, time_ms, quality, packed {OF_LOG} ORDER BY seq"
SEALED_SINCE = (
    "SELECT group_id, id FROM segment WHERE chunk > ? AND group_id IN (SELECT value FROM json_each(?))"
    " AND from_ms < ? AND to_ms >= ?"
)


class Found(NamedTuple):
    """Of one group: the segments by now, and what is in none."""

    segments: list[int]
    blocks: list[Block | Encoded]


class LogPart:
    """Of the groups `keys`, from <= time < to."""

    def __init__(
        self,
        db: sqlite3.Connection,
        keys: Sequence[int],
        period_ms: Period,
        moment: Moment,
        bytes_at_once: int = BYTES_AT_ONCE,
    ) -> None:
        self._db, self._keys, self.period_ms, self.moment = db, keys, period_ms, moment
        self._bytes_at_once = bytes_at_once
        with one_moment(db):
            ((self.sealed_seq,),) = db.execute(SEALED)
            self._extents = {key: own for key, *own in db.execute(EXTENTS, self._given(keys))}
        for _, key, time_ms, _, packed in moment.newest:
            first_ms, size = self._extents.get(key, (time_ms, 0))
            self._extents[key] = [min(first_ms, time_ms), size + len(packed)]
        self._found: dict[int, Found] = {}

    def _given(self, keys: Sequence[int], after: int | None = None) -> tuple[object, ...]:
        first = self.sealed_seq if after is None else after
        return (first, self.moment.last_seq, json.dumps(list(keys)), *self.period_ms)

    def first_ms(self, key: int) -> int | None:
        """The earliest of a group; None: there is none."""
        extent = self._extents.get(key)
        return None if extent is None else int(extent[0])

    def taken(self, key: int) -> Found:
        """All of a group; to be asked for once."""
        if key not in self._found:
            self._found |= self._read(self._with(key))
        return self._found.pop(key)

    def _with(self, key: int) -> list[int]:
        """`key`, and what may be read together with it of the groups that follow."""
        together, used = [key], self._extents[key][1]
        for other in self._keys[self._keys.index(key) + 1 :]:
            if other in self._extents and other not in self._found:
                used += self._extents[other][1]
                if used > self._bytes_at_once:
                    break
                together.append(other)
        return together

    def _read(self, keys: Sequence[int]) -> Mapping[int, Found]:
        found: dict[int, Found] = defaultdict(lambda: Found([], []))
        with one_moment(self._db):
            since = (self.sealed_seq, json.dumps(keys), *self.period_ms[::-1])
            for key, segment in self._db.execute(SEALED_SINCE, since):
                found[key].segments.append(segment)
            ((sealed_seq,),) = self._db.execute(SEALED)
            rows = self._db.execute(ROWS, self._given(keys, sealed_seq))
            newest = (row for row in self.moment.newest if row[1] in keys)
            for block in _gathered(chain(rows, newest)):
                found[block.group_id].blocks.append(block)
        return {key: found[key] for key in keys}


def _gathered(rows: Iterator[Row]) -> Iterator[Block | Encoded]:
    log = Gathering()
    while some := list(islice(rows, ROWS_AT_ONCE)):
        log.add(some)
        yield from map(encode, log.large(PACK_BYTES))
    yield from log.blocks()
