"""The almanac made: holidays, tariff and hours of a site, on its wall clock. numpy comes with it."""

from __future__ import annotations

from datetime import tzinfo

import numpy as np

from agent.control.room import HORIZON, QUARTER_MS, QUARTERS_PER_DAY
from agent.control.site.calendar import Calendar, Quarters
from agent.control.site.outlooks import Almanac, DemandHours, Terms
from agent.localtime import DAY_MS, Ints, date_of, local_ms, minute_of_day, weekday
from agent.tariff.calendar import holiday_dates, is_working_day
from agent.tariff.demand import demand_terms
from agent.tariff.options import HolidayOptions
from agent.tariff.prices import prices

STEPS = 2 * HORIZON
"""A day's outlooks from one almanac."""
STEP_S = 900


def almanac(terms: Terms, first: int) -> Almanac:
    """`STEPS` quarters, the first of them the number `first` since 1970."""
    first_ms = first * QUARTER_MS
    times_ms = np.asarray(first_ms + np.arange(STEPS, dtype=np.int64) * QUARTER_MS)
    local = local_ms(times_ms, terms.zone)
    free = HolidayOptions(state=terms.holiday_state, extra=list(terms.holidays_extra))
    kind = np.where(is_working_day(local, free), 0, QUARTERS_PER_DAY)
    price = (
        np.full(STEPS, terms.price_brl_kwh)
        if terms.tariff is None
        else prices(terms.tariff, first_ms, STEPS, STEP_S)
    )
    return Almanac(
        first,
        tuple((kind + minute_of_day(local) // 15).tolist()),
        tuple(np.round(price, 6).tolist()),
        {room: occupied(calendar, times_ms, terms.zone, free) for room, calendar in terms.calendars.items()},
        _dearest(terms, first_ms),
    )


def _dearest(terms: Terms, first_ms: int) -> DemandHours | None:
    """The dearest of the tariff's demand charges."""
    found = () if terms.tariff is None else demand_terms(terms.tariff, first_ms, STEPS, STEP_S)
    dearest = max(found, key=lambda term: term.price_brl_kw, default=None)
    if dearest is None:
        return None
    return DemandHours(dearest.price_brl_kw, 1000 * dearest.contracted_kw, tuple(dearest.mask.tolist()))


def occupied(calendar: Calendar, times_ms: Ints, zone: tzinfo, free: HolidayOptions) -> tuple[bool, ...]:
    """Whether the room is occupied at each of `times_ms` (Unix ms)."""
    local = local_ms(times_ms, zone)
    quarters = (minute_of_day(local) // 15).tolist()
    kinds = zip((local // DAY_MS).tolist(), weekday(local).tolist(), quarters, strict=True)
    return tuple(quarter in _of_day(calendar, day, week, free) for day, week, quarter in kinds)


def _of_day(calendar: Calendar, day: int, week: int, free: HolidayOptions) -> Quarters:
    on = date_of(day)
    return calendar.holidays if on in holiday_dates(free, on.year) else calendar.days[week]
