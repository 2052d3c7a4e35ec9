"""What was sealed, for the event loop: every look at it is in a thread, one at a time.

A chunk that is read in the order of the log stays decoded for the next readings; two at most.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from agent.model import Group, Quality, Reading
from agent.store import segments
from agent.store.rescue import decoding
from agent.store.segments import Block, Chunk

CHUNKS_DECODED_MAX = 2
READINGS_PER_STEP = 1000
_QUALITIES = {int(each): each for each in Quality}
EVER = (-(2**62), 2**62)

Numbered: TypeAlias = tuple[int, Reading]
Groups: TypeAlias = Mapping[int, Group]
_T = TypeVar("_T")


class Merged:
    """Blocks of many groups as one sequence, ordered by `by` ("seqs" or "times_ms")."""

    def __init__(self, blocks: Sequence[Block], by: str) -> None:
        self._blocks = blocks
        none = [np.empty(0, np.int64)]
        keys = np.concatenate([getattr(block, by) for block in blocks] or none)
        owner = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        row = np.concatenate([np.arange(len(block)) for block in blocks] or none)
        order = np.argsort(keys, kind="stable")
        self.keys, self._owner, self._row = keys[order], owner[order], row[order]

    def __len__(self) -> int:
        return len(self.keys)

    def numbered(self, start: int, end: int, groups: Groups) -> list[Numbered]:
        """Those at `start` <= place < `end`."""
        owners, rows = self._owner[start:end], self._row[start:end]
        found: list[Any] = [None] * len(rows)
        with decoding():
            for owner in np.unique(owners).tolist():
                places = np.flatnonzero(owners == owner)
                block = self._blocks[owner]
                # Whole columns at once: made one by one, a reading costs three times as much.
                made = _numbered(block.where(rows[places]), groups[block.group_id])
                if len(places) == len(rows):
                    return list(made)
                for place, each in zip(places.tolist(), made, strict=True):
                    found[place] = each
        return found


def _numbered(block: Block, group: Group) -> Iterator[Numbered]:
    """The readings of `block`."""
    values = map(tuple, block.values.tolist())
    quality = map(_QUALITIES.__getitem__, block.quality.tolist())
    readings = map(Reading, repeat(group), block.times_ms.tolist(), values, quality)
    return zip(block.seqs.tolist(), readings, strict=True)


class Sealed:
    """See the module. Errors are sqlite3's."""

    def __init__(self, file: Path, groups: Groups) -> None:
        self._file, self.groups = file, groups
        self._lock = asyncio.Lock()
        self._decoded: dict[Chunk, Merged] = {}

    def open(self) -> None:
        self._db = self.connect()

    def connect(self) -> sqlite3.Connection:
        """A connection that reads, for one thread at a time."""
        place = f"{self._file.resolve().as_uri()}?mode=ro"
        return sqlite3.connect(place, uri=True, check_same_thread=False, isolation_level=None)

    async def close(self) -> None:
        async with self._lock:
            self._db.close()

    async def _aside(self, work: Callable[..., _T], *given: object) -> _T:
        async with self._lock:
            task = asyncio.ensure_future(asyncio.to_thread(_decoded, work, self._db, *given))
            try:
                return await asyncio.shield(task)
            finally:
                if not task.done():  # cancelled: the connection is the thread's until it is done
                    await asyncio.wait([task])

    async def read(self, after: int, before: int, limit: int) -> list[Numbered]:
        """Up to `limit` readings with `after` < seq < `before`, in that order."""
        while after + 1 < before:
            chunk = await self.next_chunk(after, EVER)
            if chunk is None or chunk.first_seq >= before:
                return []
            merged = await self._merged(chunk)
            start, end = np.searchsorted(merged.keys, (after + 1, before)).tolist()
            if found := merged.numbered(start, min(end, start + limit), self.groups):
                return found
            after = chunk.last_seq
        return []

    async def next_chunk(self, after: int, period_ms: tuple[int, int]) -> Chunk | None:
        """The first chunk that reaches beyond `after` and into the period."""
        found = await self._aside(segments.chunks, after, period_ms, 1)
        return found[0] if found else None

    async def chunks(self, after: int, limit: int) -> list[Chunk]:
        """Up to `limit` chunks beyond `after`, the oldest first."""
        return await self._aside(segments.chunks, after, EVER, limit)

    async def heads(self, chunk: Chunk) -> list[Block]:
        """What `chunk` holds, without its values."""
        return await self._aside(segments.blocks_of, chunk, None, None, ())

    async def blocks(self, chunk: Chunk) -> list[Block]:
        """What `chunk` holds."""
        return await self._aside(segments.blocks_of, chunk)

    async def _merged(self, chunk: Chunk) -> Merged:
        if chunk not in self._decoded:
            blocks = await self.blocks(chunk)
            merged = await asyncio.to_thread(Merged, blocks, "seqs")
            while len(self._decoded) >= CHUNKS_DECODED_MAX:
                del self._decoded[next(iter(self._decoded))]
            self._decoded[chunk] = merged
        return self._decoded[chunk]


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
