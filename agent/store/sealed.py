"""What was sealed, for the event loop: which chunks there are a thread says, and a child what they hold.

Readings of long ago are rare in ordinary operation: an uplink was without its centre for longer than the log
reaches back. The child keeps a chunk that is read in the order of the log decoded for the next readings.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from agent.model import Group, Reading
from agent.store import chunk_table
from agent.store.aside import Aside
from agent.store.chunk_table import EVER, Chunk
from agent.store.moment import Period, Row
from agent.store.read_only import connected
from agent.store.rescue import decoding

READINGS_PER_STEP = 1000
READER_IDLE_S = 30.0

Numbered: TypeAlias = tuple[int, Reading]
Groups: TypeAlias = Mapping[int, Group]
_T = TypeVar("_T")


class Sealed:
    """See the module. Errors are sqlite3's."""

    def __init__(self, file: Path, groups: Groups) -> None:
        self.file, self.groups = file, groups
        self._lock = asyncio.Lock()
        self.reader = Aside(file, READER_IDLE_S)

    def open(self) -> None:
        self._db = self.connect()

    def connect(self) -> sqlite3.Connection:
        """A connection that reads, for one thread at a time."""
        return connected(self.file)

    async def close(self) -> None:
        async with self._lock:
            self._db.close()
        await self.reader.close()

    async def _aside(self, work: Callable[..., _T], *given: object) -> _T:
        async with self._lock:
            task = asyncio.ensure_future(asyncio.to_thread(_decoded, work, self._db, *given))
            try:
                return await asyncio.shield(task)
            finally:
                if not task.done():  # cancelled: the connection is the thread's until it is done
                    await asyncio.wait([task])

    async def read(self, after: int, before: int, limit: int) -> Sequence[Row]:
        """Up to `limit` rows with `after` < seq < `before`, in that order. OSError: no child to be had."""
        while after + 1 < before:
            chunk = await self.next_chunk(after)
            if chunk is None or chunk.first_seq >= before:
                return []
            found: list[Row] = await self.reader("worker:rows", chunk, after, before, limit)
            if found:
                return found
            after = chunk.last_seq
        return []

    async def next_chunk(self, after: int, period_ms: Period = EVER) -> Chunk | None:
        """The first chunk that reaches beyond `after` and into the period."""
        found = await self._aside(chunk_table.chunks, after, period_ms, 1)
        return found[0] if found else None

    async def chunks(self, after: int, limit: int) -> list[Chunk]:
        """Up to `limit` chunks beyond `after`, the oldest first."""
        return await self._aside(chunk_table.chunks, after, EVER, limit)


def _decoded(work: Callable[..., _T], *given: object) -> _T:
    with decoding():
        return work(*given)


async def stepped(steps: Iterator[_T]) -> AsyncGenerator[_T, None]:
    """What `steps` yields, each step in a thread."""
    while True:
        step = await asyncio.to_thread(_decoded, next, steps, None)
        if step is None:
            return
        yield step
