"""Demand, energy and money of a meter's month so far, at one instant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from agent.analysis.power_quality.aggregate import DEMAND_MS, on_grid
from agent.analysis.power_quality.limits import Limits
from agent.analysis.power_quality.power import counted, demand, energy_between, power_factor
from agent.analysis.site.book import HALF_MS, Book
from agent.analysis.site.plan import MeterPlan
from agent.analysis.site.scene import Scene
from agent.localtime import HOUR_MS, Floats, Ints, month_ms
from agent.tariff import Tariff
from agent.tariff.bill import Bill, bill, forecast_bill
from agent.tariff.demand import demand_terms
from agent.tariff.posts import POSTS
from agent.tariff.usage import Usage, usage

SHARE_MIN = 0.5  # of a quarter's readings: fewer are no mean of it
QUARTERS_PER_H = HOUR_MS // DEMAND_MS
Values = dict[str, float]


class Quarters(NamedTuple):
    """Means of quarters of an hour, without a hole from `from_ms` on; NaN where nothing is known. `resets`:
    how often the counter began again."""

    from_ms: int
    power_kw: Floats
    reactive_kvar: Floats
    resets: int

    @property
    def end_ms(self) -> int:
        """Of the last one."""
        return self.from_ms + self.power_kw.size * DEMAND_MS


def quarters(book: Book, meter: MeterPlan, from_ms: int, to_ms: int) -> Quarters:
    """Of from <= time < to, both on a quarter. A gap in the power that the meter's own counter has counted
    through is filled with the mean of the gap."""
    rows = [row for half in book.meter(meter.device, "quarter", from_ms - HALF_MS + 1, to_ms) for row in half]
    table = np.array([[math.nan if each is None else each for each in row] for row in rows], dtype=np.float64)
    table = table.reshape(-1, 4)
    start_ms = table[:, 0].astype(np.int64)
    table[table[:, 3] < SHARE_MIN, 1:3] = np.nan
    grid = on_grid(start_ms, table[:, 1:3], from_ms, to_ms, DEMAND_MS)
    power_kw, resets = grid[:, 0], 0
    if meter.energy:
        power_kw, resets = _filled(power_kw, *_counter(book, meter, from_ms, to_ms), from_ms)
    return Quarters(from_ms, power_kw, grid[:, 1], resets)


def _counter(book: Book, meter: MeterPlan, from_ms: int, to_ms: int) -> tuple[Ints, Floats]:
    halves = book.meter(meter.device, "counter", from_ms - HALF_MS, to_ms + HALF_MS)
    rows: list[Any] = [row for half in halves for row in half]
    return np.array([row[0] for row in rows], dtype=np.int64), np.array(
        [row[1] for row in rows], dtype=np.float64
    )


def _filled(power_kw: Floats, times_ms: Ints, counter_kwh: Floats, from_ms: int) -> tuple[Floats, int]:
    if not times_ms.size:
        return power_kw, 0
    whole = counted(counter_kwh)
    edges = from_ms + np.arange(power_kw.size + 1, dtype=np.int64) * DEMAND_MS
    energy_kwh, _ = energy_between(times_ms, whole.total, edges, 2 * DEMAND_MS)
    missing = np.isnan(power_kw)
    within = (times_ms >= edges[0]) & (times_ms <= edges[-1])
    return np.where(missing, energy_kwh * QUARTERS_PER_H, power_kw), int(whole.reset[within].sum())


def month_of(now_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """The local month that holds the instant just before `now_ms`."""
    day = datetime.fromtimestamp((now_ms - 1) / 1000, zone)
    return month_ms(day.year, day.month, zone)


def month_so_far(on: Scene, meter: MeterPlan) -> Quarters:
    """Up to the last whole quarter of an hour."""
    from_ms, _ = month_of(on.at_ms, on.zone)
    return quarters(on.book, meter, from_ms, max(on.at_ms // DEMAND_MS * DEMAND_MS, from_ms))


def energy(meter: MeterPlan, month: Quarters, limits: Limits) -> Values:
    """All of the group `energy-<meter>`."""
    times_ms = month.from_ms + np.arange(month.power_kw.size, dtype=np.int64) * DEMAND_MS
    found = demand(times_ms, month.power_kw)
    drawn = np.maximum(np.nan_to_num(month.power_kw), 0.0)
    values = {
        "demand": float(month.power_kw[-1]) if month.power_kw.size else math.nan,
        "demand_month_most": found.peak_kw,
        "load_factor_month": found.load_factor,
        "energy_month": float(drawn.sum()) / QUARTERS_PER_H,
        "missing_month": float(np.isnan(month.power_kw).sum()) / QUARTERS_PER_H,
    }
    if meter.energy:
        values["counter_resets_month"] = float(month.resets)
    if meter.reactive:
        factor = power_factor(month.power_kw, month.reactive_kvar, limits.power_factor.minimum)
        values |= {
            "power_factor_month": factor.mean,
            "power_factor_low_inductive": factor.low_inductive_percent,
            "power_factor_low_capacitive": factor.low_capacitive_percent,
        }
    return {f"{meter.slug}_{name}": value for name, value in values.items()}


class Money(NamedTuple):
    """The month's bill so far, that of the whole month (None: no forecast), and by how many kW the demand
    is above the contract's tolerance (0: it is not)."""

    so_far: Bill
    whole: Bill | None
    used: Usage
    overshoot_kw: float


def money(meter: MeterPlan, tariff: Tariff, month: Quarters, rest_kw: Floats | None) -> Money | None:
    """`rest_kw`: what is expected of the quarters that are left. None before the first one has ended."""
    if not month.power_kw.size:
        return None
    reactive = month.reactive_kvar if meter.reactive else None
    used = usage(tariff, month.from_ms, month.power_kw, reactive)
    so_far = bill(tariff, used)
    whole = so_far
    if rest_kw is not None and rest_kw.size:
        whole = forecast_bill(tariff, used, month.end_ms, rest_kw, _rest_kvar(month, rest_kw))
    left_out = rest_kw is None
    return Money(so_far, None if left_out else whole, used, _overshoot_kw(tariff, month))


def _rest_kvar(month: Quarters, rest_kw: Floats) -> Floats | None:
    """With the month's own relation of reactive to active energy; its hours are not known."""
    known = ~np.isnan(month.power_kw) & ~np.isnan(month.reactive_kvar)
    active = float(month.power_kw[known].sum())
    if active <= 0:
        return None
    return np.asarray(rest_kw * float(month.reactive_kvar[known].sum()) / active, dtype=np.float64)


def _overshoot_kw(tariff: Tariff, month: Quarters) -> float:
    terms = demand_terms(tariff, month.from_ms, month.power_kw.size, DEMAND_MS // 1000)
    excess = [0.0]
    for term in terms:
        measured = float(np.nan_to_num(month.power_kw[term.mask]).max(initial=0.0))
        if measured > term.contracted_kw * term.tolerance:
            excess.append(measured - term.contracted_kw)
    return max(excess)


_PARTS = {
    "energy": ("energy", "minimum"),
    "flag": ("flag",),
    "demand": ("demand", "unused_demand"),
    "overshoot": ("overshoot",),
    "reactive": ("reactive_energy", "reactive_demand"),
}


def bill_values(meter: MeterPlan, found: Money) -> Values:
    """All of the group `bill-<meter>`."""
    by_post = found.used.energy_kwh.sum(axis=0)
    values = {f"energy_{post.name.lower()}_month": float(by_post[post]) for post in POSTS}
    values |= {
        "reactive_energy_excess_month": float(found.used.reactive_kwh.sum()),
        "reactive_demand_excess_month": sum(
            item.quantity for item in found.so_far.items if item.code == "reactive_demand"
        ),
        "demand_overshoot_month": found.overshoot_kw,
    }
    for word, which in (("cost", found.so_far), ("bill", found.whole)):
        values[word] = math.nan if which is None else which.total_brl
        for part, codes in _PARTS.items():
            values[f"{word}_{part}"] = math.nan if which is None else _amount(which, codes)
    return {f"{meter.slug}_{name}": value for name, value in values.items()}


def _amount(which: Bill, codes: Sequence[str]) -> float:
    return sum(which.amount_brl(code) for code in codes)
