"""What a room teaches from minute to minute and day to day, beside its model.

Rules: pure, small steps, every number bounded. The offset between room and set point follows while the unit
holds; the pace of cooling, the head start and the margin follow once a day, up quickly and down slowly. A
sensor on a wall lags behind the air: where it rises, the air is warmer than it says.
"""

from __future__ import annotations

import math

from agent.control.model import MISS_K_MAX, SURPRISE_K_MAX, SURPRISE_SHARE
from agent.control.planner import SHORT
from agent.control.room import Outlook, Room, RoomSeen
from agent.control.state import RoomState

TEMPS_MAX, GAP_MS = 40, 1_200_000
PEAK_MINUTES = 30
SLOPE_NOISE = 0.03
"""K a minute that noise alone shows."""
LAG_MIN_MAX, LAG_SHARE, TURN_K, TURN_PER_LAG = 6.0, 0.1, 0.5, 0.5
RUNS, CYCLE_S, LAG_CYCLE_S = 0.1, 2400.0, 90.0
FULL_S = 1200.0
SETTLED_K = 1.2
HOLD_S = 2700.0
OFFSET_K = (-2.5, 3.5)
UP_H, DOWN_H = 0.15, 4.0
MARGIN_K = (0.04, 3.0)
EXTRA_S = (-900.0, 5400.0)
LED_K = 0.3
RATE_K_H = (0.2, 15.0)
SATURATED = 0.92
OPENING_S = 2700.0
LATE_KH, MISSED_KH = (0.015, 0.06), (0.02, 0.07)
"""K.h too warm at the start of a day, and later in it: below, a little less caution; above, more."""
ANSWERED_KH, ANSWER_K_PER_KH, DAY_K_MAX = 0.1, 0.7, 1.0
"""What a day has missed is answered by margin: each time it is so much more at once, the rest at its end. A
day's answer is bounded: a window that stood open says little of other days."""
DAY_MS = 86_400_000
WEEK_KH, WEEK_MS = 0.3, 7 * DAY_MS
"""What a week may miss as the sensor shows it, where the bar is 0.5 of the air: days that are well each may
not add up to a week that is not, so what a day may miss before it is answered shrinks as this is used up."""
FALLS_K = 0.15
"""A room that was so much warmer in the first half of `PEAK_MINUTES` is still being cooled down."""
NEAR_K = 0.3
"""Nearer than this to what is aimed at, a unit at its limit is seen to be not enough."""
RESERVE_MAX, RESERVE_FADE, RESERVE_FADE_MAX = 0.25, 0.04, 0.3
SPARE_K, SPARE_SHARE, NEVER_K = 0.4, 0.25, -20.0
"""A day that was never warmer than this below the top of the band asked for less margin than it got, if that
was much, and less reserve if a plan led it for want of cooling."""
MARGIN_USUAL_K = 0.5
ALWAYS_OPEN_K = 0.3
"""The least margin of a room that never closes: three times the hours add up what no sensor shows."""


def remember(state: RoomState, temp_c: float | None, now_ms: int) -> None:
    """Keep the last minutes of temperatures, one a minute: a straight line between readings further apart."""
    since_ms = now_ms - state.temps_ms
    if temp_c is None or since_ms > GAP_MS:
        state.temps = ()
    if temp_c is None or (state.temps and since_ms < 55_000):
        return
    count = round(since_ms / 60_000) if state.temps else 1
    first = state.temps[-1] if state.temps else temp_c
    line = (*(first + (temp_c - first) * at / count for at in range(1, count)), temp_c)
    state.temps, state.temps_ms = (*state.temps, *line)[-TEMPS_MAX:], now_ms


def follow_offset(room: Room, state: RoomState, seen: RoomSeen, now_ms: int, max_w: float) -> None:
    """How far above its set point the room gets while the unit holds: up at once, down slowly.

    Slowly, because a warmer set point may stop a compressor that then waits for its dead band. Not up while
    the day begins: what is missed then is answered by the head start, and once is enough.
    """
    elapsed_h = min((now_ms - state.offset_ms) / 3_600_000, 0.3)
    state.offset_ms = now_ms
    set_c = _held_c(state, now_ms)
    if set_c is None or len(state.temps) < 10:
        return
    last = state.temps[-PEAK_MINUTES:]
    offset_k = _peak_c(last, state.lag_min) - set_c
    lowest = set_c <= room.units[0].setpoint_c[0]
    full = seen.power_w is not None and seen.power_w.value > SATURATED * max_w
    unsettled = lowest or full or _falls(last) or state.temps[-1] - set_c > SETTLED_K + state.offset_k
    if offset_k > state.offset_k and (unsettled or _opens(state, now_ms)):
        return
    share = min(elapsed_h / (UP_H if offset_k > state.offset_k else DOWN_H), 1.0)
    low, high = OFFSET_K
    state.offset_k = min(max(state.offset_k + share * (offset_k - state.offset_k), low), high)


def _opens(state: RoomState, now_ms: int) -> bool:
    return state.opened_ms is not None and now_ms - state.opened_ms <= OPENING_S * 1000


def _falls(temps: tuple[float, ...]) -> bool:
    """Whether the room is on its way down: its warmest minute is no peak that a hold comes back to."""
    half = len(temps) // 2
    return sum(temps[:half]) / half - sum(temps[half:]) / (len(temps) - half) > FALLS_K


def _held_c(state: RoomState, now_ms: int) -> float | None:
    """The set point that all running units have had for long enough to settle at."""
    held = {
        unit.setpoint_c if now_ms - max(unit.since_ms, unit.setpoint_ms) > HOLD_S * 1000 else None
        for unit in state.units.values()
        if unit.on
    }
    return held.pop() if len(held) == 1 else None


def _peak_c(temps: tuple[float, ...], lag_min: float) -> float:
    """The warmest that the air was in these minutes, as far as a lagging sensor lets it be guessed."""
    return max(
        sum(temps[at + 1 : at + 4]) / 3 + lag_min * _rise(temps[at : at + 5]) for at in range(len(temps) - 4)
    )


def air_c(state: RoomState, temp_c: float) -> float:
    """How warm the air may be while the sensor says `temp_c`, noise averaged away; its lag only adds.

    Only upwards: a start that ends too early for a guess of the lag would be paid by those who come first.
    """
    last = state.temps[-5:]
    return temp_c if len(last) < 5 else sum(last[2:]) / 3 + (state.lag_min + 1) * _rise(last)


def _rise(five: tuple[float, ...]) -> float:
    """K a minute over five minutes by least squares, 0 where it falls or where it may be noise."""
    slope = (2 * (five[4] - five[0]) + five[3] - five[1]) / 10
    return max(slope - SLOPE_NOISE, 0.0)


def follow_lag(
    state: RoomState, temp_c: float | None, power_w: float | None, now_ms: int, max_w: float
) -> None:
    """How long the reading goes on rising after a compressor has started, and falling after it stopped.

    For a first-order lag and air that goes in triangles, the mean of both is 0.7 of it; air turns more
    sharply than that (furniture is slow), so 0.5 is taken, chosen on one room (240 s). A start or stop
    outside short cycles says nothing: the walls then decide when the room turns.
    """
    if temp_c is None or power_w is None or state.cycle_s > LAG_CYCLE_S:
        state.edge_ms = None
        return
    runs = power_w > RUNS * max_w
    if state.edge_runs != runs:
        if state.edge_ms is not None and now_ms - state.edge_ms < CYCLE_S * 1000:
            _turned(state, temp_c)
        state.edge_ms, state.edge_runs = now_ms, runs
        state.turn_c, state.turn_ms = temp_c, now_ms
    elif (temp_c > state.turn_c) == runs and temp_c != state.turn_c:
        state.turn_c, state.turn_ms = temp_c, now_ms


def _turned(state: RoomState, temp_c: float) -> None:
    if state.edge_ms is None or abs(temp_c - state.turn_c) < TURN_K:
        return
    found_min = (state.turn_ms - state.edge_ms) / 60_000 / TURN_PER_LAG
    state.lag_min += LAG_SHARE * (min(found_min, LAG_MIN_MAX) - state.lag_min)


def at_limit(state: RoomState, seen: RoomSeen, now_ms: int, max_w: float) -> bool:
    """Whether the units have given all they have for long: what is missed then no set point can mend."""
    full = seen.power_w is not None and seen.power_w.value > SATURATED * max_w
    if seen.power_w is None and state.temps:
        set_c = [unit.setpoint_c for unit in state.units.values() if unit.on and unit.setpoint_c is not None]
        full = bool(set_c) and state.temps[-1] - min(set_c) > SETTLED_K + max(state.offset_k, 0.0)
    if not full:
        state.full_ms = None
    elif state.full_ms is None:
        state.full_ms = now_ms
    return state.full_ms is not None and now_ms - state.full_ms >= FULL_S * 1000


def surprise(state: RoomState, miss_k: float | None) -> None:
    """Once a quarter: by how much the model missed the last one, smoothed."""
    if miss_k is not None and miss_k == miss_k:  # noqa: PLR0124 - a NaN is not itself
        moved = state.surprise_k + SURPRISE_SHARE * (
            min(max(miss_k, -MISS_K_MAX), MISS_K_MAX) - state.surprise_k
        )
        state.surprise_k = min(max(moved, -SURPRISE_K_MAX), SURPRISE_K_MAX)


def daily(
    room: Room,
    state: RoomState,
    outlook: Outlook,
    *,
    temp_c: float | None,
    now_ms: int,
    elapsed_s: float,
    limit: bool = False,
    sure: bool = True,
) -> None:
    """Learn from each start, and from what each occupied day missed.

    `limit`: what `at_limit` says; `sure`: the most that the units draw was measured, not read from a plate.
    """
    opened = outlook.occupied[0]
    _start(room, state, temp_c, now_ms)
    if opened and not state.was_open:
        _opening(room, state, temp_c, now_ms)
    elif opened and now_ms - state.day_ms >= DAY_MS:
        _closing(state, now_ms, shuts=False)  # a room that never closes learns from day to day
        _new_day(state, now_ms)
    if opened and temp_c is not None and state.opened_ms is not None:
        above_k = air_c(state, temp_c) - room.band_c[1]
        missed_kh = max(above_k, 0.0) * elapsed_s / 3600
        state.day_max_k = max(state.day_max_k, above_k)
        state.day_led = state.day_led or state.ahead_of == SHORT
        if _opens(state, now_ms):
            state.late_kh += missed_kh
        elif limit and not sure:
            # No plan counted on this cooling: it says nothing of what plans should leave in reserve.
            state.missed_kh += 0.5 * missed_kh
        elif limit:
            state.short_kh += missed_kh
            if above_k > -state.margin_k - NEAR_K:
                state.short_ms = now_ms
        else:
            state.missed_kh += missed_kh
            _answer(state)
    if state.was_open and not opened:
        _closing(state, now_ms)
    state.was_open = opened


def _answer(state: RoomState) -> None:
    """An odd day is not left as it is until it is over."""
    if state.missed_kh - state.answered_kh > ANSWERED_KH:
        more_k = _answer_k(state.missed_kh) - _answer_k(state.answered_kh)
        state.margin_k = min(state.margin_k + more_k, MARGIN_K[1])
        state.answered_kh = state.missed_kh


def _answer_k(missed_kh: float) -> float:
    """What a day's margin gains by what it has missed so far."""
    return min(0.02 + ANSWER_K_PER_KH * missed_kh, DAY_K_MAX) if missed_kh else 0.0


def _start(room: Room, state: RoomState, temp_c: float | None, now_ms: int) -> None:
    """Note where a start began, and the pace once the band is reached."""
    running = any(unit.on for unit in state.units.values())
    if not running or temp_c is None:
        state.start_c = state.start_ms = None
        return
    if state.start_ms is None:
        state.start_led = temp_c > room.band_c[1] + LED_K and not state.ahead_of
        state.start_c, state.start_ms = temp_c, now_ms
    elif state.start_c is not None and temp_c <= room.band_c[1] - state.margin_k:
        _pace(state, temp_c, now_ms)


def _pace(state: RoomState, temp_c: float, now_ms: int) -> None:
    if state.start_c is None or state.start_ms is None:
        return
    fell_k, took_h = state.start_c - temp_c, (now_ms - state.start_ms) / 3_600_000
    state.start_c = None
    if fell_k < 0.7 or took_h < 0.05:
        return
    pace = min(max(fell_k / took_h, RATE_K_H[0]), RATE_K_H[1])
    state.rate_k_h = min(state.rate_k_h + 0.5 * (pace - state.rate_k_h), 2 * state.rate_k_h)


def _opening(room: Room, state: RoomState, temp_c: float | None, now_ms: int) -> None:
    """The day begins; where the start has not got there, its pace is what it did."""
    _new_day(state, now_ms)
    state.opened_ms = now_ms
    state.opened_warm_k = 0.0 if temp_c is None else temp_c - (room.band_c[1] - state.margin_k)
    if temp_c is not None and temp_c > room.band_c[1]:
        _pace(state, temp_c, now_ms)


def _new_day(state: RoomState, now_ms: int) -> None:
    state.day_ms, state.missed_kh, state.late_kh, state.short_kh = now_ms, 0.0, 0.0, 0.0
    state.day_max_k, state.day_led, state.answered_kh = NEVER_K, False, 0.0


def _closing(state: RoomState, now_ms: int, *, shuts: bool = True) -> None:
    """What the day missed: at its start a matter of the head start, later of the margin and the reserve.

    The reserve is cooling that plans do not count on: it acts only on days when the unit may not be enough.
    """
    spare_k = min(max(-state.day_max_k - SPARE_K, 0.0), 2.0) if state.day_max_k > NEVER_K else 0.0
    left = _left_of_week(state, now_ms)
    _tune_reserve(state, spare_k)
    if shuts and state.opened_ms == state.day_ms:
        _tune_start(state, left)
    _tune_margin(state, left, spare_k, MARGIN_K[0] if shuts else min(state.margin_k, ALWAYS_OPEN_K))


def _left_of_week(state: RoomState, now_ms: int) -> float:
    """The share of `WEEK_KH` that the last days left, this one in.

    Where the units gave all they had neither start nor margin is to blame: that is the reserve's.
    """
    past = math.exp(-max(now_ms - state.week_ms, 0) / WEEK_MS)
    state.week_kh = min(state.week_kh * past + state.late_kh + state.missed_kh, 2 * WEEK_KH)
    state.week_ms = now_ms
    return max(1 - state.week_kh / WEEK_KH, 0.0)


def _tune_reserve(state: RoomState, spare_k: float) -> None:
    if state.short_kh > 0.03:
        state.reserve += min(0.02 + 0.06 * state.short_kh, 0.15)
    else:
        faded = RESERVE_FADE + (SPARE_SHARE * spare_k if state.day_led else 0.0)
        state.reserve *= 1 - min(faded, RESERVE_FADE_MAX)
    state.reserve = min(state.reserve, RESERVE_MAX)


def _tune_start(state: RoomState, left: float) -> None:
    least, most = LATE_KH[0] * left, max(LATE_KH[1] * left, LATE_KH[0])
    if state.late_kh > most:
        state.extra_lead_s += min(120 + 3600 * (state.late_kh - most), 1800.0)
    elif state.late_kh < least and state.start_led:
        state.extra_lead_s -= 90.0 if state.opened_warm_k > -0.3 else 180.0
    low, high = EXTRA_S
    state.extra_lead_s = min(max(state.extra_lead_s, low), high)


def _tune_margin(state: RoomState, left: float, spare_k: float, low: float) -> None:
    least, most = MISSED_KH[0] * left, max(MISSED_KH[1] * left, MISSED_KH[0])
    missed_kh = state.missed_kh + 0.5 * state.short_kh
    if missed_kh > most:
        state.margin_k += _answer_k(missed_kh) - _answer_k(state.answered_kh)
    elif missed_kh < least:
        # A unit that is not enough wants a cold room at noon; what one odd day asked for is soon forgotten.
        most_k = state.margin_k - MARGIN_USUAL_K
        state.margin_k -= max(0.03, 0.1 * most_k, SPARE_SHARE * min(spare_k, most_k))
    state.margin_k = min(max(state.margin_k, low), MARGIN_K[1])
