"""Which days are priced like a Sunday.

The rule (ANEEL resolution 1000/2021): Saturdays, Sundays, the national holidays, Carnival Tuesday, Good
Friday and Corpus Christi. The `holidays` package knows the national and the states' days of each year;
what a city or a distributor adds stands in the tariff file.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from dateutil.easter import easter

from agent.localtime import DAY_MS, EPOCH_WEEKDAY, Bools, Ints, date_of, day_number
from agent.tariff.brazil import holidays
from agent.tariff.options import HolidayOptions

YEARS_KEPT_MAX = 64
_CARNIVAL_DAYS, _CORPUS_CHRISTI_DAYS = -47, 60  # from Easter Sunday


def holiday_dates(options: HolidayOptions, year: int) -> frozenset[date]:
    """The holidays of `year` on which a weekday has no peak."""
    extra = {day for day in options.extra if day.year == year}
    return _public(options.state, options.carnival, options.corpus_christi, year) | extra


@lru_cache(maxsize=YEARS_KEPT_MAX)
def _public(state: str, carnival: bool, corpus_christi: bool, year: int) -> frozenset[date]:
    days = set(holidays.country_holidays("BR", subdiv=state or None, years=year))
    sunday = easter(year)
    if carnival:
        days.add(sunday + timedelta(days=_CARNIVAL_DAYS))
    if corpus_christi:
        days.add(sunday + timedelta(days=_CORPUS_CHRISTI_DAYS))
    return frozenset(days)


def is_working_day(local: Ints, options: HolidayOptions) -> Bools:
    """Whether each wall clock time (milliseconds) falls on a Monday to Friday that is no holiday."""
    days, at = np.unique(local // DAY_MS, return_inverse=True)
    free = {day_number(day) for year in _years(days) for day in holiday_dates(options, year)}
    working = [(int(day) + EPOCH_WEEKDAY) % 7 < 5 and int(day) not in free for day in days]
    return np.array(working, dtype=np.bool_)[at]


def _years(days: Ints) -> range:
    return range(date_of(int(days[0])).year, date_of(int(days[-1])).year + 1) if days.size else range(0)
