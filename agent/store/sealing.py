"""From the log to the sealed history, a chunk at a time, beside everything else.

Gathering and packing are in a thread and touch nothing; only what is packed goes through the one writer,
in one transaction. A crash before it leaves the log as it was. What no uplink has delivered yet is sealed
like the rest: its numbers go with it, and `read_after` finds it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import NamedTuple

from agent.store import segments
from agent.store.disk import Disk
from agent.store.rescue import decoding
from agent.store.segments import Chunk, Encoded, Gathering

ROWS_PER_FETCH = 4000


class ChunkSize(NamedTuple):
    """When a stretch of the log is worth sealing, whichever comes first: long enough that the columns of
    many groups pack well, short enough for the memory of a small box."""

    readings: int = 100_000
    packed_bytes: int = 12_000_000


def chunk_size_of(size_max_mb: int) -> ChunkSize:
    """An eighth of the whole at most: what is not sealed yet cannot be given up in small parts."""
    return ChunkSize(packed_bytes=min(12, size_max_mb // 8) * 1_000_000)


def gather(db: sqlite3.Connection, last_seq: int, size: ChunkSize) -> Gathering:
    """The oldest rows of the log up to `last_seq`, as many as `size` allows."""
    sql = "SELECT seq, group_id, time_ms, quality, packed FROM reading WHERE seq <= ? ORDER BY seq LIMIT ?"
    gathering = Gathering()
    cursor = db.execute(sql, (last_seq, size.readings))
    while gathering.packed_bytes < size.packed_bytes and (rows := cursor.fetchmany(ROWS_PER_FETCH)):
        gathering.add(rows)
    cursor.close()
    return gathering


def _sealed_part(disk: Disk, last_seq: int, size: ChunkSize) -> tuple[Chunk, list[Encoded]] | None:
    db = disk.sealed.connect()
    try:
        with decoding():
            gathering = gather(db, last_seq, size)
    finally:
        db.close()
    with decoding():
        encoded = [segments.encode(block) for block in gathering.blocks()]
    return (segments.chunk_of(gathering.first_seq, gathering.last_seq, encoded), encoded) if encoded else None


async def seal_oldest(disk: Disk, last_seq: int, size: ChunkSize, writer: asyncio.Lock) -> bool:
    """Seal the oldest chunk of the log, nothing beyond `last_seq`; False if there was nothing.

    `writer` is held only while the disk takes it. sqlite3.Error: nothing was sealed.
    """
    part = await asyncio.to_thread(_sealed_part, disk, last_seq, size)
    if part is None:
        return False
    async with writer:
        if part[0].first_seq == await disk.oldest_seq():  # else the bounds took some of it meanwhile
            await disk.seal(*part)
    return True
