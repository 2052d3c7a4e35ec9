"""What a site used, day by day and post by post: all that a bill needs, small enough to keep for years."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agent.localtime import DAY_MS, HOUR_MS, Bools, Floats, Ints, local_ms, minute_of_day
from agent.tariff.demand import DEMAND_MS
from agent.tariff.posts import POSTS, post_codes, version_at
from agent.tariff.reactive import reactive_excess
from agent.tariff.tariff import Tariff

HOURS_PER_INTERVAL = DEMAND_MS / HOUR_MS


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """By local day (rows) and `Post` (columns), shape (days, 3), except `days` and `missing_h` (days,)."""

    days: Ints  # days since 1970-01-01 on the wall clock
    energy_kwh: Floats
    demand_kw: Floats  # the day's highest 15-minute mean; 0 where there was none
    reactive_kwh: Floats  # ERE
    corrected_demand_kw: Floats  # the day's highest D_t 0.92 / f_t
    missing_h: Floats  # without a reading: billed as nothing, so say it


class _Steps(NamedTuple):
    """The 15-minute means beside what the calendar says of them; all of shape (n,)."""

    local: Ints
    row: Ints
    posts: Ints
    power_kw: Floats
    reactive_kvar: Floats


class _Hours(NamedTuple):
    first: Ints  # step
    active_kwh: Floats
    reactive_kvarh: Floats
    demand_kw: Floats


def usage(tariff: Tariff, from_ms: int, power_kw: Floats, reactive_kvar: Floats | None = None) -> Usage:
    """Usage from 15-minute means, one after the other from `from_ms` (on a quarter of an hour) on.

    `power_kw` and `reactive_kvar` (positive: inductive) have shape (n,); NaN is a missing reading. What is
    fed in (negative power) is not billed and not credited here. ValueError if `from_ms` is on no quarter.
    """
    if from_ms % DEMAND_MS:
        raise ValueError(f"expected a time on a quarter of an hour, found {from_ms}")
    times_ms = from_ms + np.arange(power_kw.size, dtype=np.int64) * DEMAND_MS
    local = local_ms(times_ms, tariff.zone)
    days, row = np.unique(local // DAY_MS, return_inverse=True)
    posts = post_codes(tariff, times_ms)
    shape = (days.size, len(POSTS))
    drawn = np.maximum(np.nan_to_num(power_kw, nan=0.0), 0)
    energy, demand = np.zeros(shape), np.zeros(shape)
    np.add.at(energy, (row, posts), drawn * HOURS_PER_INTERVAL)
    np.maximum.at(demand, (row, posts), drawn)
    missing = np.bincount(row, np.isnan(power_kw) * HOURS_PER_INTERVAL, minlength=days.size)
    excess, corrected = np.zeros(shape), np.zeros(shape)
    if reactive_kvar is not None:
        steps = _Steps(local, row, posts, power_kw, reactive_kvar)
        _add_reactive(tariff, steps, excess, corrected)
    return Usage(days, energy, demand, excess, corrected, missing.astype(np.float64))


def _add_reactive(tariff: Tariff, steps: _Steps, excess: Floats, corrected: Floats) -> None:
    """Adds the excess of each hour to the day and post in which the hour begins."""
    hours = _hours(steps)
    local = steps.local[hours.first]
    versions = version_at(tariff, local)
    for at in np.unique(versions):
        options = tariff.file.version[int(at)].reactive
        if options is None:
            continue
        result = reactive_excess(
            hours.active_kwh,
            hours.reactive_kvarh,
            hours.demand_kw,
            _within(minute_of_day(local), options.capacitive),
            options.power_factor_min,
        )
        here = versions == at
        cell = (steps.row[hours.first][here], steps.posts[hours.first][here])
        np.add.at(excess, cell, result.energy_kwh[here])
        np.maximum.at(corrected, cell, result.corrected_demand_kw[here])


def _hours(steps: _Steps) -> _Hours:
    """The clock hours; one that misses a reading has NaN and so no excess. Demand is that of the hour."""
    # Where the clock is set back the same hour comes twice: the step backwards parts the two.
    changes = (np.diff(steps.local // HOUR_MS) != 0) | (np.diff(steps.local) != DEMAND_MS)
    first = np.flatnonzero(np.concatenate([np.ones(min(steps.local.size, 1), dtype=np.bool_), changes]))
    return _Hours(
        first,
        np.add.reduceat(steps.power_kw, first) * HOURS_PER_INTERVAL,
        np.add.reduceat(steps.reactive_kvar, first) * HOURS_PER_INTERVAL,
        np.add.reduceat(steps.power_kw, first) / np.diff(np.append(first, steps.power_kw.size)),
    )


def _within(minutes: Ints, window: list[int]) -> Bools:
    return (minutes >= window[0]) & (minutes < window[1])


def joined(first: Usage, second: Usage) -> Usage:
    """Both together: energy of a day in both is added, of demands the higher counts."""
    days, row = np.unique(np.concatenate([first.days, second.days]), return_inverse=True)

    def merged(name: str, add: bool) -> Floats:
        parts = np.concatenate([getattr(first, name), getattr(second, name)])
        whole = np.zeros((days.size, *parts.shape[1:]))
        (np.add if add else np.maximum).at(whole, row, parts)
        return whole

    return Usage(
        days,
        merged("energy_kwh", True),
        merged("demand_kw", False),
        merged("reactive_kwh", True),
        merged("corrected_demand_kw", False),
        merged("missing_h", True),
    )
