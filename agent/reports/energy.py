"""The energy of a meter over a month: readings in, part by part; quarters of an hour, the bill, the rest of
the month out.

Rules. Demand and energy are those of clock intervals of 15 minutes: the mean of the power where enough of it
was read, else what the meter's own counter says was counted, spread evenly where it was silent. An interval
that neither knows is missing: it is billed as nothing, and said.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import NamedTuple

import numpy as np

from agent.analysis.forecast import (
    HOURS_MIN,
    LoadModel,
    PeakForecast,
    expected_kw,
    fit_load,
    forecast_day_kw,
    forecast_peak,
)
from agent.analysis.meters import Meter
from agent.analysis.power_quality.power import Demand, demand
from agent.localtime import (
    DAY_MS,
    HOUR_MS,
    QUARTER_MS,
    Floats,
    Ints,
    date_of,
    local_ms,
    minute_of_day,
    month_ms,
    week_slots,
)
from agent.reports.power_quality import NoReadings, Progress, Readings, matrix
from agent.reports.series import CounterSeries, IntervalSeries, Part, pace
from agent.tariff import Tariff
from agent.tariff.bill import Bill, Item, bill, forecast_bill
from agent.tariff.calendar import holiday_dates
from agent.tariff.demand import DemandPrice, demand_prices
from agent.tariff.posts import post_codes
from agent.tariff.usage import Usage, usage

COVERAGE_MIN = 0.5  # of a quarter of an hour: less of its power is no mean of it
MISSING, MEASURED, COUNTED, SPREAD = 0, 1, 2, 3
QUARTERS_PER_HOUR = 4
HOURS_PER_QUARTER = 0.25
NAMES = ("active_power_w", "reactive_power_var", "import_wh", "export_wh")


class Price(NamedTuple):
    """What energy costs: a tariff, or one price at all hours."""

    tariff: Tariff | None
    brl_kwh: float


class Hours(NamedTuple):
    """Clock hours, and which of the week's each is taken for; both (n,)."""

    start_ms: Ints
    slots: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Quarters:
    """By 15-minute interval from `from_ms` on, none left out: mean power in kW and kvar (NaN: not known), and
    where it is from (`MISSING`, `MEASURED`, `COUNTED`, `SPREAD`)."""

    from_ms: int
    power_kw: Floats
    reactive_kvar: Floats
    source: Ints

    @property
    def start_ms(self) -> Ints:
        return self.from_ms + np.arange(self.power_kw.size, dtype=np.int64) * QUARTER_MS

    def cut(self, from_ms: int, to_ms: int) -> Quarters:
        """Those of a part of the time, both ends on a quarter and inside."""
        some = slice((from_ms - self.from_ms) // QUARTER_MS, (to_ms - self.from_ms) // QUARTER_MS)
        return Quarters(from_ms, self.power_kw[some], self.reactive_kvar[some], self.source[some])


@dataclass(frozen=True, slots=True, eq=False)
class Month:
    """One month, or its beginning up to `until_ms`. `posts` (n,) are those of its quarters."""

    from_ms: int
    until_ms: int
    quarters: Quarters
    posts: Ints
    days: Ints  # local days since 1970
    daily_kwh: Floats  # (days, 3), by post
    demand: Demand
    peaks_kw: tuple[tuple[float, int], ...]  # of each post: the highest, and when
    usage: Usage | None
    bill: Bill
    reactive_known: bool

    @property
    def energy_kwh(self) -> float:
        return float(self.daily_kwh.sum())

    @property
    def missing_h(self) -> float:
        return float((self.quarters.source == MISSING).sum()) * HOURS_PER_QUARTER


@dataclass(frozen=True, slots=True)
class Ahead:
    """How an open month will end, by the load learned of the weeks before."""

    energy_kwh: float
    bill: Bill
    peak: PeakForecast
    error_kw: float


@dataclass(frozen=True, slots=True, eq=False)
class Energy:
    """All that the report says of one meter and month."""

    meter: Meter
    price: Price
    from_ms: int
    to_ms: int
    month: Month
    before: Month | None  # as many days of the month before
    ahead: Ahead | None
    contract: tuple[DemandPrice, ...]
    heat_kw: Floats  # (24, days)
    typical_kw: Floats  # (2, 24): working days, the others
    import_kwh: float  # by the meter's counter; NaN without
    export_kwh: float
    resets_ms: tuple[int, ...]

    @property
    def is_open(self) -> bool:
        return self.month.until_ms < self.to_ms


class Gathering:
    """What is kept of the readings of one meter while they pass."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.power = IntervalSeries(QUARTER_MS, 1)
        self.reactive = IntervalSeries(QUARTER_MS, 1)
        self.counters = {"import_wh": CounterSeries(), "export_wh": CounterSeries()}
        self.last_ms = 0

    def take(self, part: Part) -> None:
        """One part of the history."""
        pace_ms = pace(part).real_ms
        for name, series in (("active_power_w", self.power), ("reactive_power_var", self.reactive)):
            values = matrix(part, getattr(self._meter, name), added=True)
            if values is not None:
                series.take(part.group, part.time_ms, values, pace_ms)
                self._seen(part, values)
        for name, counter in self.counters.items():
            values = matrix(part, getattr(self._meter, name), added=True)
            if values is not None:
                counter.take(part.group, part.time_ms, values[:, 0])
                self._seen(part, values)

    def _seen(self, part: Part, values: Floats) -> None:
        known = np.flatnonzero(~np.isnan(values[:, 0]))
        if known.size:
            self.last_ms = max(self.last_ms, int(part.time_ms[known[-1]]))

    def quarters(self, from_ms: int, to_ms: int) -> Quarters:
        """Both ends on a quarter of an hour."""
        grid, reactive = self.power.on_grid(from_ms, to_ms), self.reactive.on_grid(from_ms, to_ms)
        edges = np.append(grid.start_ms, to_ms)
        counted_wh, is_spread = self.counters["import_wh"].between(edges)
        counted_kw = counted_wh / 1000 / HOURS_PER_QUARTER
        measured = np.asarray(grid.coverage[:, 0] >= COVERAGE_MIN, dtype=np.bool_)
        known = ~np.isnan(counted_kw)
        source = np.where(measured, MEASURED, np.where(known, np.where(is_spread, SPREAD, COUNTED), MISSING))
        power_kw = np.where(measured, grid.mean[:, 0] / 1000, counted_kw)
        kvar = np.where(reactive.coverage[:, 0] >= COVERAGE_MIN, reactive.mean[:, 0] / 1000, np.nan)
        return Quarters(from_ms, power_kw, kvar, source.astype(np.int64))


async def energy(
    readings: Readings,
    meter: Meter,
    month: tuple[int, int],
    price: Price,
    zone: tzinfo,
    *,
    now_ms: int,
    progress: Progress = lambda share: None,
) -> Energy:
    """Year and month (1 to 12) of `meter`. NoReadings: it gave no power and no energy then."""
    from_ms, to_ms = month_ms(*month, zone)
    before_ms = month_ms(*_month_before(month), zone)[0]
    gathering = Gathering(meter)
    # An async generator of the store holds a connection: it is closed however we leave.
    async with aclosing(readings.columns(meter.ids(*NAMES), before_ms, to_ms)) as parts:  # type: ignore[type-var]
        async for part in parts:
            gathering.take(part)
            progress((int(part.time_ms[-1]) - before_ms) / (to_ms - before_ms))
    if gathering.last_ms < from_ms:
        raise NoReadings(f"{meter.device.name}: no power and no energy is stored of this month")
    until_ms = min(to_ms, _quarter_after(min(now_ms, gathering.last_ms)) if now_ms < to_ms else to_ms)
    whole = gathering.quarters(before_ms, until_ms)
    this = _month(whole.cut(from_ms, until_ms), price, zone, meter)
    before_to_ms = min(before_ms + (until_ms - from_ms), from_ms) if until_ms < to_ms else from_ms
    earlier = whole.cut(before_ms, before_to_ms)
    counted = {name: _sum(each, from_ms, until_ms) for name, each in gathering.counters.items()}
    return Energy(
        meter=meter,
        price=price,
        from_ms=from_ms,
        to_ms=to_ms,
        month=this,
        before=_month(earlier, price, zone, meter) if (earlier.source != MISSING).any() else None,
        ahead=_ahead(whole, this, price, zone, to_ms) if until_ms < to_ms else None,
        contract=demand_prices(price.tariff, date_of(int(this.days[-1]))) if price.tariff else (),
        heat_kw=_heat(this.quarters, this.days, zone),
        typical_kw=_typical(this.quarters, price, zone),
        import_kwh=counted["import_wh"],
        export_kwh=counted["export_wh"],
        resets_ms=tuple(
            each for each in gathering.counters["import_wh"].resets_ms if from_ms <= each < until_ms
        ),
    )


def _month_before(month: tuple[int, int]) -> tuple[int, int]:
    return (month[0] - 1, 12) if month[1] == 1 else (month[0], month[1] - 1)


def _quarter_after(time_ms: int) -> int:
    return (time_ms // QUARTER_MS + 1) * QUARTER_MS


def _sum(counter: CounterSeries, from_ms: int, to_ms: int) -> float:
    """kWh of the whole time, as far as it was seen."""
    edges = np.arange(from_ms, to_ms + 1, QUARTER_MS)
    counted, _ = counter.between(edges)
    return float(np.nansum(counted)) / 1000 if np.isfinite(counted).any() else np.nan


def _month(quarters: Quarters, price: Price, zone: tzinfo, meter: Meter) -> Month:
    start_ms, power = quarters.start_ms, quarters.power_kw
    tariff = price.tariff
    local = local_ms(start_ms, zone)
    days, row = np.unique(local // DAY_MS, return_inverse=True)
    posts = post_codes(tariff, start_ms) if tariff else np.zeros(power.size, dtype=np.int64)
    drawn = np.maximum(np.nan_to_num(power), 0) * HOURS_PER_QUARTER
    daily = np.zeros((days.size, 3))
    np.add.at(daily, (row, posts), drawn)
    reactive_known = bool(meter.reactive_power_var) and not np.isnan(quarters.reactive_kvar).all()
    used = None
    if tariff:
        used = usage(tariff, quarters.from_ms, power, quarters.reactive_kvar if reactive_known else None)
    until_ms = quarters.from_ms + power.size * QUARTER_MS
    return Month(
        quarters.from_ms,
        until_ms,
        quarters,
        posts,
        days,
        daily,
        demand(start_ms, power),
        tuple(_peak(start_ms, np.where(posts == post, power, np.nan)) for post in range(3)),
        used,
        bill(tariff, used) if tariff and used else _flat(price.brl_kwh, daily, days),
        reactive_known,
    )


def _peak(start_ms: Ints, power_kw: Floats) -> tuple[float, int]:
    if np.isnan(power_kw).all():
        return np.nan, 0
    at = int(np.nanargmax(power_kw))
    return float(power_kw[at]), int(start_ms[at])


def _flat(brl_kwh: float, daily_kwh: Floats, days: Ints) -> Bill:
    """The bill of one price at all hours."""
    energy_kwh = float(daily_kwh.sum())
    item = Item("energy", "", energy_kwh, "kWh", brl_kwh, energy_kwh * brl_kwh)
    return Bill("", date_of(int(days[0])), date_of(int(days[-1])), (item,), ("flat_price",))


def _heat(quarters: Quarters, days: Ints, zone: tzinfo) -> Floats:
    """(24, days): mean kW of each hour of the wall clock; an hour that comes twice is the mean of both."""
    local = local_ms(quarters.start_ms, zone)
    hour = minute_of_day(local) // 60
    row = np.searchsorted(days, local // DAY_MS)
    known = ~np.isnan(quarters.power_kw)
    total, count = np.zeros((24, days.size)), np.zeros((24, days.size))
    np.add.at(total, (hour[known], row[known]), quarters.power_kw[known])
    np.add.at(count, (hour[known], row[known]), 1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count, dtype=np.float64)


def _typical(quarters: Quarters, price: Price, zone: tzinfo) -> Floats:
    """(2, 24): mean kW by hour, of working days and of the others."""
    slots = week_slots(quarters.start_ms, zone, _holidays(quarters.start_ms, price, zone))
    free = (slots >= 5 * 24).astype(np.int64)
    known = ~np.isnan(quarters.power_kw)
    total, count = np.zeros((2, 24)), np.zeros((2, 24))
    np.add.at(total, (free[known], slots[known] % 24), quarters.power_kw[known])
    np.add.at(count, (free[known], slots[known] % 24), 1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count, dtype=np.float64)


def _holidays(times_ms: Ints, price: Price, zone: tzinfo) -> frozenset[date]:
    if price.tariff is None or not times_ms.size:
        return frozenset()
    ends = local_ms(times_ms[[0, -1]], zone) // DAY_MS
    years = {date_of(int(each)).year for each in ends}
    return frozenset().union(*(holiday_dates(price.tariff.file.holidays, year) for year in years))


# ---------------------------------------------------------------- the rest of an open month


def _ahead(whole: Quarters, this: Month, price: Price, zone: tzinfo, to_ms: int) -> Ahead | None:
    """None where less than two weeks are known."""
    begin_ms = whole.from_ms + -whole.from_ms % HOUR_MS
    now_ms = this.until_ms - this.until_ms % HOUR_MS
    hourly_kw = _hourly(whole, begin_ms, now_ms)
    hours_ms = begin_ms + np.arange(hourly_kw.size, dtype=np.int64) * HOUR_MS
    first = int(np.argmax(~np.isnan(hourly_kw)))
    hourly_kw, hours_ms = hourly_kw[first:], hours_ms[first:]
    rest_ms = np.arange(now_ms, to_ms, HOUR_MS, dtype=np.int64)
    free = _holidays(np.concatenate([hours_ms, rest_ms]), price, zone)
    slots, rest_slots = week_slots(hours_ms, zone, free), week_slots(rest_ms, zone, free)
    model = fit_load(hourly_kw, slots) if hourly_kw.size >= HOURS_MIN else None
    if model is None or not rest_ms.size:
        return None
    rest_kw = forecast_day_kw(model, rest_slots, hourly_kw[-24:], slots[-24:])
    quarters_kw = np.repeat(rest_kw, QUARTERS_PER_HOUR)[(this.until_ms - now_ms) // QUARTER_MS :]
    energy_kwh = this.energy_kwh + float(quarters_kw.sum()) * HOURS_PER_QUARTER
    peak = _peak_ahead(whole, this, model, Hours(hours_ms, slots), Hours(rest_ms, rest_slots), zone=zone)
    return Ahead(energy_kwh, _bill_ahead(this, price, quarters_kw, energy_kwh), peak, model.error_kw)


def _hourly(quarters: Quarters, begin_ms: int, end_ms: int) -> Floats:
    power = quarters.cut(begin_ms, end_ms).power_kw.reshape(-1, QUARTERS_PER_HOUR)
    return np.asarray(power.mean(axis=1), dtype=np.float64)


def _bill_ahead(this: Month, price: Price, quarters_kw: Floats, energy_kwh: float) -> Bill:
    if price.tariff is None or this.usage is None:
        days = np.array([this.days[0], this.days[-1]])
        return _flat(price.brl_kwh, np.array([[energy_kwh]]), days)
    rest_kvar = np.zeros(quarters_kw.size) if this.reactive_known else None
    return forecast_bill(price.tariff, this.usage, this.until_ms, quarters_kw, rest_kvar)


def _peak_ahead(
    whole: Quarters, this: Month, model: LoadModel, past: Hours, rest: Hours, *, zone: tzinfo
) -> PeakForecast:
    """By day: what the highest quarter was beside the highest hour that was to be expected."""
    past_days, rest_days = (local_ms(each.start_ms, zone) // DAY_MS for each in (past, rest))
    quarter_days = local_ms(whole.start_ms, zone) // DAY_MS
    numbers = np.unique(past_days)
    peaks = np.array([_most(whole.power_kw[quarter_days == number]) for number in numbers])
    expected = expected_kw(model, past.slots)
    likely = np.array([_most(expected[past_days == number]) for number in numbers])
    ahead = expected_kw(model, rest.slots)
    rest_likely = np.array([_most(ahead[rest_days == number]) for number in np.unique(rest_days)])
    so_far = this.demand.peak_kw
    return forecast_peak(0.0 if np.isnan(so_far) else so_far, peaks, likely, rest_likely)


def _most(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else np.nan
