"""From the log to the sealed history, a chunk at a time, beside everything else.

Gathering and packing are done by a child that touches nothing; only what is packed goes through the one
writer, in one transaction. A crash before it leaves the log as it was. What no uplink has delivered yet is
sealed like the rest: its numbers go with it, and `read_after` finds it.
"""

from __future__ import annotations

import asyncio

from agent.store.chunk_table import ChunkSize, Whole
from agent.store.disk import Disk


def chunk_size_of(size_max_mb: int) -> ChunkSize:
    """An eighth of the whole at most: what is not sealed yet cannot be given up in small parts."""
    return ChunkSize(packed_bytes=min(12, size_max_mb // 8) * 1_000_000)


async def seal_oldest(disk: Disk, last_seq: int, size: ChunkSize, writer: asyncio.Lock) -> bool:
    """Seal the oldest chunk of the log, nothing beyond `last_seq`; False if there was nothing.

    `writer` is held only while the disk takes it. sqlite3.Error, OSError (no child): nothing was sealed.
    """
    part: Whole | None = await disk.packer("worker:packed", last_seq, size)
    if part is None:
        return False
    async with writer:
        if part[0].first_seq == await disk.oldest_seq():  # else the bounds took some of it meanwhile
            await disk.seal(*part)
    return True
