"""The ladder: how much is trusted now, and why.

Rules: pure. Down at once, to what the worst fault allows; up after 30 healthy minutes; hands off ends with
its cause. Optimiser, optimum start, schedule, the unit's own thermostat, hands off.
"""

from __future__ import annotations

from agent.control.room import Room, RoomSeen, Rung
from agent.control.state import RoomState

STALE_S = 600.0
FROZEN_S = 2400.0
HEALTHY_S = 1800.0
LATE_MAX = 2
RESENDS = 2
MOVED_K = 0.005
STILL_TIMES, STILL_FADE, STILL_S_MIN = 4.0, 0.002, 120.0
PLAUSIBLE_C = (-10.0, 60.0)

Floor = tuple[Rung, str]


def temperature(seen: RoomSeen) -> tuple[float | None, str]:
    """The room's temperature if it can be used, or why not."""
    if seen.temperature_c is None:
        return None, "no reading of the room"
    low, high = PLAUSIBLE_C
    if not low < seen.temperature_c.value < high:
        return None, f"a reading of {seen.temperature_c.value:.1f} °C is not plausible"
    if seen.temperature_c.age_s > STALE_S:
        return None, f"the room's last reading is {seen.temperature_c.age_s / 60:.0f} min old"
    return seen.temperature_c.value, ""


def watch_frozen(state: RoomState, temp_c: float | None, now_ms: int) -> bool:
    """Note when the reading moved; True if it stands still though the unit switched, or longer than ever.

    How long it may is the sensor's habit: one of 0.01 K with its noise never rests, one of 0.5 K for hours.
    """
    if temp_c is None:
        return False
    if state.last_temp is None or abs(temp_c - state.last_temp) > MOVED_K:
        if state.last_temp is not None:
            _moved(state, (now_ms - state.moved_ms) / 1000)
        state.last_temp, state.moved_ms = temp_c, now_ms
        return False
    if now_ms - state.moved_ms > max(FROZEN_S, STILL_TIMES * state.still_s) * 1000:
        return True
    if state.switched_ms is None or state.switched_ms < state.moved_ms:
        return False
    return now_ms - max(state.switched_ms, state.moved_ms) > max(FROZEN_S, state.still_s) * 1000


def _moved(state: RoomState, still_s: float) -> None:
    """Longer rests are learned at once, but no freeze as a habit; shorter ones wear the longest away."""
    if still_s > state.still_s:
        state.still_s = min(still_s, 2 * state.still_s)
    else:
        state.still_s = max(state.still_s + STILL_FADE * (still_s - state.still_s), STILL_S_MIN)


def floor_of(
    room: Room,
    state: RoomState,
    *,
    clock: bool,
    manual: bool,
    temp_fault: str,
    model: bool,
    refused: bool = False,
) -> Floor:
    """The best rung that what is wrong now allows, and the words for it."""
    faults: list[Floor] = [(Rung.OPTIMISER, "all is well")]
    if manual:
        faults.append((Rung.HANDS_OFF, "set by hand"))
    if not clock:
        faults.append((Rung.THERMOSTAT, "the clock is not trusted"))
    if temp_fault:
        faults.append((Rung.SCHEDULE, temp_fault))
    if any(unit.attempt > RESENDS for unit in state.units.values()):
        faults.append((Rung.SCHEDULE, "a unit does not obey, told three times"))
    if state.late >= LATE_MAX:
        faults.append((Rung.OPTIMUM_START, "the solver was late twice"))
    if refused and model:
        faults.append((Rung.OPTIMUM_START, "the last nights' model did not pass the gate"))
    if not model:
        faults.append((Rung.OPTIMUM_START, "no model accepted yet"))
    return max(faults, key=lambda fault: fault[0])


def step(state: RoomState, floor: Floor, now_ms: int) -> None:
    """Move on the ladder: `rung`, `why`, since when."""
    allowed, why = floor
    if state.rung_ms is None or allowed > state.rung or state.rung == Rung.HANDS_OFF > allowed:
        state.rung, state.why, state.rung_ms, state.healthy_ms = allowed, why, now_ms, None
    elif allowed == state.rung:
        state.why, state.healthy_ms = why, None
    elif state.healthy_ms is None:
        state.healthy_ms = now_ms
    elif now_ms - state.healthy_ms >= HEALTHY_S * 1000:
        state.rung, state.why, state.rung_ms, state.healthy_ms = allowed, why, now_ms, None
