"""What a room teaches: how its sensor lags, what a unit at its limit lacks, what the margin asks for."""

import math

import pytest

from agent.control import tuning
from agent.control.room import HORIZON, Outlook, Room, RoomSeen, Seen, Unit
from agent.control.state import RoomState, UnitState
from agent.control.wishes import SHORT

MINUTE = 60_000
ROOM = Room("room", (Unit("ac", rated_w=1000.0),))
OPEN = Outlook(48, (True,) * HORIZON, (0.85,) * HORIZON)
SHUT = Outlook(72, (False,) * HORIZON, (0.85,) * HORIZON)


def cycling(lag_min: float, minutes: int = 600) -> RoomState:
    """A unit that runs 5 of 8 minutes, a room that swings by 3 K, and a sensor that lags behind it."""
    state, air, wall = RoomState(), 25.0, 25.0
    for second in range(0, minutes * 60, 10):
        runs = second % 480 < 300
        air += (-0.6 if runs else 1.0) / 6
        wall = air if lag_min == 0 else wall + (1 - math.exp(-1 / 6 / lag_min)) * (air - wall)
        if second % 60 == 0:
            tuning.follow_lag(state, wall, 1000.0 if runs else 30.0, second * 1000, 1000.0)
    return state


def test_a_lag_is_heard_in_the_cycles() -> None:
    none, short, long = (cycling(lag).lag_min for lag in (0.0, 2.0, 4.0))
    assert none < 1.0 < short < long
    assert 2.5 < long < 6.0


def test_a_start_that_is_no_cycle_teaches_no_lag() -> None:
    state = RoomState()
    for minute in range(600):
        tuning.follow_lag(state, 25 + minute % 300 / 100, 1000.0 * (minute % 300 < 150), minute * MINUTE, 1e3)
    assert state.lag_min == RoomState().lag_min


def test_without_a_meter_the_lag_stays() -> None:
    state = RoomState()
    tuning.follow_lag(state, 25.0, None, 0, 1000.0)
    assert (state.lag_min, state.edge_ms) == (RoomState().lag_min, None)


@pytest.mark.parametrize(
    ("temps", "air_c"),
    [
        ((), 25.0),
        ((25.0,) * 5, 25.0),
        ((24.6, 24.7, 24.8, 24.9, 25.0), 24.9 + 3 * 0.07),
        ((25.4, 25.3, 25.2, 25.1, 25.0), 25.1),
    ],
)
def test_rising_air_is_warmer_than_its_sensor(temps: tuple[float, ...], air_c: float) -> None:
    assert tuning.air_c(RoomState(temps=temps, lag_min=2.0), 25.0) == pytest.approx(air_c)


def day(state: RoomState, temp_c: float, *, limit: bool) -> None:
    """An occupied day of eight hours at one temperature."""
    for minute in range(480):
        now_ms = minute * MINUTE
        tuning.daily(ROOM, state, OPEN, temp_c=temp_c, now_ms=now_ms, elapsed_s=60.0, limit=limit)
    tuning.daily(ROOM, state, SHUT, temp_c=temp_c, now_ms=480 * MINUTE, elapsed_s=60.0)


def test_an_odd_day_is_answered_before_it_is_over() -> None:
    """Three hours at 0.3 K too much are answered, and the night adds only what is left."""
    state = RoomState()
    by_hour = []
    for minute in range(360):
        if minute % 60 == 0:
            by_hour.append(state.margin_k)
        warm = 25.3 if minute < 180 else 24.0
        tuning.daily(ROOM, state, OPEN, temp_c=warm, now_ms=minute * MINUTE, elapsed_s=60.0)
    assert by_hour[1] == RoomState().margin_k, "the beginning is the head start's matter"
    assert by_hour[1] < by_hour[2] < by_hour[3] == by_hour[5]
    missed_kh, so_far = state.missed_kh, state.margin_k
    tuning.daily(ROOM, state, SHUT, temp_c=24.0, now_ms=360 * MINUTE, elapsed_s=60.0)
    assert state.margin_k - so_far < tuning.ANSWER_K_PER_KH * tuning.ANSWERED_KH
    assert state.margin_k == pytest.approx(RoomState().margin_k + 0.02 + 0.7 * missed_kh)


def test_a_day_with_the_window_open_costs_a_kelvin_of_margin_at_most() -> None:
    state = RoomState()
    day(state, 29.0, limit=False)
    assert state.missed_kh > 20
    assert state.margin_k == pytest.approx(RoomState().margin_k + tuning.DAY_K_MAX)


def test_what_is_missed_at_the_limit_is_put_in_reserve() -> None:
    able, unable = RoomState(), RoomState()
    day(able, 25.3, limit=False)
    day(unable, 25.3, limit=True)
    assert able.reserve == 0 < unable.reserve
    assert able.margin_k > unable.margin_k > RoomState().margin_k
    kept = unable.reserve
    day(unable, 24.0, limit=False)
    assert 0.9 * kept < unable.reserve < kept, "a mild day says little"
    unable.ahead_of = SHORT
    kept, unable.margin_k = unable.reserve, 1.5
    day(unable, 23.0, limit=False)
    assert unable.reserve < 0.8 * kept, "a plan that led and cooled far too much"
    assert unable.margin_k == pytest.approx(1.5 - 0.25 * 1.0), "no more of it than is much"
    for _ in range(40):
        day(unable, 28.0, limit=True)
    assert unable.reserve <= tuning.RESERVE_MAX


DAY_MS = 86_400_000


def warm_days(state: RoomState, count: int, late_kh: float, missed_kh: float) -> None:
    """Occupied days of eight hours that miss so much while they begin, and later."""
    first = round(state.week_ms / DAY_MS)
    for at in range(first, first + count):
        for minute in range(480):
            asked_kh, share_h = (late_kh, 0.75) if minute < 45 else (missed_kh, 7.25)
            temp_c = ROOM.band_c[1] + asked_kh / share_h - (0.0 if asked_kh else 1.0)
            now_ms = at * DAY_MS + minute * MINUTE
            tuning.daily(ROOM, state, OPEN, temp_c=temp_c, now_ms=now_ms, elapsed_s=60.0)
        tuning.daily(ROOM, state, SHUT, temp_c=24.0, now_ms=at * DAY_MS + 480 * MINUTE, elapsed_s=60.0)


def test_days_that_are_well_each_may_not_add_up_to_a_week_that_is_not() -> None:
    """0.06 K.h a day is little; seven of them are more than the week may have."""
    state = RoomState()
    warm_days(state, 2, 0.03, 0.03)
    before = (state.margin_k, state.extra_lead_s)
    assert before == (RoomState().margin_k, RoomState().extra_lead_s), "one or two are no reason to cool"
    warm_days(state, 5, 0.03, 0.03)
    assert state.margin_k > before[0]
    assert state.extra_lead_s > before[1]


def test_while_the_week_is_used_up_nothing_is_loosened_and_then_it_is() -> None:
    state = RoomState(week_kh=2 * tuning.WEEK_KH)
    warm_days(state, 3, 0.0, 0.0)
    assert state.margin_k == RoomState().margin_k
    warm_days(state, 6, 0.0, 0.0)
    assert state.margin_k < RoomState().margin_k


def test_one_dreadful_day_is_not_paid_for_long() -> None:
    state = RoomState()
    warm_days(state, 1, 2.0, 5.0)
    assert state.week_kh == 2 * tuning.WEEK_KH


def holding(temps: list[float], opened_ms: int | None = None) -> float:
    """The offset after these minutes at 23 °C, held since long ago; it was 0.3 K."""
    units = {"ac": UnitState(on=True, setpoint_c=23.0, since_ms=-10_000_000, setpoint_ms=-10_000_000)}
    state = RoomState(units=units, opened_ms=opened_ms, offset_ms=0)
    for minute, temp_c in enumerate(temps):
        tuning.remember(state, temp_c, minute * MINUTE)
        tuning.follow_offset(ROOM, state, RoomSeen(power_w=Seen(500.0)), minute * MINUTE, 1000.0)
    return state.offset_k


def test_a_room_on_its_way_down_has_no_peak_to_learn_from() -> None:
    falling = [26.0 - 0.05 * minute for minute in range(40)]
    assert holding([24.0] * 40) > 0.9
    assert holding(falling) == RoomState().offset_k
    cycling_ = [24.0 + 0.4 * math.sin(minute / 13 * 2 * math.pi) for minute in range(40)]
    assert holding(cycling_) > 1.2, "a unit that cycles is not falling"


def test_what_the_head_start_answers_the_set_point_does_not() -> None:
    assert holding([24.0] * 40, opened_ms=0) == RoomState().offset_k
    assert holding([24.0] * 40, opened_ms=-3_600_000) > 0.9


@pytest.mark.parametrize("metered", [True, False])
def test_at_the_limit_only_after_twenty_minutes(metered: bool) -> None:
    state = RoomState(temps=(26.0,) * 5, units={"ac": UnitState(on=True, setpoint_c=22.0)})
    seen = RoomSeen(power_w=Seen(990.0) if metered else None)
    said = [tuning.at_limit(state, seen, minute * MINUTE, 1000.0) for minute in range(22)]
    assert (any(said[:20]), said[21]) == (False, True)
    state.temps = (22.5,) * 5
    idle = RoomSeen(power_w=Seen(300.0) if metered else None)
    assert not tuning.at_limit(state, idle, 22 * MINUTE, 1000.0)


def test_a_room_that_never_closes_learns_from_day_to_day() -> None:
    """Once its comfort bar was missed for ever: margin and reserve were tuned only where a day ended."""
    state = RoomState()
    extra_s, margins = state.extra_lead_s, []
    for minute in range(4 * 1440):
        now_ms, warm_c = 10**12 + minute * MINUTE, ROOM.band_c[1] + 0.01
        tuning.daily(ROOM, state, OPEN, temp_c=warm_c, now_ms=now_ms, elapsed_s=60.0)
        if minute % 1440 == 0:
            margins.append(state.margin_k)
    assert margins[0] < margins[1] < margins[2] < margins[3]
    assert state.missed_kh < 0.25, "of one day"
    for minute in range(4 * 1440, 20 * 1440):
        now_ms, cool_c = 10**12 + minute * MINUTE, ROOM.band_c[1] - 0.3
        tuning.daily(ROOM, state, OPEN, temp_c=cool_c, now_ms=now_ms, elapsed_s=60.0)
    assert margins[0] <= state.margin_k < margins[3], "less again, but never less than at first"
    assert state.extra_lead_s == extra_s, "there was no start to learn from"
