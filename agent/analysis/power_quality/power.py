"""Power factor, demand, load factor, energy by post, and energy from a counter that may start again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.localtime import HOUR_MS, Bools, Floats, Ints

DEMAND_MS = 900_000


@dataclass(frozen=True, slots=True)
class PowerFactor:
    """Over readings that draw power: the mean (of the energies, not of the readings), the worst, and the
    parts of the time below the limit, by sign of the reactive power. NaN without any reading."""

    mean: float
    worst: float
    low_inductive_percent: float
    low_capacitive_percent: float
    readings: int


@dataclass(frozen=True, slots=True)
class Demand:
    """Of 15-minute means. `peak_start_ms` 0 without any; the load factor is mean over peak."""

    peak_kw: float
    peak_start_ms: int
    mean_kw: float
    load_factor: float
    intervals: int


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A counter made whole: `total` (n,) grows from 0, through every reset; `reset` (n,) says where one was
    (the first reading after it); NaN readings stay NaN."""

    total: Floats
    reset: Bools


def power_factor(active_w: Floats, reactive_var: Floats, minimum: float) -> PowerFactor:
    """From means (n,) of active power and of reactive power, positive when inductive. What feeds in is
    left out; a power factor equal to `minimum` is not below it."""
    used = (active_w > 0) & ~np.isnan(reactive_var)
    active, reactive = active_w[used], reactive_var[used]
    if not active.size:
        return PowerFactor(np.nan, np.nan, np.nan, np.nan, 0)
    factor = active / np.hypot(active, reactive)
    low = factor < minimum
    whole = float(active.sum() / np.hypot(active.sum(), reactive.sum()))
    return PowerFactor(
        whole,
        float(factor.min()),
        100 * float(np.mean(low & (reactive > 0))),
        100 * float(np.mean(low & (reactive < 0))),
        active.size,
    )


def demand(start_ms: Ints, power_kw: Floats) -> Demand:
    """From 15-minute means (n,); NaN is a missing interval. The first of equal peaks counts."""
    known = ~np.isnan(power_kw)
    if not known.any():
        return Demand(np.nan, 0, np.nan, np.nan, 0)
    at = int(np.nanargmax(power_kw))
    peak, mean = float(power_kw[at]), float(power_kw[known].mean())
    load_factor = mean / peak if peak > 0 else np.nan
    return Demand(peak, int(start_ms[at]), mean, load_factor, int(known.sum()))


def energy_by_post_kwh(power_kw: Floats, posts: Ints, interval_ms: int, count: int = 3) -> Floats:
    """(count,): kWh drawn in each post from means (n,) and their post codes (n,); NaN counts for nothing."""
    drawn = np.maximum(np.nan_to_num(power_kw, nan=0.0), 0) * interval_ms / HOUR_MS
    return np.bincount(posts, drawn, minlength=count).astype(np.float64)


def counted(values: Floats, rollover: float | None = None) -> Counted:
    """`values` (n,) of a counter that only grows, in order, without its resets.

    A fall is a reset: counting went on from zero, so the new value is what was counted since (what was
    counted between the last reading and the reset is lost). With `rollover`, the value at which the counter
    begins again at 0, a fall from its upper half to its lower is the counter going round instead.
    """
    total = np.full(values.shape, np.nan)
    reset = np.zeros(values.shape, dtype=np.bool_)
    at = np.flatnonzero(~np.isnan(values))
    if not at.size:
        return Counted(total, reset)
    seen = values[at]
    steps = np.diff(seen, prepend=seen[0])
    fell = steps < 0
    if rollover is not None:
        before = np.concatenate([[0.0], seen[:-1]])
        round_again = fell & (before > rollover / 2) & (seen < rollover / 2)
        steps = np.where(round_again, steps + rollover, steps)
        fell &= ~round_again
    total[at] = np.cumsum(np.where(fell, np.maximum(seen, 0.0), steps))
    reset[at] = fell
    return Counted(total, reset)


def energy_between(times_ms: Ints, total: Floats, edges_ms: Ints, gap_ms_max: int) -> tuple[Floats, Bools]:
    """What a whole counter (`counted`) counted between each two of `edges_ms` (m + 1,): (m,) in its unit,
    and (m,) whether a gap longer than `gap_ms_max` made it an estimate (spread evenly over the gap).
    NaN where an edge lies outside the readings."""
    known = ~np.isnan(total)
    if not known.any():
        return np.full(edges_ms.size - 1, np.nan), np.zeros(edges_ms.size - 1, dtype=np.bool_)
    times, values = times_ms[known], total[known]
    at_edge = np.interp(edges_ms, times, values, left=np.nan, right=np.nan)
    begins = np.flatnonzero(np.diff(times) > gap_ms_max)
    first = np.searchsorted(edges_ms, times[begins], side="right") - 1
    last = np.searchsorted(edges_ms, times[begins + 1], side="left")
    touched = np.zeros(edges_ms.size, dtype=np.int64)
    np.add.at(touched, np.clip(first, 0, edges_ms.size - 1), 1)
    np.add.at(touched, np.clip(last, 0, edges_ms.size - 1), -1)
    return np.diff(at_edge), np.asarray(np.cumsum(touched)[:-1] > 0, dtype=np.bool_)
