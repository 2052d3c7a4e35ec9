"""What a meter will draw: the next day by hour, and the peak of the month.

The model is a profile by hour of the week, plus a response to warm weather by hour of the day (apart for
working days and weekends), plus what is left of the last day's surprise. It is fitted in closed form on a
few weeks of hourly means, newer weeks counting more, each part by medians or with shrinkage, so that a
broken day bends nothing. numpy only; a fit takes milliseconds.

Slots are `localtime.week_slots`: 0 (Monday 00 h) to 167, holidays as Sundays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent.localtime import Floats, Ints

SLOTS = 168
DAY_H = 24
WEEK_H = 168
HOURS_MIN = 14 * DAY_H  # less is no model: every slot must have been seen twice
HALF_LIFE_WEEKS = 4.0
BALANCE_C = (14.0, 16.0, 18.0, 20.0, 22.0, 24.0, 26.0)  # where cooling may begin
DAYS_ALIKE = 30
WARMTH_HOURS = 6.0  # buildings follow the weather with a memory
SHRINKAGE = 20.0  # how many hours of evidence a slope needs to leave the mean of all


@dataclass(frozen=True, slots=True, eq=False)
class LoadModel:
    """`profile_kw` (168,); `slope_kw_c` (2, 24): kW per degC of warmth, working days and weekends;
    `keeps` (2,): what part of the last day's mean surprise, and of the same hour's, comes again."""

    profile_kw: Floats
    slope_kw_c: Floats
    balance_c: float
    keeps: Floats
    error_kw: float


@dataclass(frozen=True, slots=True)
class PeakForecast:
    """The month's highest demand: as likely above as below `median_kw`, one in ten above `high_kw`.
    Never less than `so_far_kw`."""

    so_far_kw: float
    median_kw: float
    high_kw: float


def fit_load(load_kw: Floats, slots: Ints, outdoor_c: Floats | None = None) -> LoadModel | None:
    """A model from hourly means (n,), the last one newest, no hour left out (NaN where unknown), and outdoor
    temperatures (n,) if there are any. None if fewer than two weeks are known."""
    known = ~np.isnan(load_kw)
    if known.sum() < HOURS_MIN or np.unique(slots[known]).size < SLOTS:
        return None
    weight = np.where(known, 0.5 ** (np.arange(load_kw.size)[::-1] / WEEK_H / HALF_LIFE_WEEKS), 0.0)
    best = _with_balance(load_kw, slots, weight, np.zeros(load_kw.size), math.inf)
    if outdoor_c is not None and not np.isnan(outdoor_c).all():
        smooth_c = _smooth(outdoor_c)
        choices = [_with_balance(load_kw, slots, weight, smooth_c, each) for each in BALANCE_C]
        best = min([best, *choices], key=lambda each: each.error_kw)
    surprise_kw = load_kw - expected_kw(best, slots, outdoor_c)
    keeps = _keeps(surprise_kw, weight)
    return LoadModel(best.profile_kw, best.slope_kw_c, best.balance_c, keeps, best.error_kw)


def expected_kw(model: LoadModel, slots: Ints, outdoor_c: Floats | None = None) -> Floats:
    """What the model says of hours (n,), their weather known, nothing of the day before."""
    if outdoor_c is None or math.isinf(model.balance_c):
        return model.profile_kw[slots]
    return _modelled(model, slots, _warmth(_smooth(outdoor_c), model.balance_c))


def forecast_day_kw(
    model: LoadModel,
    slots: Ints,
    last_load_kw: Floats,
    last_slots: Ints,
    outdoor_c: Floats | None = None,
) -> Floats:
    """The next hours (n,) after the last ones, `last_load_kw` (24 or more,). `outdoor_c`, if given, has the
    temperatures of both, the last and then the next. Never below zero where the load never was."""
    weather = None if outdoor_c is None else np.asarray(outdoor_c)
    both = expected_kw(model, np.concatenate([last_slots, slots]), weather)
    surprise_kw = (last_load_kw - both[: last_slots.size])[-DAY_H:]
    mean_kw = float(np.nanmean(surprise_kw)) if not np.isnan(surprise_kw).all() else 0.0
    hour_kw = np.where(np.isnan(surprise_kw), mean_kw, surprise_kw) - mean_kw
    ahead = np.arange(slots.size)
    fades = 0.5 ** (ahead // DAY_H)
    again_kw = (model.keeps[0] * mean_kw + model.keeps[1] * hour_kw[ahead % hour_kw.size]) * fades
    found = both[last_slots.size :] + again_kw
    return np.asarray(np.maximum(found, 0.0) if np.nanmin(model.profile_kw) >= 0 else found)


def forecast_peak(
    so_far_kw: float, day_peaks_kw: Floats, day_expected_kw: Floats, rest_expected_kw: Floats
) -> PeakForecast:
    """The month's peak from past days' peaks (n,) beside what was expected of each (n,), and what is expected
    of each remaining day (m,). `so_far_kw` is 0 at its beginning.

    A day ahead peaks as one of the days most like it did (nearest in expectation), as they were and not
    scaled, because loads saturate. Days are taken as independent: the chance that none exceeds x is the
    product over the days left. Beyond the highest ever seen the tail of the highest tenth goes on.
    """
    usable = ~np.isnan(day_peaks_kw) & ~np.isnan(day_expected_kw)
    peaks, expected = day_peaks_kw[usable], day_expected_kw[usable]
    rest = rest_expected_kw[~np.isnan(rest_expected_kw)]
    if not peaks.size or not rest.size:
        return PeakForecast(so_far_kw, so_far_kw, so_far_kw)
    levels, chance = np.unique(peaks), np.ones(np.unique(peaks).size)
    for each in rest:
        alike = np.sort(peaks[np.argsort(np.abs(expected - each), kind="stable")[:DAYS_ALIKE]])
        # At the highest of n the chance is (n + 0.5) / (n + 1), not 1: a new record is always possible.
        chance *= (np.searchsorted(alike, levels, side="right") + 0.5) / (alike.size + 1)
    top = np.quantile(peaks, 0.9)
    tail_kw = float(peaks[peaks >= top].mean() - top)

    def level(probability: float) -> float:
        if probability <= chance[-1]:
            return max(so_far_kw, float(levels[np.searchsorted(chance, probability)]))
        beyond = tail_kw * math.log((1 - float(chance[-1])) / (1 - probability))
        return max(so_far_kw, float(levels[-1]) + beyond)

    return PeakForecast(so_far_kw, level(0.5), level(0.9))


def _with_balance(
    load_kw: Floats, slots: Ints, weight: Floats, smooth_c: Floats, balance_c: float
) -> LoadModel:
    """The slopes, then the profile of what they leave. The slopes look within slots only: that warm hours are
    busy hours is no response to the weather."""
    warm_c = _warmth(smooth_c, balance_c)
    slope = np.zeros((2, DAY_H))
    profile = _profile(load_kw, slots, weight)
    if math.isfinite(balance_c):
        slope = _slopes(load_kw, slots, weight, warm_c)
        profile = _profile(load_kw - slope[_weekend(slots), slots % DAY_H] * warm_c, slots, weight)
    model = LoadModel(profile, slope, balance_c, np.zeros(2), 0.0)
    error = np.abs(load_kw - _modelled(model, slots, warm_c))
    seen = weight > 0
    mean_error = float(np.average(error[seen], weights=weight[seen]))
    return LoadModel(profile, slope, balance_c, np.zeros(2), mean_error)


def _modelled(model: LoadModel, slots: Ints, warm_c: Floats) -> Floats:
    slope = model.slope_kw_c[_weekend(slots), slots % DAY_H]
    return np.asarray(model.profile_kw[slots] + slope * warm_c, dtype=np.float64)


def _weekend(slots: Ints) -> Ints:
    return (slots >= 5 * DAY_H).astype(np.int64)


def _warmth(smooth_c: Floats, balance_c: float) -> Floats:
    """Degrees above the balance point; 0 where unknown or without one."""
    if math.isinf(balance_c):
        return np.zeros(smooth_c.shape)
    return np.asarray(np.nan_to_num(np.maximum(smooth_c - balance_c, 0.0), nan=0.0), dtype=np.float64)


def _smooth(outdoor_c: Floats) -> Floats:
    """Half the temperature of now, half its memory; unknown hours hold the last known."""
    known = np.flatnonzero(~np.isnan(outdoor_c))
    if not known.size:
        return outdoor_c
    filled = np.interp(np.arange(outdoor_c.size), known, outdoor_c[known])
    hours = np.arange(int(5 * WARMTH_HOURS))
    kernel = np.exp(-hours / WARMTH_HOURS)
    padded = np.concatenate([np.full(hours.size - 1, filled[0]), filled])
    memory = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return np.asarray(0.5 * filled + 0.5 * memory, dtype=np.float64)


def _profile(load_kw: Floats, slots: Ints, weight: Floats) -> Floats:
    """The weighted median of each slot."""
    found = np.empty(SLOTS)
    order = np.lexsort((load_kw, slots))
    values, weights, sorted_slots = load_kw[order], weight[order], slots[order]
    edges = np.searchsorted(sorted_slots, np.arange(SLOTS + 1))
    for slot in range(SLOTS):
        here = slice(edges[slot], edges[slot + 1])
        seen = weights[here] > 0
        share = np.cumsum(weights[here][seen])
        found[slot] = values[here][seen][np.searchsorted(share, share[-1] / 2)]
    return found


def _slopes(load_kw: Floats, slots: Ints, weight: Floats, warm_c: Floats) -> Floats:
    """kW per degC by day type and hour: within-slot regression, shrunk towards the day type's mean."""
    seen = weight > 0
    total = np.maximum(np.bincount(slots, weight, SLOTS), 1e-12)
    mean_kw = np.bincount(slots, np.where(seen, load_kw, 0) * weight, SLOTS) / total
    mean_c = np.bincount(slots, warm_c * weight, SLOTS) / total
    around_kw, around_c = np.where(seen, load_kw - mean_kw[slots], 0), warm_c - mean_c[slots]
    limit = 4 * float(np.median(np.abs(around_kw[seen]))) * 1.4826 or math.inf
    around_kw = np.clip(around_kw, -limit, limit)  # a broken day is no weather
    cell = _weekend(slots) * DAY_H + slots % DAY_H
    joint = np.bincount(cell, weight * around_kw * around_c, 2 * DAY_H).reshape(2, DAY_H)
    spread = np.bincount(cell, weight * around_c**2, 2 * DAY_H).reshape(2, DAY_H)
    centre = joint.sum(axis=1, keepdims=True) / np.maximum(spread.sum(axis=1, keepdims=True), 1e-9)
    prior = SHRINKAGE * float(np.average(around_c**2, weights=weight)) + 1e-9
    return np.asarray((joint + prior * centre) / (spread + prior), dtype=np.float64)


def _keeps(surprise_kw: Floats, weight: Floats) -> Floats:
    """How much of a day's surprise comes again the next day, by least squares within 0 to 1."""
    days = surprise_kw.size // DAY_H
    grid = surprise_kw[surprise_kw.size - days * DAY_H :].reshape(days, DAY_H)
    whole = np.asarray(~np.isnan(grid).any(axis=1), dtype=np.bool_)
    pairs = np.flatnonzero(whole[1:] & whole[:-1])
    if pairs.size < 7:  # less than a week of pairs says nothing
        return np.zeros(2)
    mean, again = grid.mean(axis=1), grid - grid.mean(axis=1, keepdims=True)
    limit = 4 * float(np.median(np.abs(grid[whole]))) or math.inf
    mean, again = np.clip(mean, -limit, limit), np.clip(again, -limit, limit)
    of_mean = float(mean[pairs] @ mean[pairs + 1]) / (float(mean[pairs] @ mean[pairs]) + 1e-12)
    before, after = again[pairs].ravel(), again[pairs + 1].ravel()
    of_hour = float(before @ after) / (float(before @ before) + 1e-12)
    return np.array([min(max(each, 0.0), 0.9) for each in (of_mean, of_hour)])
