"""Readings into clock-aligned intervals (IEC 61000-4-30 aggregation), chunk by chunk.

    open_interval, closed = aggregate(open_interval, times_ms, values)     # as often as readings come
    last = close(open_interval)                                            # at the very end

Rules: an interval is named by its first instant, a whole multiple of its length since 1970 (UTC), so
10-minute and 15-minute intervals fall on the clock in every zone of Brazil; a sample on the boundary is
the first of the next. NaN counts for nothing. Cutting the same readings differently changes nothing.
Leap seconds are ignored, as Unix time ignores them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.localtime import Bools, Floats, Ints

TEN_MINUTES_MS = 600_000
DEMAND_MS = 900_000


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """`start_ms` (m,); the rest (m, channels): samples that counted, mean, root mean square, extremes.
    Intervals without any sample are absent; where a channel has none its figures are NaN."""

    start_ms: Ints
    count: Ints
    mean: Floats
    rms: Floats
    low: Floats
    high: Floats

    def covered(self, period_ms: float, interval_ms: int, coverage_min: float) -> Bools:
        """(m, channels): whether enough of the samples that a poll every `period_ms` makes are there."""
        return np.asarray(self.count * period_ms >= coverage_min * interval_ms, dtype=np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class OpenInterval:
    """The sums of the interval that is still filling; one number per channel."""

    start_ms: int
    count: Ints
    total: Floats
    squares: Floats
    low: Floats
    high: Floats


def aggregate(
    open_interval: OpenInterval | None,
    times_ms: Ints,
    values: Floats,
    interval_ms: int = TEN_MINUTES_MS,
) -> tuple[OpenInterval | None, Intervals]:
    """What is open after `values` (n, channels) at `times_ms` (n,), and the intervals closed by them.

    ValueError if times go backwards, within the chunk or behind the open interval.
    """
    if not times_ms.size:
        return open_interval, _intervals(np.empty(0, np.int64), _no_sums(values.shape[1]))
    starts_ms = times_ms - times_ms % interval_ms
    first = np.flatnonzero(np.diff(starts_ms, prepend=starts_ms[0] - 1))
    if np.any(np.diff(starts_ms[first]) < 0) or (open_interval and starts_ms[0] < open_interval.start_ms):
        raise ValueError("expected readings in the order of their time")
    sums = _sums(values, first)
    begins_ms = starts_ms[first]
    if open_interval:
        begins_ms, sums = _with_open(open_interval, begins_ms, sums)
    count, total, squares, low, high = sums
    rest = OpenInterval(int(begins_ms[-1]), count[-1], total[-1], squares[-1], low[-1], high[-1])
    closed = (count[:-1], total[:-1], squares[:-1], low[:-1], high[:-1])
    return rest, _intervals(begins_ms[:-1], closed)


def close(open_interval: OpenInterval) -> Intervals:
    """The open interval as it stands; whether it is whole is for `covered` to say."""
    count, total = open_interval.count[None], open_interval.total[None]
    squares, low, high = open_interval.squares[None], open_interval.low[None], open_interval.high[None]
    return _intervals(np.array([open_interval.start_ms]), (count, total, squares, low, high))


def joined(parts: list[Intervals]) -> Intervals:
    """Intervals one after the other as one; ValueError for an empty list."""
    names = ("start_ms", "count", "mean", "rms", "low", "high")
    return Intervals(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def on_grid(start_ms: Ints, values: Floats, from_ms: int, to_ms: int, interval_ms: int) -> Floats:
    """`values` (m, ...) of intervals that begin at `start_ms` (m,), without a hole from `from_ms` to before
    `to_ms`: NaN where there is no interval. What tariffs and anomalies take. Both times are on the grid;
    ValueError if not."""
    if from_ms % interval_ms or to_ms % interval_ms:
        raise ValueError(f"expected times that are multiples of {interval_ms} ms, found {from_ms}, {to_ms}")
    rows = max((to_ms - from_ms) // interval_ms, 0)
    grid = np.full((rows, *values.shape[1:]), np.nan)
    at = (start_ms - from_ms) // interval_ms
    inside = (at >= 0) & (at < rows)
    grid[at[inside]] = values[inside]
    return grid


_Sums = tuple[Ints, Floats, Floats, Floats, Floats]


def _sums(values: Floats, first: Ints) -> _Sums:
    """Count, sum, sum of squares, least and greatest of each stretch that begins at `first`."""
    total = np.add.reduceat(values, first, axis=0)
    lengths = np.diff(np.append(first, len(values)))
    if np.isfinite(total).all():
        count = np.broadcast_to(lengths[:, None], total.shape).astype(np.int64)
        squares = np.add.reduceat(values * values, first, axis=0)
        low = np.minimum.reduceat(values, first, axis=0)
        return count, total, squares, low, np.maximum.reduceat(values, first, axis=0)
    seen = ~np.isnan(values)
    known = np.where(seen, values, 0.0)
    return (
        np.add.reduceat(seen, first, axis=0, dtype=np.int64),
        np.add.reduceat(known, first, axis=0),
        np.add.reduceat(known * known, first, axis=0),
        np.fmin.reduceat(values, first, axis=0),
        np.fmax.reduceat(values, first, axis=0),
    )


def _with_open(open_interval: OpenInterval, begins_ms: Ints, sums: _Sums) -> tuple[Ints, _Sums]:
    """The open interval put before the new ones, or added to the first of them if it is the same."""
    count, total, squares, low, high = sums
    if int(begins_ms[0]) == open_interval.start_ms:
        count[0] += open_interval.count
        total[0] += open_interval.total
        squares[0] += open_interval.squares
        low[0] = np.fmin(low[0], open_interval.low)
        high[0] = np.fmax(high[0], open_interval.high)
        return begins_ms, sums
    return np.concatenate([[open_interval.start_ms], begins_ms]), (
        np.concatenate([open_interval.count[None], count]),
        np.concatenate([open_interval.total[None], total]),
        np.concatenate([open_interval.squares[None], squares]),
        np.concatenate([open_interval.low[None], low]),
        np.concatenate([open_interval.high[None], high]),
    )


def _intervals(start_ms: Ints, sums: _Sums) -> Intervals:
    count, total, squares, low, high = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, square = total / count, squares / count
    return Intervals(start_ms, count, mean, np.sqrt(square), low, high)


def _no_sums(channels: int) -> _Sums:
    none = np.empty((0, channels))
    return none.astype(np.int64), none, none, none, none
