"""A quantity of a meter from its readings, part by part: means of intervals, how much of each was seen, a
counter that starts again. What is kept grows with intervals, never with readings."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from agent.analysis.power_quality.aggregate import Intervals, OpenInterval, aggregate, close, joined
from agent.analysis.power_quality.power import counted, energy_between
from agent.localtime import Bools, Floats, Ints
from agent.model import Group

GAP_MS = 900_000  # longer without a reading of a counter: what was counted is spread evenly


class Part(Protocol):
    """Some points of one group, as the store gives them: `values` is readings x points."""

    @property
    def group(self) -> Group: ...
    @property
    def points(self) -> tuple[str, ...]: ...
    @property
    def time_ms(self) -> Ints: ...
    @property
    def quality(self) -> Ints: ...
    @property
    def values(self) -> Floats: ...


class Pace(NamedTuple):
    """How far apart readings are meant to be and are, ms."""

    planned_ms: float
    real_ms: float


def pace(part: Part) -> Pace:
    """What is planned, and the median of what is; a line that is full is slower than it is meant to be."""
    steps = np.diff(part.time_ms)
    median = float(np.median(steps)) if steps.size else 0.0
    planned = float(part.group.interval_ms)
    return Pace(planned, max(planned, median) or 1000.0)


class Gridded(NamedTuple):
    """Intervals without a hole: `start_ms` (m,), the rest (m, channels). `coverage`: how much of the samples
    that were to be expected is there, 0 to 1 and a little more."""

    start_ms: Ints
    mean: Floats
    rms: Floats
    high: Floats
    coverage: Floats


class IntervalSeries:
    """The intervals of `channels` values that are read together, from any number of groups: a device that was
    configured anew is in more than one."""

    def __init__(self, interval_ms: int, channels: int) -> None:
        self._interval_ms, self._channels = interval_ms, channels
        self._open: dict[Group, OpenInterval | None] = {}
        self._pace_ms: dict[Group, float] = {}
        self._closed: list[tuple[Intervals, float]] = []

    def take(self, group: Group, times_ms: Ints, values: Floats, pace_ms: float) -> None:
        """More readings of a group, in the order of time."""
        if not times_ms.size:
            return
        self._open[group], closed = aggregate(self._open.get(group), times_ms, values, self._interval_ms)
        self._pace_ms[group] = pace_ms
        self._closed.append((closed, pace_ms))

    def on_grid(self, from_ms: int, to_ms: int) -> Gridded:
        """What came so far, between two times on the grid. Where two groups have the same interval, the one
        that saw more of it counts."""
        rows = max((to_ms - from_ms) // self._interval_ms, 0)
        start_ms = from_ms + np.arange(rows, dtype=np.int64) * self._interval_ms
        shape = (rows, self._channels)
        mean, rms, high = (np.full(shape, np.nan) for _ in range(3))
        coverage = np.zeros(shape)
        for found, pace_ms in self._all():
            at = (found.start_ms - from_ms) // self._interval_ms
            inside = (at >= 0) & (at < rows)
            rows_at, seen = at[inside], found.count[inside] * pace_ms / self._interval_ms
            better = seen > coverage[rows_at]
            for whole, part in ((mean, found.mean), (rms, found.rms), (high, found.high), (coverage, seen)):
                chosen = part if part is seen else part[inside]
                whole[rows_at] = np.where(better, chosen, whole[rows_at])
        return Gridded(start_ms, mean, rms, high, coverage)

    def _all(self) -> list[tuple[Intervals, float]]:
        """Closed and open ones; what `joined` keeps together is one block for each pace."""
        found = list(self._closed)
        found += [(close(each), self._pace_ms[group]) for group, each in self._open.items() if each]
        paces = dict.fromkeys(pace_ms for _, pace_ms in found)
        return [(joined([each for each, its_ms in found if its_ms == pace_ms]), pace_ms) for pace_ms in paces]


class CounterSeries:
    """A counter made whole over its resets; of its readings the first and last of each quarter stay, and
    those beside a gap."""

    def __init__(self) -> None:
        self._last: dict[Group, tuple[float, float]] = {}  # the raw value, and what it is made whole
        self._times: list[Ints] = []
        self._totals: list[Floats] = []
        self.resets_ms: list[int] = []

    def take(self, group: Group, times_ms: Ints, values: Floats) -> None:
        """More readings (n,) of a group, in the order of time."""
        known = ~np.isnan(values)
        times, seen = times_ms[known], values[known]
        if not times.size:
            return
        raw, base = self._last.get(group, (float(seen[0]), 0.0))
        whole = counted(np.concatenate([[raw], seen]))
        total = base + whole.total[1:]
        self.resets_ms += times[whole.reset[1:]].tolist()
        self._last[group] = (float(seen[-1]), float(total[-1]))
        kept = _telling(times)
        self._times.append(times[kept])
        self._totals.append(total[kept])

    def between(self, edges_ms: Ints) -> tuple[Floats, Bools]:
        """What was counted between each two of `edges_ms` (m + 1,), and whether a gap made it an estimate.
        Before the first reading and after the last it is not known: NaN."""
        if not self._times:
            nothing = edges_ms.size - 1
            return np.full(nothing, np.nan), np.zeros(nothing, dtype=np.bool_)
        times, totals = np.concatenate(self._times), np.concatenate(self._totals)
        order = np.argsort(times, kind="stable")
        return energy_between(times[order], totals[order], edges_ms, GAP_MS + 60_000)


def _telling(times_ms: Ints) -> Bools:
    quarter, steps = times_ms // GAP_MS, np.diff(times_ms)
    turns = np.concatenate([[True], (np.diff(quarter) != 0) | (steps > GAP_MS)])
    return np.asarray(turns | np.concatenate([turns[1:], [True]]), dtype=np.bool_)
