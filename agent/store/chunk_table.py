"""The tables of what was sealed: chunks of the log, and of each chunk one segment per group.

Names and SQL, no arrays: what the resident process needs of it. What is in a segment is `segments`' matter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from agent.store.moment import Period

POINTS_MAX = 1 << 16
EVER: Period = (-(2**62), 2**62)


class ChunkSize(NamedTuple):
    """When a stretch of the log is worth sealing, whichever comes first: long enough that the columns of
    many groups pack well, short enough for the memory of a small box."""

    readings: int = 100_000
    packed_bytes: int = 12_000_000


class Chunk(NamedTuple):
    """A row of its table."""

    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int
    readings: int
    thinned: int


class Encoded(NamedTuple):
    """A segment as it is stored."""

    group_id: int
    from_ms: int
    to_ms: int
    readings: int
    seqs: bytes
    times: bytes
    quality: bytes
    values: list[bytes]


Whole: TypeAlias = tuple[Chunk, Sequence[Encoded]]


def chunk_of(first_seq: int, last_seq: int, segments: Sequence[Encoded], thinned: int = 0) -> Chunk:
    """The chunk that `segments` make."""
    return Chunk(
        first_seq,
        last_seq,
        min(segment.from_ms for segment in segments),
        max(segment.to_ms for segment in segments),
        sum(segment.readings for segment in segments),
        thinned,
    )


def segment_rows(chunk: Chunk, segments: Sequence[Encoded], first_id: int) -> Iterator[tuple[object, ...]]:
    """As the table has them; their ids follow each other without a gap."""
    for key, segment in enumerate(segments, first_id):
        yield (key, chunk.first_seq, *segment[:-1])


def column_rows(segments: Sequence[Encoded], first_id: int) -> Iterator[tuple[int, bytes]]:
    """As the table has them."""
    for key, segment in enumerate(segments, first_id):
        for at, body in enumerate(segment.values):
            yield key * POINTS_MAX + at, body


def chunks(db: sqlite3.Connection, after: int, period_ms: Period, limit: int) -> list[Chunk]:
    """Up to `limit` chunks that reach beyond `after` and into from <= time < to, in the order of the log."""
    # The chunk that holds `after` may begin before it; there is one such at most.
    start = "SELECT max(first_seq) FROM chunk WHERE first_seq <= ?"
    ((first,),) = db.execute(start, (after,))
    sql = (
        "SELECT * FROM chunk WHERE first_seq >= ? AND last_seq > ? AND from_ms < ? AND to_ms >= ?"
        " ORDER BY first_seq LIMIT ?"
    )
    given = (after if first is None else first, after, period_ms[1], period_ms[0], limit)
    return [Chunk(*row) for row in db.execute(sql, given)]
