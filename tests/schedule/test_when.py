"""When jobs are due: days with 23 and 25 hours, missed runs, clocks that jump. The days are real ones."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.schedule.when import CATCH_UP_MAX, Cron, Every, Once, Schedule, due_ms

SAO_PAULO, BERLIN = ZoneInfo("America/Sao_Paulo"), ZoneInfo("Europe/Berlin")
HOUR_MS = 3_600_000


def ms(text: str, zone: ZoneInfo = SAO_PAULO, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000)


def coming(schedule: Schedule, start_ms: int, count: int, zone: ZoneInfo = SAO_PAULO) -> list[str]:
    """The next `count` on the wall clock, with its offset."""
    found = []
    for _ in range(count):
        next_ms = schedule.after(start_ms)
        assert next_ms is not None
        start_ms = next_ms
        found.append(f"{datetime.fromtimestamp(start_ms / 1000, zone):%d %H:%M%z}")
    return found


# In São Paulo 2018-11-04 began at 01:00, and 2018-02-17 had its last hour twice.
def test_a_daily_time_that_the_clock_skips_has_its_run_at_the_first_instant_after() -> None:
    daily = Cron("30 0 * * *", SAO_PAULO)
    assert coming(daily, ms("2018-11-03T12:00"), 3) == ["04 01:00-0200", "05 00:30-0200", "06 00:30-0200"]


def test_a_daily_time_that_comes_twice_has_its_run_the_first_time_only() -> None:
    daily = Cron("30 23 * * *", SAO_PAULO)
    assert coming(daily, ms("2018-02-16T12:00"), 3) == ["16 23:30-0200", "17 23:30-0200", "18 23:30-0300"]


def test_between_the_two_nothing_is_due() -> None:
    daily = Cron("30 23 * * *", SAO_PAULO)
    again = ms("2018-02-17T23:10", fold=1)  # the second 23:10
    assert coming(daily, again, 1) == ["18 23:30-0300"]


def test_several_skipped_times_are_one_run() -> None:
    often = Cron("*/15 0,5 * * *", SAO_PAULO)
    assert coming(often, ms("2018-11-03T12:00"), 2) == ["04 01:00-0200", "04 05:00-0200"]


def test_every_hour_follows_real_time() -> None:
    hourly = Cron("0 * * * *", SAO_PAULO)
    long_day = ["17 22:00-0200", "17 23:00-0200", "17 23:00-0300", "18 00:00-0300"]
    assert coming(hourly, ms("2018-02-17T21:30"), 4) == long_day
    short_day = ["03 23:00-0300", "04 01:00-0200"]
    assert coming(hourly, ms("2018-11-03T22:30"), 2) == short_day


CHANGES = [(SAO_PAULO, "2018-02-17T20:00"), (SAO_PAULO, "2018-11-03T20:00"), (BERLIN, "2026-10-25T00:00")]


@pytest.mark.parametrize(("zone", "start"), CHANGES)
@pytest.mark.parametrize("text", ["*/20 * * * *", "5,35 * * * *", "*/20 * * * fri-sun"])
def test_minutes_of_every_hour_are_even_on_such_days(text: str, zone: ZoneInfo, start: str) -> None:
    schedule, at_ms = Cron(text, zone), ms(start, zone)
    times = []
    for _ in range(15):
        next_ms = schedule.after(at_ms)
        assert next_ms is not None
        assert schedule.after(next_ms - 1) == next_ms
        times.append(next_ms)
        at_ms = next_ms
    gaps = {(late - early) // 60_000 for early, late in pairwise(times)}
    assert gaps == {30 if text.startswith("5") else 20}


@pytest.mark.parametrize(("day", "shown"), [("2026-03-28", "29 03:00+0200"), ("2026-10-24", "25 02:30+0200")])
def test_the_same_where_it_changes_at_two(day: str, shown: str) -> None:
    daily = Cron("30 2 * * *", BERLIN)
    assert coming(daily, ms(f"{day}T12:00", BERLIN), 1, BERLIN) == [shown]


@given(
    st.sampled_from(["30 0 * * *", "30 23 * * *", "0 2 * * *", "15 1 * * *", "30 2 * * *", "59 23 * * *"]),
    st.sampled_from(
        [(SAO_PAULO, "2018-10-25"), (SAO_PAULO, "2018-02-10"), (BERLIN, "2026-10-20"), (BERLIN, "2026-03-20")]
    ),
)
def test_every_day_has_one_daily_run(text: str, place: tuple[ZoneInfo, str]) -> None:
    zone, first = place
    start_ms = ms(f"{first}T00:00", zone) - 1
    days = [each[:2] for each in coming(Cron(text, zone), start_ms, 20, zone)]
    assert len(set(days)) == 20


def test_weekdays_have_names() -> None:
    with pytest.raises(ValueError, match="weekdays by name"):
        Cron("0 2 * * 1-5", SAO_PAULO)
    # 2026-11-20 is a Friday
    assert coming(Cron("0 2 * * mon-fri", SAO_PAULO), ms("2026-11-20T03:00"), 1) == ["23 02:00-0300"]


@pytest.mark.parametrize("text", ["", "* * * *", "61 * * * *", "a b c d e", "0 2 * * someday", "0 25 * * *"])
def test_what_is_no_cron_expression_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Cron(text, SAO_PAULO)


def test_a_day_that_never_comes_is_never() -> None:
    assert Cron("0 0 30 2 *", SAO_PAULO).after(ms("2026-01-01T00:00")) is None


def test_once_is_once() -> None:
    once = Once(datetime(2026, 11, 22, 2, 0), SAO_PAULO)  # noqa: DTZ001 - local, as the configuration has it
    at_ms = once.after(0)
    assert at_ms == ms("2026-11-22T02:00")
    assert once.after(at_ms) is None
    assert Once(datetime(2026, 11, 22, 5, 0, tzinfo=UTC), SAO_PAULO).after(0) == at_ms


def test_every_keeps_its_grid() -> None:
    assert Every(600).after(1_000_000) == 1_200_000
    assert Every(600).after(1_200_000) == 1_800_000


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("once", [3 * HOUR_MS]), ("all", [HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS]), ("skip", [])],
)
def test_missed_runs(missed: str, expected: list[int]) -> None:
    now_ms = 3 * HOUR_MS + 120_000
    assert due_ms(Every(3600), 0, now_ms, missed) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("missed", ["once", "all", "skip"])
def test_on_time_is_not_missed(missed: str) -> None:
    now_ms = HOUR_MS + 900
    assert due_ms(Every(3600), 900, now_ms, missed) == [HOUR_MS]  # type: ignore[arg-type]
    assert due_ms(Every(3600), HOUR_MS, now_ms, missed) == []  # type: ignore[arg-type]


def test_a_clock_that_jumps_ten_years_costs_no_time_and_a_bounded_number_of_runs() -> None:
    calls = 0

    class Counting:
        def after(self, time_ms: int) -> int | None:
            nonlocal calls
            calls += 1
            return Every(10).after(time_ms)

    now_ms = 10 * 365 * 24 * HOUR_MS
    assert due_ms(Counting(), 0, now_ms, "once") == [now_ms]
    assert len(due_ms(Counting(), 0, now_ms, "all")) == CATCH_UP_MAX
    assert calls < 1000
