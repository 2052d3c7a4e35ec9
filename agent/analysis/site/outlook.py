"""What a meter is expected to draw: this hour, tomorrow, and the month's peak; learned once a local day."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from agent.analysis.forecast import (
    DAY_H,
    LoadModel,
    PeakForecast,
    expected_kw,
    fit_load,
    forecast_day_kw,
    forecast_peak,
)
from agent.analysis.kept import from_json, to_json
from agent.analysis.site.energy import QUARTERS_PER_H, Quarters, month_of, quarters
from agent.analysis.site.plan import MeterPlan
from agent.analysis.site.points import TOMORROW
from agent.analysis.site.scene import Scene
from agent.localtime import DAY_MS, HOUR_MS, Floats, Ints, day_ms, local_ms, minute_of_day, week_slots
from agent.tariff.calendar import holiday_dates
from agent.tariff.options import HolidayOptions

MEMORY_DAYS = 70
LAST_H = 48
Values = dict[str, float]


class Load(NamedTuple):
    """Whole hours without a hole from `from_ms` on: mean load and highest quarter (kW), outdoor °C (NaN where
    unknown), slots of the week."""

    from_ms: int
    mean_kw: Floats
    most_kw: Floats
    outdoor_c: Floats | None
    slots: Ints


class Ahead(NamedTuple):
    """What is expected of the hours from `from_ms` on, to the end of the month and of tomorrow at least."""

    from_ms: int
    mean_kw: Floats
    month_median_kw: float
    month_high_kw: float


def free_days(now_ms: int, zone: ZoneInfo) -> frozenset[date]:
    """The national holidays of the years about."""
    year = datetime.fromtimestamp(now_ms / 1000, zone).year
    return frozenset(
        day for each in (year - 1, year, year + 1) for day in holiday_dates(HolidayOptions(), each)
    )


def load_of(on: Scene, meter: MeterPlan) -> Load:
    """The last weeks of a meter."""
    to_ms = on.at_ms // HOUR_MS * HOUR_MS
    from_ms = to_ms - MEMORY_DAYS * DAY_MS
    found = quarters(on.book, meter, from_ms, to_ms).power_kw.reshape(-1, QUARTERS_PER_H)
    first = int(np.argmax(~np.isnan(found).all(axis=1)))  # what was before there was a meter is no gap
    found, from_ms = found[first:], from_ms + first * HOUR_MS
    times_ms = from_ms + np.arange(len(found), dtype=np.int64) * HOUR_MS
    outdoor_c = _outdoor_c(on, from_ms, to_ms) if on.plan.outdoor else None
    slots = week_slots(times_ms, on.zone, free_days(on.at_ms, on.zone))
    return Load(from_ms, _mean(found), _most(found), outdoor_c, slots)


def _mean(rows: Floats) -> Floats:
    known = ~np.isnan(rows)
    count = known.sum(axis=1)
    total = np.where(known, rows, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _most(rows: Floats) -> Floats:
    most = np.where(np.isnan(rows), -np.inf, rows).max(axis=1, initial=-np.inf)
    return np.where(np.isinf(most), np.nan, most)


def _outdoor_c(on: Scene, from_ms: int, to_ms: int) -> Floats:
    device, _, name = on.plan.outdoor.partition(".")
    hours = (to_ms - from_ms) // HOUR_MS
    total, count = np.zeros(hours), np.zeros(hours)
    for group in on.groups(device):
        if name in group.points:
            found = on.book.tens((device, group.name), [name], from_ms, to_ms).intervals
            at = (found.start_ms - from_ms) // HOUR_MS
            known = ~np.isnan(found.mean[:, 0]) & (at >= 0) & (at < hours)
            np.add.at(total, at[known], found.mean[known, 0])
            np.add.at(count, at[known], 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def model_of(on: Scene, meter: MeterPlan, load: Load) -> LoadModel | None:
    """The model of today: learned at the first run of the local day, kept over restarts."""
    name = f"load {meter.device}"
    kept = on.book.learned(name).get(name)
    if kept is not None and kept["day"] == on.day:
        try:
            return from_json(LoadModel, kept["model"])
        except ValueError:
            pass  # after an upgrade: learn anew
    model = fit_load(load.mean_kw, load.slots, load.outdoor_c) if load.mean_kw.size else None
    if model is not None:
        on.book.put_learned(name, on.at_ms, {"day": on.day, "model": to_json(model)})
    return model


def ahead_of(on: Scene, model: LoadModel, load: Load, month: Quarters) -> Ahead:
    """From the hour that is under way on. Tomorrow's weather is taken for that of the last day."""
    from_ms = load.from_ms + load.mean_kw.size * HOUR_MS
    end_ms = max(month_of(on.at_ms, on.zone)[1], tomorrow_ms(on.at_ms, on.zone)[1])
    times_ms = np.arange(from_ms, end_ms, HOUR_MS, dtype=np.int64)
    slots = week_slots(times_ms, on.zone, free_days(on.at_ms, on.zone))
    last_kw, last_slots = load.mean_kw[-LAST_H:], load.slots[-LAST_H:]
    weather = None
    if load.outdoor_c is not None and load.outdoor_c.size >= DAY_H:
        again = load.outdoor_c[-DAY_H:][np.arange(times_ms.size) % DAY_H]
        weather = np.concatenate([load.outdoor_c[-LAST_H:], again])
    mean_kw = forecast_day_kw(model, slots, last_kw, last_slots, weather)
    left = times_ms < month_of(on.at_ms, on.zone)[1]
    days = local_ms(times_ms[left], on.zone) // DAY_MS
    rest_kw = _by_day(days, expected_kw(model, slots[left])[:, None])[:, 0]
    peak = _peak(on, model, load, month, rest_kw)
    return Ahead(from_ms, mean_kw, peak.median_kw, peak.high_kw)


def _peak(on: Scene, model: LoadModel, load: Load, month: Quarters, rest_kw: Floats) -> PeakForecast:
    """Days of the past by what was expected of them, against those that are left of the month."""
    past_ms = load.from_ms + np.arange(load.mean_kw.size, dtype=np.int64) * HOUR_MS
    expected = expected_kw(model, load.slots, load.outdoor_c)
    hours = np.stack([load.most_kw, expected], axis=1)
    by_day = _by_day(local_ms(past_ms, on.zone) // DAY_MS, hours)
    so_far_kw = float(np.nan_to_num(month.power_kw).max(initial=0.0))
    return forecast_peak(so_far_kw, by_day[:, 0], by_day[:, 1], rest_kw)


def _by_day(days: Ints, hours: Floats) -> Floats:
    """The highest of each day's hours (days, columns); NaN where a day has none."""
    if not days.size:
        return np.empty((0, hours.shape[1]))
    first = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    most = np.maximum.reduceat(np.where(np.isnan(hours), -np.inf, hours), first, axis=0)
    return np.where(np.isinf(most), np.nan, most)


def tomorrow_ms(now_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """The local day after the one of `now_ms`: 23, 24 or 25 hours."""
    return day_ms(datetime.fromtimestamp(now_ms / 1000, zone).date() + timedelta(days=1), zone)


def rest_of_month_kw(on: Scene, ahead: Ahead, from_ms: int) -> Floats:
    """What is expected of each quarter from `from_ms` on, to the end of the month."""
    times_ms = np.arange(from_ms, month_of(on.at_ms, on.zone)[1], HOUR_MS // QUARTERS_PER_H, dtype=np.int64)
    hours = np.clip((times_ms - ahead.from_ms) // HOUR_MS, 0, ahead.mean_kw.size - 1)
    return np.asarray(ahead.mean_kw[hours], dtype=np.float64)


def outlook(on: Scene, meter: MeterPlan, ahead: Ahead) -> Values:
    """All of the group `outlook-<meter>`. An hour that the clock shows twice has the mean of both."""
    begin_ms, end_ms = tomorrow_ms(on.at_ms, on.zone)
    times_ms = ahead.from_ms + np.arange(ahead.mean_kw.size, dtype=np.int64) * HOUR_MS
    there = (times_ms >= begin_ms) & (times_ms < end_ms)
    hours = minute_of_day(local_ms(times_ms[there], on.zone)) // 60
    tomorrow_kw = ahead.mean_kw[there]
    by_hour = {name: _mean_of(tomorrow_kw[hours == hour]) for hour, name in enumerate(TOMORROW)}
    values = {
        "load_expected": float(ahead.mean_kw[0]),
        "tomorrow_energy": float(tomorrow_kw.sum()),
        "tomorrow_most": float(tomorrow_kw.max()),
        **by_hour,
        "month_peak_expected": ahead.month_median_kw,
        "month_peak_high": ahead.month_high_kw,
    }
    return {f"{meter.slug}_{name}": value for name, value in values.items()}


def _mean_of(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan
