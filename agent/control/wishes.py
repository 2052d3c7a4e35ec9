"""What each rung of the ladder wants of a room: on or off, how cold, and why in words.

Rules: pure, but for `lead_s` and `led_c` noted in the state. Every rung gives a whole answer for now; the
guards come after. While a room is occupied a wish is never "off": idling is a set point at the top of the
band, which is right without us too.
"""

from __future__ import annotations

from agent.control.guards import Wish
from agent.control.planner import SHORT
from agent.control.room import HORIZON, QUARTER_MS, Outlook, Room, Rung
from agent.control.state import RoomState

QUARTER_S = QUARTER_MS / 1000
LEAD_MAX_S = 4 * 3600.0
LEAD_MIN_S = 120.0
LOAD_MIN, FULL_LOAD, FLOOR_K = 0.03, 0.9, 0.3
"""`FLOOR_K` above the bottom of the band: a unit cools on for a while after it is told to hold."""
BEHIND_K = 0.5
"""Less would lower the set point at each peak of a unit that cycles, and so make it cycle."""
BEHIND_GAIN = 1.5
PULL_K_MAX = 3.0
RISE_K_H, LED_MS = 2.0, 1_800_000
PEAK_RATIO = 1.5
PRECOOL_K = 1.0
PRECOOL_QUARTERS = 6


def opens_in_s(outlook: Outlook, now_ms: int) -> float | None:
    """Seconds until the room is occupied; 0 while it is, None if it stays empty all day long."""
    if outlook.occupied[0]:
        return 0.0
    for at in range(1, HORIZON):
        if outlook.occupied[at]:
            return at * QUARTER_S - now_ms % QUARTER_MS / 1000
    return None


def top_c(room: Room, state: RoomState) -> float:
    """The warmest that is aimed at."""
    return room.band_c[1] - state.margin_k


def planned(room: Room, state: RoomState, outlook: Outlook, now_ms: int, temp_c: float) -> Wish:
    """Rung 0: what the plan says of this quarter, started early by what starts have lacked lately."""
    at = now_ms // QUARTER_MS - state.plan_at
    if not state.ahead_of:
        return just_in_time(room, state, outlook, now_ms=now_ms, temp_c=temp_c, who="plan")
    if outlook.occupied[0]:
        target = state.plan_temp[min(at, HORIZON - 1)] if state.plan_load[at] > LOAD_MIN else room.band_c[1]
        if state.plan_load[at] > FULL_LOAD:
            # What a plan allows for and does not come makes the room cooler sooner: that is what it is for.
            target = min(target, max(temp_c - 1.0, room.band_c[0] + FLOOR_K))
        target = _led(state, min(max(target, room.band_c[0] + FLOOR_K), top_c(room, state)), now_ms)
        return Wish(True, setpoint_for(state, target, temp_c), f"plan: {target:.1f} °C, {state.ahead_of}")
    start = _starts(state, at, now_ms)
    if start is None or (state.ahead_of == SHORT and (opens_in_s(outlook, now_ms) or 0.0) > LEAD_MAX_S):
        # A plan may start earlier than the pace that this room has shown, never later.
        return just_in_time(room, state, outlook, now_ms=now_ms, temp_c=temp_c, who="plan")
    target = max(min(state.plan_temp[start : start + 3]), room.band_c[0] + FLOOR_K)
    # Begun is begun: the next plan may see it a little otherwise, and the compressor would stop and go.
    state.lead_s = max(state.lead_s, opens_in_s(outlook, now_ms) or 0.0)
    return Wish(True, setpoint_for(state, target, temp_c), f"plan: {target:.1f} °C is next, {state.ahead_of}")


def _led(state: RoomState, target_c: float, now_ms: int) -> float:
    """Down at once, up slowly: plans of a quarter each are indifferent to which of them cools."""
    past_ms = now_ms - state.led_ms
    if state.led_c is not None and past_ms < LED_MS:
        target_c = min(target_c, state.led_c + RISE_K_H * past_ms / 3_600_000)
    state.led_c, state.led_ms = target_c, now_ms
    return target_c


def _starts(state: RoomState, at: int, now_ms: int) -> int | None:
    """The quarter of the plan whose cooling is due now; None if none is."""
    into = now_ms % QUARTER_MS / QUARTER_MS
    running = any(unit.on for unit in state.units.values())
    reach = into + state.extra_lead_s / QUARTER_S + (1.0 if running else 0.0)
    for ahead in range(int(reach) + 1):
        if at + ahead >= HORIZON:
            break
        load = state.plan_load[at + ahead]
        after = state.plan_load[min(at + ahead + 1, HORIZON - 1)]
        # The first quarter of a start is planned in part: it begins that much later.
        late = 1 - load / after if load < after else 0.0
        if load > LOAD_MIN and reach >= ahead + (0.0 if running else late):
            return at + ahead
    return None


def setpoint_for(state: RoomState, target_c: float, temp_c: float) -> float:
    """The set point that brings the room to `target_c`: less its offset, and more so while it is behind."""
    behind_k = min(max(temp_c - target_c - BEHIND_K, 0.0) * BEHIND_GAIN, PULL_K_MAX)
    return target_c - state.offset_k - behind_k


def optimum_start(room: Room, state: RoomState, outlook: Outlook, now_ms: int, temp_c: float) -> Wish:
    """Rung 1: start as late as this room's pace of cooling allows; cooler before a dear hour."""
    target, why = _before_peak(room, outlook, top_c(room, state))
    if outlook.occupied[0] and why:
        return Wish(True, setpoint_for(state, target, temp_c), f"start rule: {why}")
    return just_in_time(room, state, outlook, now_ms=now_ms, temp_c=temp_c, who="start rule")


def just_in_time(
    room: Room, state: RoomState, outlook: Outlook, *, now_ms: int, temp_c: float, who: str
) -> Wish:
    """At the top of the band while occupied, started as late as the room's own pace allows."""
    opens_s = opens_in_s(outlook, now_ms)
    target = top_c(room, state)
    if opens_s is None:
        return Wish(False, room.safe_c, f"{who}: nobody comes today")
    if opens_s == 0:
        return Wish(True, setpoint_for(state, target, temp_c), f"{who}: occupied, {target:.1f} °C")
    lead_s = max(temp_c - target, 0.0) / state.rate_k_h * 3600 + state.extra_lead_s
    lead_s = min(max(lead_s, LEAD_MIN_S), LEAD_MAX_S)
    # The start itself shortens what is still needed: once begun it goes on, or it would flap.
    lead_s = max(lead_s, state.lead_s) if _running(state) else lead_s
    state.lead_s = lead_s
    # The nearest cycle: with decisions 15 min apart the next one may be far too late.
    if opens_s - state.cycle_s / 2 <= lead_s and (temp_c > target - 0.5 or _running(state)):
        why = f"{who}: starts {lead_s / 60:.0f} min ahead at {state.rate_k_h:.1f} K/h"
        # Not colder than it will be held at: a set point that is raised later stops the compressor, and the
        # room then warms through the whole dead band with people in it.
        return Wish(True, target - state.offset_k, why)
    return Wish(False, room.safe_c, f"{who}: {opens_s / 60:.0f} min to go, {lead_s / 60:.0f} needed")


def _running(state: RoomState) -> bool:
    return any(unit.on for unit in state.units.values())


def _before_peak(room: Room, outlook: Outlook, target: float) -> tuple[float, str]:
    """A little cold is stored where a much dearer occupied quarter comes soon."""
    dear = any(
        outlook.occupied[at] and outlook.price[at] > PEAK_RATIO * outlook.price[0]
        for at in range(1, PRECOOL_QUARTERS)
    )
    if not dear:
        return target, ""
    return max(target - PRECOOL_K, room.band_c[0]), "stores cold before the peak"


def schedule(room: Room, outlook: Outlook, now_ms: int) -> Wish:
    """Rung 2: a set point and a fixed head start, no reading of the room needed."""
    opens_s = opens_in_s(outlook, now_ms)
    safe_c = min(room.safe_c, room.band_c[1] - 1.0)
    if opens_s is not None and opens_s <= room.fixed_lead_s:
        return Wish(True, safe_c, f"schedule: {safe_c:g} °C")
    if room.hard_max_c is not None:
        return Wish(True, safe_c, "schedule: this room has a hard ceiling")
    if room.unoccupied_max_c is not None:
        return Wish(True, room.unoccupied_max_c - 1.0, "schedule: empty, with a limit")
    return Wish(False, safe_c, "schedule: empty")


def thermostat(room: Room) -> Wish:
    """Rung 3: on at a safe set point, whatever the hour: without a clock nobody knows who is in."""
    return Wish(True, min(room.safe_c, room.band_c[1] - 1.0), "the unit's own thermostat")


def wish_of(room: Room, state: RoomState, outlook: Outlook, now_ms: int, temp_c: float | None) -> Wish:
    """What the present rung wants."""
    if state.rung == Rung.HANDS_OFF:
        return Wish(None, room.safe_c, "hands off")
    if state.rung == Rung.THERMOSTAT:
        return thermostat(room)
    if temp_c is None or state.rung == Rung.SCHEDULE:
        return schedule(room, outlook, now_ms)
    if (
        state.rung == Rung.OPTIMISER
        and state.plan_load
        and 0 <= now_ms // QUARTER_MS - state.plan_at < HORIZON // 4
    ):
        return planned(room, state, outlook, now_ms, temp_c)
    return optimum_start(room, state, outlook, now_ms, temp_c)
