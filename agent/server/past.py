"""A period of the past for a WebSocket: readings column by column, or one value a step. Bounded pieces."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import NamedTuple, TypeVar

from agent.model import Group, Reading
from agent.server.messages import Aggregate
from agent.server.selection import Selection
from agent.store import Store

STEPS_MAX = 100_000
VALUES_PER_PIECE = 5000  # some 60 KB: that long may it hold up the live stream


Row = TypeVar("Row")


class Piece(NamedTuple):
    """Values of one group: n times, n qualities (None: these are steps), n values of each point by name."""

    group: Group
    time_ms: list[int]
    quality: list[int] | None
    values: dict[str, list[float]]


class Period(NamedTuple):
    """`from_ms` <= time < `to_ms`."""

    from_ms: int
    to_ms: int


async def raw(
    store: Store, selection: Selection, ids: list[str], period: Period
) -> AsyncGenerator[Piece, None]:
    """Every reading of the points `ids`, as they came. OSError if the disk cannot be read."""
    async with aclosing(store.history(ids, *period)) as steps:
        async for readings in steps:
            for group, all_own in _by_group(readings):
                columns = selection.columns(group)
                for own in _parts(all_own, len(columns)):
                    values = {
                        group.points[at].name: [float(each.values[at]) for each in own] for at in columns
                    }
                    times = [each.time_ms for each in own]
                    yield Piece(group, times, [int(each.quality) for each in own], values)


async def stepped(
    store: Store,
    selection: Selection,
    ids: list[str],
    period: Period,
    *,
    step_ms: int,
    aggregate: Aggregate,
) -> AsyncGenerator[Piece, None]:
    """One value each `step_ms` (from its multiples on) of those steps that hold any. ValueError: too many."""
    sums: dict[Group, dict[int, list[Sum]]] = {}
    count = 0
    async with aclosing(store.history(ids, *period)) as steps:
        async for readings in steps:
            for reading in readings:
                buckets = sums.setdefault(reading.group, {})
                columns = selection.columns(reading.group)
                key = reading.time_ms // step_ms
                if key not in buckets:
                    count += len(columns)
                    buckets[key] = [Sum() for _ in columns]
                for each, at in zip(buckets[key], columns, strict=True):
                    each.add(reading.values[at])
            if count > STEPS_MAX:
                raise ValueError(
                    f"expected at most {STEPS_MAX} steps in all: choose longer steps, or fewer points"
                )
            await asyncio.sleep(0)
    for group, buckets in sums.items():
        names = [group.points[at].name for at in selection.columns(group)]
        for keys in _parts(sorted(buckets), len(names)):
            values = {
                name: [buckets[key][at].value(aggregate) for key in keys] for at, name in enumerate(names)
            }
            yield Piece(group, [key * step_ms for key in keys], None, values)


class Sum:
    """What is known of the values of one point in one step."""

    __slots__ = ("count", "last", "least", "most", "total")

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0
        self.least, self.most, self.last = math.inf, -math.inf, math.nan

    def add(self, value: float) -> None:
        if math.isnan(value):
            return
        self.count += 1
        self.total += value
        self.least, self.most, self.last = min(self.least, value), max(self.most, value), value

    def value(self, aggregate: Aggregate) -> float:
        """NaN if there was none."""
        if aggregate == "count":
            return float(self.count)
        if not self.count:
            return math.nan
        return {
            "mean": self.total / self.count,
            "min": self.least,
            "max": self.most,
            "last": self.last,
        }[aggregate]


def _by_group(readings: Iterable[Reading]) -> Iterable[tuple[Group, list[Reading]]]:
    found: dict[Group, list[Reading]] = {}
    for reading in readings:
        found.setdefault(reading.group, []).append(reading)
    return found.items()


def _parts(rows: list[Row], width: int) -> list[list[Row]]:
    step = max(1, VALUES_PER_PIECE // max(1, width))
    return [rows[at : at + step] for at in range(0, len(rows), step)]
