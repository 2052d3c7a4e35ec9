"""Local clocks of many instants at once: where UTC meets posts, weekdays and calendar months.

Rules: times are Unix milliseconds UTC, as arrays. A "local" time here is that of the wall clock, as
milliseconds since 1970-01-01 00:00 on that clock: good for weekday and hour, never for a difference.
Leap seconds do not exist, as in Unix time.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

QUARTER_MS = 900_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def local_ms(times_ms: Ints, zone: tzinfo) -> Ints:
    """The wall clock in `zone` at each instant. Offsets are looked up once a quarter of an hour:
    no zone of today changes between two quarters."""
    quarters, at = np.unique(np.asarray(times_ms, dtype=np.int64) // QUARTER_MS, return_inverse=True)
    offsets_ms = np.array([_offset_ms(int(each) * QUARTER_MS, zone) for each in quarters], dtype=np.int64)
    return np.asarray(times_ms + offsets_ms[at], dtype=np.int64) if quarters.size else quarters


def _offset_ms(time_ms: int, zone: tzinfo) -> int:
    offset = datetime.fromtimestamp(time_ms / 1000, zone).utcoffset() or timedelta()
    return int(offset.total_seconds() * 1000)


def minute_of_day(local: Ints) -> Ints:
    """Minutes since local midnight, 0 to 1439."""
    return local % DAY_MS // 60_000


def weekday(local: Ints) -> Ints:
    """0 is Monday, 6 is Sunday."""
    return (local // DAY_MS + EPOCH_WEEKDAY) % 7


def hour_of_week(times_ms: Ints, zone: tzinfo) -> Ints:
    """0 (Monday 00 h) to 167 (Sunday 23 h) on the wall clock."""
    local = local_ms(times_ms, zone)
    return weekday(local) * 24 + minute_of_day(local) // 60


def day_number(day: date) -> int:
    """Days since 1970-01-01, comparable with `local // DAY_MS`."""
    return day.toordinal() - _EPOCH_ORDINAL


def date_of(number: int) -> date:
    """The inverse of `day_number`."""
    return date.fromordinal(number + _EPOCH_ORDINAL)


def midnight_ms(day: date, zone: tzinfo) -> int:
    """When `day` begins in `zone`. Where the clock skips midnight (Brazil until 2018), the offset before
    the change leads to the first instant after it, which is when that day began."""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def day_ms(day: date, zone: tzinfo) -> tuple[int, int]:
    """First instant of the local day and of the next: 23, 24 or 25 hours apart."""
    return midnight_ms(day, zone), midnight_ms(day + timedelta(days=1), zone)


def month_ms(year: int, month: int, zone: tzinfo) -> tuple[int, int]:
    """First instant of the local calendar month and of the next."""
    following = date(year + month // 12, month % 12 + 1, 1)
    return midnight_ms(date(year, month, 1), zone), midnight_ms(following, zone)


def week_slots(times_ms: Ints, zone: tzinfo, free_days: frozenset[date] = frozenset()) -> Ints:
    """`hour_of_week`, with the hours of `free_days` (holidays) taken for those of a Sunday."""
    local = local_ms(times_ms, zone)
    day = weekday(local)
    if free_days:
        numbers = np.array(sorted(map(day_number, free_days)), dtype=np.int64)
        day = np.where(np.isin(local // DAY_MS, numbers), 6, day)
    return np.asarray(day * 24 + minute_of_day(local) // 60, dtype=np.int64)
