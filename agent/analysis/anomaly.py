"""Is this point as it always is? Learned from a few weeks of its own 10-minute intervals, judged in chunks.

Six questions, each with a score whose 1.0 is the point of saying something:

    residual  far from the median of this hour of the week, for half an hour on
    flat      the very same value for far longer than ever
    step      the level of the last two days against the weeks before
    reset     a counter that fell
    rate      far fewer, or more, readings than the device always sends
    drift     two meters of the same thing that go apart (`drift`)

What is normal is learned with medians, so that a bad day in the weeks learned from is no lesson; the limits
come from the point's own history, so that a wild point does not cry and a quiet one is heard. Slots are
`localtime.week_slots`. NaN is a missing interval. Judge whole days, the last two weeks or so at a time: runs
begin anew with each chunk.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agent.localtime import DAY_MS, Floats, Ints

SLOTS = 168
INTERVAL_MS = 600_000
PER_DAY = DAY_MS // INTERVAL_MS
PER_HOUR = 6
MEMORIES_H = (6, 1)  # against the quarter of a day before, and against the hour before
DAYS_MIN = 14
PERSIST = 3  # intervals
Z_LIMIT = 6.0
MARGIN = 1.5  # above what history itself has shown
SMALL = 0.04  # of the point's usual span: less is nothing to say a word about
FLAT_FACTOR = 3.0
FLAT_INTERVALS_MIN = 12
STEP_DAYS = 2
RATE_LIMIT = 0.5  # of what is usual, less or more
DRIFT_DAYS = 3
MAD_TO_SIGMA = 1.4826


class Fault(enum.StrEnum):
    """What is wrong."""

    RESIDUAL = "residual"
    FLAT = "flat"
    STEP = "step"
    RESET = "reset"
    RATE = "rate"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Finding:
    """From the first interval that was wrong to the end of the last; `score` is its worst (1: the limit)."""

    fault: Fault
    start_ms: int
    end_ms: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """What a point is like. `median` (168,) and `scale` (memories, 168) in its unit; runs in intervals;
    `recent` are the medians of its last days' residuals, newest last, which the step looks back on."""

    median: Floats
    scale: Floats
    z_limit: tuple[float, ...]
    flat_zero: int
    flat_other: int
    step_limit: float
    recent: Floats
    rate: float


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """By interval (n,), 1.0 at the limit, 0 where nothing can be said."""

    residual: Floats
    flat: Floats
    step: Floats
    rate: Floats

    @property
    def highest(self) -> Floats:
        """The anomaly score of the point."""
        every = [self.residual, self.flat, self.step, self.rate]
        return np.asarray(np.maximum.reduce(every), dtype=np.float64)


def learn(values: Floats, slots: Ints, counts: Ints | None = None) -> Normal | None:
    """What is normal, from interval means (n,), one every 10 minutes without a hole (NaN where missing),
    their slots, and how many readings each had. None if less than two weeks are known."""
    known = ~np.isnan(values)
    if known.sum() < DAYS_MIN * PER_DAY or np.unique(slots[known]).size < SLOTS:
        return None
    table, occurrence = _table(values, slots)
    median = np.asarray(np.nanmedian(table, axis=0), dtype=np.float64)
    # Each week is judged by the others: in what it was learned from, nothing is unusual.
    away = values - _without_own(table, median)[occurrence, slots]
    sudden = [away - _level(away, each) for each in MEMORIES_H]
    scale = np.stack([_scale(values, each, slots) for each in sudden])
    judged = [
        np.nan_to_num(_persistent(each / size[slots])) for each, size in zip(sudden, scale, strict=True)
    ]
    z = away / scale[0, slots]
    days = _day_medians(z)
    spread = MAD_TO_SIGMA * float(np.nanmedian(np.abs(days - np.nanmedian(days))))
    jumps = np.abs(_jumps(days))
    usual = float(np.nanquantile(jumps, 0.95)) if not np.isnan(jumps).all() else 0.0
    zero, other = _longest_runs(values)
    return Normal(
        median,
        scale,
        tuple(max(Z_LIMIT, MARGIN * float(np.quantile(each, 0.999))) for each in judged),
        zero,
        other,
        max(2.0, MARGIN * 2 * usual, 5 * spread),
        days[-2 * 7 :],
        float(np.median(counts[counts > 0])) if counts is not None and np.any(counts > 0) else math.nan,
    )


def scores(normal: Normal, values: Floats, slots: Ints, counts: Ints | None = None) -> Scores:
    """How unusual each interval (n,) is that follows what `normal` was learned from."""
    away = values - normal.median[slots]
    judged = [
        _persistent((away - _level(away, memory_h)) / size[slots]) / limit
        for memory_h, size, limit in zip(MEMORIES_H, normal.scale, normal.z_limit, strict=True)
    ]
    residual = np.asarray(np.nan_to_num(np.fmax(*judged), nan=0.0), dtype=np.float64)
    step = _step(normal, away / normal.scale[0, slots])
    return Scores(residual, _flat(normal, values), step, _rate(normal, counts, values.size))


def findings(found: Scores, start_ms: Ints) -> Iterator[Finding]:
    """Stretches above the limit of each kind, by kind; those less than a day apart are one."""
    for fault, score in (
        (Fault.RESIDUAL, found.residual),
        (Fault.FLAT, found.flat),
        (Fault.STEP, found.step),
        (Fault.RATE, found.rate),
    ):
        at = np.flatnonzero(score > 1)
        for group in np.split(at, np.flatnonzero(np.diff(at) > PER_DAY) + 1):
            if group.size:
                end_ms = int(start_ms[group[-1]]) + INTERVAL_MS
                yield Finding(fault, int(start_ms[group[0]]), end_ms, float(score[group].max()))


def resets(times_ms: Ints, counter: Floats, tolerance: float = 0.0) -> Iterator[Finding]:
    """Where a counter (n,) fell by more than `tolerance` (its resolution); scored by the part it lost."""
    known = np.flatnonzero(~np.isnan(counter))
    fell = -np.diff(counter[known])
    for at in np.flatnonzero(fell > tolerance).tolist():
        before, after = int(known[at]), int(known[at + 1])
        score = 1 + float(fell[at]) / max(abs(float(counter[before])), 1e-12)
        yield Finding(Fault.RESET, int(times_ms[before]), int(times_ms[after]), score)


def drift(
    first_kwh: Floats, second_kwh: Floats, start_ms: Ints, learn_days: int = 28, ratio_min: float = 0.005
) -> Iterator[Finding]:
    """Where two meters of the same energy go apart, from their days' energies (n,): the mean ratio of three
    days against that of the first `learn_days`, beyond what those days show and at least `ratio_min`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(first_kwh / second_kwh)
    ratio[~np.isfinite(ratio)] = np.nan
    usual = ratio[:learn_days]
    if np.isnan(usual).sum() > learn_days // 2:
        return
    centre = float(np.nanmedian(usual))
    spread = MAD_TO_SIGMA * float(np.nanmedian(np.abs(usual - centre)))
    limit = max(ratio_min, 4 * spread)
    worst = _least(np.abs(ratio - centre), DRIFT_DAYS) / limit
    at = np.flatnonzero(np.nan_to_num(worst[learn_days:], nan=0.0) > 1) + learn_days
    if at.size:
        end_ms = int(start_ms[at[-1]]) + DAY_MS
        yield Finding(Fault.DRIFT, int(start_ms[at[0]]), end_ms, float(np.nanmax(worst[at])))


def _table(values: Floats, slots: Ints) -> tuple[Floats, Ints]:
    """The hours' medians as a table (occurrences, 168), and in which row of it each interval is."""
    fresh = np.flatnonzero(np.diff(slots, prepend=-1))
    hour = np.cumsum(np.bincount(fresh, minlength=slots.size)) - 1
    hourly = _medians(np.split(values, fresh[1:]))
    own = slots[fresh]
    order = np.argsort(own, kind="stable")
    row = np.empty(own.size, dtype=np.int64)
    row[order] = np.arange(own.size) - np.searchsorted(own[order], own[order])
    table = np.full((int(row.max()) + 1, SLOTS), np.nan)
    table[row, own] = hourly
    return table, row[hour]


def _without_own(table: Floats, median: Floats) -> Floats:
    """For each row of the table the medians of the others; where there are none, of all."""
    found = np.empty(table.shape)
    for row in range(len(table)):
        others = np.delete(table, row, axis=0)
        alone = np.isnan(others).all(axis=0)
        found[row] = np.nanmedian(np.where(alone, median, others), axis=0)
    return found


def _medians(parts: list[Floats]) -> Floats:
    """The median of each part, NaN for one without any value."""
    known = [part[~np.isnan(part)] for part in parts]
    return np.array([np.median(part) if part.size else np.nan for part in known])


def _scale(values: Floats, sudden: Floats, slots: Ints) -> Floats:
    """What is usual at each hour of the week (168,), its neighbours' included; never far below the whole
    week's, nor a small part of the point's span, nor what the values resolve."""
    order = np.argsort(slots, kind="stable")
    edges = np.searchsorted(slots[order], np.arange(1, SLOTS))
    spread = np.nan_to_num(_medians(np.split(np.abs(sudden)[order], edges)))
    around = np.maximum.reduce([np.roll(spread, -1), spread, np.roll(spread, 1)])
    change = np.asarray(np.abs(np.diff(values)), dtype=np.float64)
    steps = change[change > 0]
    resolution = float(np.quantile(steps, 0.02)) if steps.size else 0.0
    low, high = np.nanquantile(values, [0.1, 0.9])
    floor = (
        0.5 * float(np.nanmedian(np.abs(sudden))),
        SMALL * float(high - low),
        resolution,
        1e-4 * float(np.nanmax(np.abs(values))),
        1e-9,
    )
    return np.asarray(MAD_TO_SIGMA * np.maximum(around, max(floor)), dtype=np.float64)


def _level(away: Floats, memory_h: int) -> Floats:
    """How far away it was before: the median of the last `memory_h` hours that have ended. What comes in
    slowly, as weather does, is not sudden."""
    hours = -(-away.size // PER_HOUR)
    padded = np.concatenate([away, np.full(hours * PER_HOUR - away.size, np.nan)])
    hourly = np.nan_to_num(_medians(list(padded.reshape(hours, PER_HOUR))), nan=0.0)
    before = np.concatenate([np.zeros(memory_h), hourly])[:-1] if hours else np.zeros(memory_h)
    level = np.median(np.lib.stride_tricks.sliding_window_view(before, memory_h), axis=1)
    return np.asarray(np.repeat(level, PER_HOUR)[: away.size], dtype=np.float64)


def _persistent(z: Floats) -> Floats:
    """The least of the last `PERSIST` distances, if they are all on the same side; else 0."""
    return np.maximum(_least(z, PERSIST), _least(-z, PERSIST)).clip(min=0.0)


def _least(values: Floats, count: int) -> Floats:
    """The least of each value and the `count` - 1 before it; NaN where one is missing."""
    if not values.size:
        return values
    padded = np.concatenate([np.full(count - 1, np.nan), values])
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, count).min(axis=1), dtype=np.float64)


def _day_medians(z: Floats) -> Floats:
    """The median of each whole day, from the first interval on; NaN for a day without any."""
    days = z[: z.size // PER_DAY * PER_DAY].reshape(-1, PER_DAY)
    empty = np.asarray(np.isnan(days).all(axis=1), dtype=np.bool_)
    return np.where(empty, np.nan, np.nanmedian(np.where(empty[:, None], 0.0, days), axis=1))


def _jumps(days: Floats) -> Floats:
    """The median of `STEP_DAYS` days less that of the seven before them, for each day that has them."""
    reach = 7 + STEP_DAYS
    if days.size < reach:
        return np.full(1, np.nan)
    window = np.lib.stride_tricks.sliding_window_view(days, reach)
    return np.asarray(np.median(window[:, 7:], axis=1) - np.median(window[:, :7], axis=1), dtype=np.float64)


def _step(normal: Normal, z: Floats) -> Floats:
    """Both of the last two whole days on the same side, far from the median of the weeks before."""
    found = np.zeros(z.size)
    days = np.concatenate([normal.recent, _day_medians(z)])
    for day in range(normal.recent.size, days.size):
        before = days[max(day - 13, 0) : day - STEP_DAYS + 1]
        last = days[day - STEP_DAYS + 1 : day + 1]
        if np.isnan(last).any() or np.isnan(before).all():
            continue
        away = last - np.nanmedian(before)
        least = max(float(away.min()), float((-away).min()), 0.0)
        begin = (day - normal.recent.size) * PER_DAY
        found[begin : begin + PER_DAY] = least / normal.step_limit
    return found


def _flat(normal: Normal, values: Floats) -> Floats:
    """The length of the run each interval ends, against the longest ever; zeros are judged apart."""
    allowed = np.where(values == 0, normal.flat_zero, normal.flat_other) * FLAT_FACTOR
    length = _run_lengths(values)
    return np.where(np.isnan(values), 0.0, length / np.maximum(allowed, FLAT_INTERVALS_MIN))


def _run_lengths(values: Floats) -> Ints:
    """How many equal values in a row end at each."""
    index = np.arange(values.size)
    fresh = np.ones(values.size, dtype=np.bool_)
    fresh[1:] = values[1:] != values[:-1]
    return index - np.maximum.accumulate(np.where(fresh, index, 0)) + 1


def _longest_runs(values: Floats) -> tuple[int, int]:
    lengths = _run_lengths(values)
    zero, other = lengths[values == 0], lengths[(values != 0) & ~np.isnan(values)]
    return int(zero.max(initial=0)), int(other.max(initial=0))


def _rate(normal: Normal, counts: Ints | None, size: int) -> Floats:
    """How far the readings per interval are from the usual number, for as long as a residual must last."""
    if counts is None or math.isnan(normal.rate) or normal.rate <= 0:
        return np.zeros(size)
    away = np.abs(counts / normal.rate - 1)
    return np.nan_to_num(_least(away, PERSIST), nan=0.0) / RATE_LIMIT
