"""Blocks of many groups as one sequence of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from agent.store.moment import Row
from agent.store.rescue import decoding
from agent.store.segments import Block


class Merged:
    """In the order of `by` ("seqs" or "times_ms")."""

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

    def rows(self, start: int, end: int) -> list[Row]:
        """Those at `start` <= place < `end`, as the log had them."""
        owners, rows = self._owner[start:end], self._row[start:end]
        found: list[Any] = [None] * len(rows)
        with decoding():
            for owner in np.unique(owners).tolist():
                places = np.flatnonzero(owners == owner)
                made = _rows(self._blocks[owner].where(rows[places]))
                for place, each in zip(places.tolist(), made, strict=True):
                    found[place] = each
        return found


def _rows(block: Block) -> Iterator[Row]:
    """Whole columns at once: made one by one, a row costs three times as much."""
    width = 8 * block.values.shape[1]
    packed = np.ascontiguousarray(block.values, "<f8").tobytes()
    bodies = (packed[at : at + width] for at in range(0, len(block) * width, width))
    heads = (block.seqs, block.times_ms, block.quality)
    seqs, times_ms, quality = (each.tolist() for each in heads)
    return zip(seqs, repeat(block.group_id), times_ms, quality, bodies if width else repeat(b""))
