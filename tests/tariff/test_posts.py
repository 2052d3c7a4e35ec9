from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from agent.localtime import day_ms, hour_of_week, local_ms, midnight_ms, month_ms
from agent.tariff.brazil import holidays
from agent.tariff.calendar import holiday_dates
from agent.tariff.options import STATES, HolidayOptions
from agent.tariff.posts import Post, post_codes
from tests.tariff.files import BRANCA, FLAT, SAO_PAULO, VERDE, at, quarters, tariff

# What has no peak in 2026, written from the calendar, not from the package that is tested.
FREE_2026 = {
    date(2026, 1, 1),
    date(2026, 2, 17),  # Carnival Tuesday
    date(2026, 4, 3),  # Good Friday
    date(2026, 4, 21),
    date(2026, 5, 1),
    date(2026, 6, 4),  # Corpus Christi
    date(2026, 9, 7),
    date(2026, 10, 12),
    date(2026, 11, 2),
    date(2026, 11, 15),
    date(2026, 11, 20),
    date(2026, 12, 25),
}


def expected_post(when: datetime, free: set[date]) -> Post:
    """The rule again, one instant at a time, from the words of the tariff."""
    if when.isoweekday() > 5 or when.date() in free:
        return Post.OFF_PEAK
    clock = (when.hour, when.minute)
    if (18, 0) <= clock < (21, 0):
        return Post.PEAK
    if (17, 0) <= clock < (18, 0) or (21, 0) <= clock < (22, 0):
        return Post.INTERMEDIATE
    return Post.OFF_PEAK


def test_every_quarter_of_a_year(tmp_path: Path) -> None:
    times_ms = quarters(at(2026, 1, 1), at(2027, 1, 1))
    codes = post_codes(tariff(BRANCA, tmp_path), times_ms)
    expected = [
        expected_post(datetime.fromtimestamp(each / 1000, SAO_PAULO), FREE_2026) for each in times_ms.tolist()
    ]
    assert codes.tolist() == expected


@pytest.mark.parametrize(
    ("hour", "minute", "post"),
    [
        (16, 59, Post.OFF_PEAK),
        (17, 0, Post.INTERMEDIATE),
        (17, 59, Post.INTERMEDIATE),
        (18, 0, Post.PEAK),
        (20, 59, Post.PEAK),
        (21, 0, Post.INTERMEDIATE),
        (22, 0, Post.OFF_PEAK),
    ],
)
def test_the_edges_of_a_wednesday(hour: int, minute: int, post: Post, tmp_path: Path) -> None:
    time_ms = at(2026, 3, 11, hour, minute)
    assert post_codes(tariff(BRANCA, tmp_path), np.array([time_ms])).tolist() == [post]


def test_holidays_are_a_choice(tmp_path: Path) -> None:
    assert date(2026, 7, 9) not in holiday_dates(HolidayOptions(), 2026)
    assert date(2026, 7, 9) in holiday_dates(HolidayOptions(state="SP"), 2026)
    assert date(2026, 2, 17) not in holiday_dates(HolidayOptions(carnival=False), 2026)
    assert date(2026, 6, 4) not in holiday_dates(HolidayOptions(corpus_christi=False), 2026)
    text = BRANCA.replace("flags = false", "flags = false\nholidays.extra = [2026-03-11]")
    codes = post_codes(tariff(text, tmp_path), np.array([at(2026, 3, 11, 19), at(2026, 3, 12, 19)]))
    assert codes.tolist() == [Post.OFF_PEAK, Post.PEAK]


@pytest.mark.parametrize(
    ("day", "hours", "off_peak_quarters"),
    [
        (date(2017, 10, 15), 23, 92),  # a Sunday whose midnight does not exist
        (date(2018, 2, 17), 25, 100),  # a Saturday that has 23 h twice
        (date(2018, 2, 19), 24, 76),
    ],
)
def test_days_on_which_the_clock_changes(
    day: date, hours: int, off_peak_quarters: int, tmp_path: Path
) -> None:
    from_ms, to_ms = day_ms(day, SAO_PAULO)
    assert to_ms - from_ms == hours * 3_600_000
    codes = post_codes(tariff(BRANCA, tmp_path), quarters(from_ms, to_ms))
    assert Counter(codes.tolist())[Post.OFF_PEAK] == off_peak_quarters


def test_peak_moves_with_the_clock_where_it_still_changes(tmp_path: Path) -> None:
    text = VERDE.replace("flags = false", 'flags = false\ntimezone = "America/New_York"')
    zoned = tariff(text, tmp_path)
    winter, summer = (
        round(datetime(2026, month, 14, 19, tzinfo=ZoneInfo("America/New_York")).timestamp() * 1000)
        for month in (1, 7)
    )
    assert (winter % 86_400_000, summer % 86_400_000) == (0, 23 * 3_600_000)
    assert post_codes(zoned, np.array([winter, summer])).tolist() == [Post.PEAK, Post.PEAK]


@pytest.mark.parametrize(
    ("zone", "utc_hour"), [("America/Manaus", 22), ("America/Rio_Branco", 23), ("America/Noronha", 20)]
)
def test_zones(zone: str, utc_hour: int, tmp_path: Path) -> None:
    zoned = tariff(VERDE.replace("flags = false", f'flags = false\ntimezone = "{zone}"'), tmp_path)
    start_ms = round(datetime(2026, 3, 11, utc_hour, tzinfo=UTC).timestamp() * 1000)
    codes = post_codes(zoned, np.array([start_ms - 1, start_ms, start_ms + 3 * 3_600_000]))
    assert codes.tolist() == [Post.OFF_PEAK, Post.PEAK, Post.OFF_PEAK]


def test_the_flat_tariff_has_one_post(tmp_path: Path) -> None:
    times_ms = quarters(at(2026, 3, 11), at(2026, 3, 12))
    assert set(post_codes(tariff(FLAT, tmp_path), times_ms).tolist()) == {Post.OFF_PEAK}


def test_a_new_version_may_move_the_hours(tmp_path: Path) -> None:
    later = VERDE[VERDE.index("[[version]]") : VERDE.index("[[contract]]")]
    later = later.replace("2017-01-01", "2026-03-12").replace('"18:00", "21:00"', '"17:30", "20:30"')
    moved = tariff(VERDE.replace("[[contract]]", later + "[[contract]]"), tmp_path)
    times_ms = np.array([at(2026, 3, 11, 17, 30), at(2026, 3, 12, 17, 30), at(2026, 3, 12, 20, 30)])
    assert post_codes(moved, times_ms).tolist() == [Post.OFF_PEAK, Post.PEAK, Post.OFF_PEAK]


def test_local_clock_against_datetime() -> None:
    times_ms = quarters(at(2018, 10, 1), at(2019, 3, 1))
    for each, local, hour in zip(
        times_ms.tolist(),
        local_ms(times_ms, SAO_PAULO).tolist(),
        hour_of_week(times_ms, SAO_PAULO).tolist(),
        strict=True,
    ):
        wall = datetime.fromtimestamp(each / 1000, SAO_PAULO).replace(tzinfo=UTC)
        assert datetime.fromtimestamp(local / 1000, UTC) == wall
        assert hour == wall.weekday() * 24 + wall.hour


def test_months_and_midnights() -> None:
    first_ms, next_ms = month_ms(2018, 11, SAO_PAULO)  # the clock went forward on the 4th
    assert next_ms - first_ms == 30 * 86_400_000 - 3_600_000
    assert month_ms(2026, 12, SAO_PAULO)[1] == at(2027, 1, 1)
    skipped = datetime.fromtimestamp(midnight_ms(date(2018, 11, 4), SAO_PAULO) / 1000, SAO_PAULO)
    assert (skipped.hour, (skipped - timedelta(milliseconds=1)).day) == (1, 4)
    assert local_ms(np.array([], dtype=np.int64), SAO_PAULO).size == 0


def test_the_states_are_those_whose_holidays_are_known() -> None:
    assert set(holidays.country_holidays("BR").subdivisions) == STATES
