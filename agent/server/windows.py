"""The past as one table, a window of time after the other: what a wide CSV is made of.

Rules. A window holds about CELLS cells at the rate that the groups declare, so memory is bounded. Hours of
which the ledger has nothing are skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import numpy as np

from agent.model import Group
from agent.server.messages import Aggregate
from agent.store import Store
from agent.store.columns import Floats, Ints
from agent.store.history import Columns
from agent.store.ledger import HOUR_MS, HOURS_MAX

CELLS = 500_000
DAY_MS = 24 * HOUR_MS
AGGREGATES = {"mean": "mean", "min": "least", "max": "most", "last": "last", "count": "counts"}


async def as_columns(
    store: Store, ids: Sequence[str], period_ms: tuple[int, int], step_ms: int, aggregate: Aggregate
) -> AsyncGenerator[Columns, None]:
    """`Store.columns`, or with a step `Store.downsample` in their shape (without qualities)."""
    if not step_ms:
        async with aclosing(store.columns(ids, *period_ms)) as found:
            async for part in found:
                yield part
        return
    async with aclosing(store.downsample(ids, *period_ms, step_ms)) as steps:
        async for step in steps:
            values: Floats = getattr(step, AGGREGATES[aggregate]).astype(np.float64)
            yield Columns(step.group, step.points, step.time_ms, np.zeros(len(values), np.int64), values)


class Windows:
    """`groups` with how many of their points are wanted; `step_ms` 0: every reading."""

    def __init__(
        self,
        store: Store,
        ids: Sequence[str],
        groups: Sequence[tuple[Group, int]],
        step_ms: int,
        aggregate: Aggregate,
    ) -> None:
        self._store, self._ids, self._step_ms, self._aggregate = store, ids, step_ms, aggregate
        self._devices = {group.device.name for group, _ in groups}
        rows_per_ms = sum(1 / (group.interval_ms or 1000) for group, _ in groups)
        if step_ms:
            rows_per_ms = 1 / step_ms
        length_ms = int(CELLS / max(len(ids), 1) / max(rows_per_ms, 1e-9))
        unit_ms = step_ms or 1
        self._length_ms = max(unit_ms, length_ms // unit_ms * unit_ms)

    async def tables(self, from_ms: int, to_ms: int) -> AsyncGenerator[tuple[Ints, Floats], None]:
        """n times, and n x points values (NaN: none), in the order of time."""
        async for start_ms, end_ms in self._busy(from_ms, to_ms):
            for at_ms in self._cuts(start_ms, end_ms):
                table = await self._table(max(at_ms, start_ms), min(at_ms + self._length_ms, end_ms))
                if len(table[0]):
                    yield table

    def _cuts(self, start_ms: int, end_ms: int) -> Iterator[int]:
        """Where windows begin: on multiples of the step."""
        unit_ms = self._step_ms or 1
        return iter(range(start_ms // unit_ms * unit_ms, end_ms, self._length_ms))

    async def _busy(self, from_ms: int, to_ms: int) -> AsyncGenerator[tuple[int, int], None]:
        """The parts of the period that may hold readings."""
        span = await self._store.span_ms()
        if span is None:
            return
        from_ms, to_ms = max(from_ms, span[0]), min(to_ms, span[1] + 1)
        known_ms = (span[1] // HOUR_MS - HOURS_MAX + 1) * HOUR_MS  # the ledger has nothing from before
        open_ms: int | None = None
        for day_ms in range(from_ms // DAY_MS * DAY_MS, to_ms, DAY_MS):
            rows = await self._store.ledger.rows(day_ms, day_ms + DAY_MS) if day_ms >= known_ms else []
            full = {row.hour_ms for row in rows if row.device in self._devices and row.acquired > 0}
            for hour_ms in range(day_ms, day_ms + DAY_MS, HOUR_MS):
                is_full = day_ms < known_ms or hour_ms in full
                if is_full and open_ms is None:
                    open_ms = hour_ms
                elif not is_full and open_ms is not None:
                    yield max(open_ms, from_ms), min(hour_ms, to_ms)
                    open_ms = None
        if open_ms is not None and max(open_ms, from_ms) < to_ms:
            yield max(open_ms, from_ms), to_ms

    async def _table(self, from_ms: int, to_ms: int) -> tuple[Ints, Floats]:
        found = as_columns(self._store, self._ids, (from_ms, to_ms), self._step_ms, self._aggregate)
        async with aclosing(found):
            parts = [part async for part in found]
        return await asyncio.to_thread(_merged, parts, self._ids)


def _merged(parts: Sequence[Columns], ids: Sequence[str]) -> tuple[Ints, Floats]:
    if not parts:
        return np.empty(0, np.int64), np.empty((0, len(ids)))
    times = np.unique(np.concatenate([part.time_ms for part in parts]))
    matrix = np.full((len(times), len(ids)), np.nan)
    columns = {name: at for at, name in enumerate(ids)}
    for part in parts:
        rows = np.searchsorted(times, part.time_ms)
        for at, name in enumerate(part.points):
            known = ~np.isnan(part.values[:, at])
            matrix[rows[known], columns[name]] = part.values[known, at]
    return times, matrix
