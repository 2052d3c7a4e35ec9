"""What a child does for the store: the functions that `Aside` is given the names of. Arrays end here.

What they take and return needs no numpy. Errors are sqlite3's; where the file makes no sense, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from agent.store import segments
from agent.store.chunk_table import Chunk, ChunkSize, Encoded, Whole, chunk_of
from agent.store.merged import Merged
from agent.store.moment import Period, Row
from agent.store.progress import Span
from agent.store.read_only import connected
from agent.store.rescue import decoding
from agent.store.segments import Block, Gathering

ROWS_PER_FETCH = 4000
CHUNKS_DECODED_MAX = 2

Counts: TypeAlias = dict[tuple[int, int, bool], int]  # by group id, hour and whether in one of the spans

_decoded: dict[tuple[Path, Chunk], Merged] = {}  # read in the order of the log, for the next rows


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(connected(file)) as db, decoding():
        yield db


def ready(file: Path) -> None:
    """Started, and all is loaded."""


# ---------------------------------------------------------------- sealing


def packed(file: Path, last_seq: int, size: ChunkSize) -> Whole | None:
    """The oldest rows of the log up to `last_seq`, as many as `size` allows, as a chunk; None: no rows."""
    with _opened(file) as db:
        gathering = gathered(db, last_seq, size)
        encoded = [segments.encode(block) for block in gathering.blocks()]
    return (chunk_of(gathering.first_seq, gathering.last_seq, encoded), encoded) if encoded else None


def gathered(db: sqlite3.Connection, last_seq: int, size: ChunkSize) -> Gathering:
    """See `packed`."""
    sql = "SELECT seq, group_id, time_ms, quality, packed FROM reading WHERE seq <= ? ORDER BY seq LIMIT ?"
    gathering = Gathering()
    cursor = db.execute(sql, (last_seq, size.readings))
    while gathering.packed_bytes < size.packed_bytes and (rows := cursor.fetchmany(ROWS_PER_FETCH)):
        gathering.add(rows)
    cursor.close()
    return gathering


# ---------------------------------------------------------------- giving up


def counted(file: Path, chunk: Chunk, spans: Sequence[Span]) -> Counts:
    """What `chunk` holds, within `spans` of the log or not."""
    with _opened(file) as db:
        return _counts(segments.blocks_of(db, chunk, points=()), spans)


def thinned(file: Path, chunk: Chunk, spans: Sequence[Span]) -> tuple[Counts, Whole]:
    """`chunk` without every second reading of each group, and what goes."""
    kept: list[Encoded] = []
    gone: list[Block] = []
    with _opened(file) as db:
        for block in segments.blocks_of(db, chunk):
            even = np.arange(len(block)) % 2 == 0
            kept.append(segments.encode(block.where(even)))
            gone.append(block.where(~even))
    return _counts(gone, spans), (chunk_of(*chunk[:2], kept, chunk.thinned + 1), kept)


def _counts(blocks: Sequence[Block], spans: Sequence[Span]) -> Counts:
    counts: Counts = {}
    for block in blocks:
        within = _within(block, spans)
        for mask, inside in ((within, True), (~within, False)):
            for hour, count in block.hours(mask).items():
                key = (block.group_id, hour, inside)
                counts[key] = counts.get(key, 0) + count
    return counts


def _within(block: Block, spans: Sequence[Span]) -> NDArray[np.bool_]:
    within = np.zeros(len(block), np.bool_)
    for first, last in spans:
        within |= (block.seqs >= first) & (block.seqs <= last)
    return within


# ---------------------------------------------------------------- reading


def rows(file: Path, chunk: Chunk, after: int, before: int, limit: int) -> list[Row]:
    """Up to `limit` rows of `chunk` with `after` < seq < `before`, in that order."""
    merged = _merged(file, chunk)
    start, end = np.searchsorted(merged.keys, (after + 1, before)).tolist()
    return merged.rows(start, min(end, start + limit))


def _merged(file: Path, chunk: Chunk) -> Merged:
    if (file, chunk) not in _decoded:
        with _opened(file) as db:
            merged = Merged(segments.blocks_of(db, chunk), "seqs")
        while len(_decoded) >= CHUNKS_DECODED_MAX:
            del _decoded[next(iter(_decoded))]
        _decoded[file, chunk] = merged
    return _decoded[file, chunk]


def numbers(file: Path, chunk: Chunk, keys: Collection[int], period_ms: Period, apart_max: int) -> list[Span]:
    """The numbers of what `chunk` holds of the groups `keys` in a period: as spans, between which more than
    `apart_max` lie."""
    with _opened(file) as db:
        blocks = segments.blocks_of(db, chunk, keys, period_ms, ())
    seqs = np.sort(np.concatenate([block.seqs for block in blocks] or [np.empty(0, np.int64)]))
    parts = np.split(seqs, np.flatnonzero(np.diff(seqs) > apart_max) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts if len(part)]
