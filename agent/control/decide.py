"""`decide`: what every unit shall do now, from what is known now. The heart, and pure.

Rules: no clock, thread, sleep, file or socket in here; the same arguments give the same decisions, bit for
bit. Missing is None. What it remembers goes in and comes out as `State`; what was learned comes as
`Parameters`. `planner` is asked once a quarter (`planner.py`); nothing from it, or a plan for which the
solver was late, twice is a step down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent.control import ladder, tuning
from agent.control.guards import Wish, may_switch, told
from agent.control.history import History
from agent.control.model import Model, last_miss_k
from agent.control.planner import SHORT, Day, Planner
from agent.control.room import (
    QUARTER_MS,
    Decision,
    Observed,
    Outlook,
    OwnWish,
    Room,
    RoomSeen,
    Rung,
    Seen,
    Unit,
    UnitSeen,
)
from agent.control.state import Parameters, RoomState, State, UnitState, set_back
from agent.control.wishes import opens_in_s, top_c, wish_of

HOT_K, HOT_S = 1.5, 1200.0
HUMID_S = 3600.0
OBEY_S = 600.0
OBEY_SHARE = 0.08
SOON_S = 8 * 3600.0
STALE_S = 300.0
ELAPSED_S_MAX = 1800.0
UNWATCHED_MS = 1_000_000
"""Cycles further apart: nobody looked, or the clock was set forward. That is no reading that stands still."""
GOOD_K, SEEN_SHORT_MS = 0.5, 10 * 86_400_000
HARD_K = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to command now, and what to hand to the next call."""

    decisions: tuple[Decision, ...]
    state: State


@dataclass(frozen=True, slots=True)
class _Cycle:
    """Everything that one room's decision is made of."""

    now_ms: int
    elapsed_s: float
    room: Room
    seen: RoomSeen
    observed: Observed
    history: History
    outlook: Outlook
    model: Model | None
    planner: Planner
    temp_c: float | None
    refused: bool = False


def decide(
    now_ms: int,
    observed: Observed,
    *,
    history: Mapping[str, History],
    outlook: Mapping[str, Outlook],
    rooms: tuple[Room, ...],
    parameters: Parameters,
    state: State,
    planner: Planner,
) -> Outcome:
    """Decisions for all units of all rooms, the rooms of highest `priority` first.

    `history` and `outlook` by room id (the outlook holds the room's calendar and the tariff). Call it every
    cycle, best 30 to 120 s apart, at most 15 min; the state it was given is left as it was.
    """
    observed = observed.clean()
    if now_ms < state.last_ms:
        state = set_back(state, now_ms)
    after = replace(state, rooms=dict(state.rooms), last_ms=now_ms)
    elapsed_s = min(max((now_ms - state.last_ms) / 1000, 0.0), ELAPSED_S_MAX) if state.last_ms else 60.0
    decisions: list[Decision] = []
    for room in sorted(rooms, key=lambda each: -each.priority):
        own = _copy(after.rooms.get(room.id), room)
        own.cycle_s = elapsed_s
        if now_ms - state.last_ms > UNWATCHED_MS:
            own.moved_ms = now_ms
        after.rooms[room.id] = own
        seen = observed.rooms.get(room.id, RoomSeen())
        temp_c, fault = ladder.temperature(seen)
        cycle = _Cycle(
            now_ms,
            elapsed_s,
            room,
            seen,
            observed,
            history.get(room.id) or History(),
            outlook[room.id],
            parameters.models.get(room.id),
            planner,
            temp_c,
            room.id in parameters.refused,
        )
        decisions += _room(cycle, own, after, fault)
    return Outcome(tuple(decisions), after)


def _copy(known: RoomState | None, room: Room) -> RoomState:
    known = known or RoomState()
    units = {unit.id: replace(known.units.get(unit.id) or UnitState()) for unit in room.units}
    return replace(known, units=units)


def _room(cycle: _Cycle, own: RoomState, after: State, fault: str) -> list[Decision]:
    if not fault and ladder.watch_frozen(own, cycle.temp_c, cycle.now_ms):
        fault = f"the room's reading stands still at {cycle.temp_c:.2f} °C while the unit switches"
    if cycle.seen.manual or not cycle.seen.commanded:
        _follow_units(cycle, own)
    else:
        _obeys(cycle, own)
    floor = ladder.floor_of(
        cycle.room,
        own,
        clock=cycle.observed.clock_trusted,
        manual=cycle.seen.manual,
        temp_fault=fault,
        model=cycle.model is not None,
        refused=cycle.refused,
    )
    ladder.step(own, floor, cycle.now_ms)
    _learn(cycle, own, usable=not fault)
    # On the rung below too: a solver that is in time again is the way up.
    if own.rung <= Rung.OPTIMUM_START:
        _plan(cycle, own)
    wish = wish_of(cycle.room, own, cycle.outlook, cycle.now_ms, None if fault else cycle.temp_c)
    if cycle.seen.own is not None and own.rung <= Rung.OPTIMUM_START:
        wish = _by_own(cycle, wish, cycle.seen.own)
    wish = _forced(cycle, own, wish, usable=not fault)
    return _tell(cycle, own, after, wish)


def _learn(cycle: _Cycle, own: RoomState, *, usable: bool) -> None:
    temp_c = cycle.temp_c if usable else None
    tuning.remember(own, temp_c, cycle.now_ms)
    max_w = cycle.model.max_w if cycle.model else cycle.room.rated_w
    tuning.daily(
        cycle.room,
        own,
        cycle.outlook,
        temp_c=temp_c,
        now_ms=cycle.now_ms,
        elapsed_s=cycle.elapsed_s,
        limit=tuning.at_limit(own, cycle.seen, cycle.now_ms, max_w),
        sure=cycle.model is not None,
    )
    power_w = cycle.seen.power_w.value if _fresh(cycle.seen.power_w) and cycle.seen.power_w else None
    tuning.follow_lag(own, temp_c, power_w, cycle.now_ms, max_w)
    last = cycle.history.last
    if cycle.model and own.compared_at != last == cycle.now_ms // QUARTER_MS - 1:
        own.compared_at = last
        tuning.surprise(own, last_miss_k(cycle.model, cycle.history))
    if cycle.outlook.occupied[0] and temp_c is not None:
        tuning.follow_offset(cycle.room, own, cycle.seen, cycle.now_ms, max_w)


def _plan(cycle: _Cycle, own: RoomState) -> None:
    """A new plan at each quarter; once an hour while nothing is near."""
    quarter = cycle.now_ms // QUARTER_MS
    age = quarter - own.plan_at
    opens_s = opens_in_s(cycle.outlook, cycle.now_ms)
    near = (opens_s is not None and opens_s < SOON_S) or any(unit.on for unit in own.units.values())
    fresh = own.plan_load and 0 <= age < (1 if near else 4)
    if fresh or own.tried_at == quarter or cycle.model is None or cycle.temp_c is None:
        return
    own.tried_at = quarter
    day = Day(
        cycle.room,
        cycle.model,
        cycle.history,
        cycle.outlook,
        cycle.temp_c,
        outdoor=cycle.observed.outdoor_c,
        margin_k=own.margin_k,
        surprise_k=own.surprise_k,
        reserve=own.reserve,
    )
    planned = cycle.planner(day)
    own.late = own.late + 1 if planned is None or planned.late else 0
    if planned is None:
        return  # plans are a day long: that of before is still better than none
    own.plan_at, own.plan_load, own.plan_temp = quarter, planned.load, planned.temp_c
    own.ahead_of = _reason(cycle, own, planned.lead)


def _reason(cycle: _Cycle, own: RoomState, found: str) -> str:
    """Why the plan leads.

    That a unit will not be enough is believed if it was seen so lately, or from a model that foretells well
    what a meter measures; and then until the day is over, or it would flap.
    """
    seen = own.short_ms is not None and cycle.now_ms - own.short_ms < SEEN_SHORT_MS
    good = cycle.seen.power_w is not None and cycle.model is not None and cycle.model.error_k < GOOD_K
    if found == SHORT and not (seen or good):
        return ""
    return found or (SHORT if own.ahead_of == SHORT and cycle.outlook.occupied[0] else "")


def _by_own(cycle: _Cycle, wish: Wish, own_wish: OwnWish) -> Wish:
    """What the site's own controller wants, or what would have been without it."""
    if own_wish.fault:
        return replace(wish, reason=f"{wish.reason}; own controller: {own_wish.fault}")
    if cycle.outlook.occupied[0] and not own_wish.on:
        top = f"own controller: {own_wish.reason}; occupied, never off"
        return Wish(True, cycle.room.band_c[1], top)
    return Wish(own_wish.on, own_wish.setpoint_c, f"own controller: {own_wish.reason}")


def _forced(cycle: _Cycle, own: RoomState, wish: Wish, *, usable: bool) -> Wish:
    """Hot rooms, hard ceilings and damp air have the last word over the rung."""
    if wish.on is None or not usable or cycle.temp_c is None:
        return wish
    room, temp_c, now_ms = cycle.room, cycle.temp_c, cycle.now_ms
    occupied = cycle.outlook.occupied[0]
    own.hot_ms = _since(
        own.hot_ms, occupied and temp_c > room.band_c[1] + (0.5 if own.hot_ms else HOT_K), now_ms
    )
    humid = cycle.seen.humidity_pct
    damp = humid is not None and humid.age_s < STALE_S and humid.value > room.humidity_max_pct
    own.humid_ms = _since(own.humid_ms, damp, now_ms)
    held = _held(room, own, temp_c, now_ms, occupied=occupied)
    if held is not None:
        return held
    if own.hot_ms is not None and now_ms - own.hot_ms >= HOT_S * 1000:
        return Wish(
            True, min(wish.setpoint_c, top_c(room, own) - 2.0), "hot room: forced cooling", urgent=True
        )
    if own.humid_ms is not None and now_ms - own.humid_ms >= HUMID_S * 1000 and occupied:
        setpoint_c = min(wish.setpoint_c, top_c(room, own) - own.offset_k)
        dry = temp_c < top_c(room, own) and any(unit.dry for unit in room.units)
        return replace(
            wish, on=True, setpoint_c=setpoint_c, dry=dry, reason=f"{wish.reason}; damp, no coasting"
        )
    return wish


def _held(room: Room, own: RoomState, temp_c: float, now_ms: int, *, occupied: bool) -> Wish | None:
    """The limits that hold at all hours, or while nobody is there; once begun, until a kelvin is gained."""
    more_k = {True: HARD_K + 1.0, False: HARD_K}
    hard_c, free_c = room.hard_max_c, None if occupied else room.unoccupied_max_c
    own.hard_ms = _since(
        own.hard_ms, hard_c is not None and temp_c > hard_c - more_k[own.hard_ms is not None], now_ms
    )
    own.free_ms = _since(
        own.free_ms, free_c is not None and temp_c > free_c - more_k[own.free_ms is not None], now_ms
    )
    if own.hard_ms is not None and hard_c is not None:
        return Wish(True, hard_c - 2.0 - own.offset_k, "hard ceiling", urgent=True)
    if own.free_ms is not None and free_c is not None:
        return Wish(True, free_c - 2.0 - own.offset_k, "as warm as it may be while nobody is there")
    return None


def _since(since_ms: int | None, holds: bool, now_ms: int) -> int | None:
    if not holds:
        return None
    return now_ms if since_ms is None else since_ms


def _tell(cycle: _Cycle, own: RoomState, after: State, wish: Wish) -> list[Decision]:
    """The wish through the guards, unit by unit."""
    decisions = []
    for place, unit in enumerate(cycle.room.units):
        state = own.units[unit.id]
        if not cycle.seen.commanded:
            state = replace(state)  # what would be told, and is not
        note = ""
        if wish.on is not None:
            was = state.on
            hindrance = may_switch(
                unit,
                state,
                wish.on,
                cycle.now_ms,
                last_start_ms=after.last_start_ms,
                powered_s=cycle.observed.powered_s,
                place=place,
            )
            note = told(unit, state, wish, cycle.now_ms, hindrance)
            if state.on != was and cycle.seen.commanded:
                own.switched_ms = cycle.now_ms
                after.last_start_ms = cycle.now_ms if state.on else after.last_start_ms
        decisions.append(_decision(cycle, own, unit, state=state, wish=wish, note=note))
    return decisions


def _decision(
    cycle: _Cycle, own: RoomState, unit: Unit, *, state: UnitState, wish: Wish, note: str
) -> Decision:
    at = cycle.now_ms // QUARTER_MS - own.plan_at
    reason = wish.reason if own.rung == Rung.OPTIMISER else f"{wish.reason} ({own.why})"
    return Decision(
        room=cycle.room.id,
        unit=unit.id,
        on=None if wish.on is None else bool(state.on),
        setpoint_c=None if wish.on is None else state.setpoint_c,
        dry=wish.dry and unit.dry,
        rung=Rung(own.rung),
        reason=f"{reason}; waits: {note}" if note else reason,
        expected_c=own.plan_temp[at] if 0 <= at < len(own.plan_temp) else None,
        price=cycle.outlook.price[0],
        alarm="does not obey, told three times" if state.attempt > ladder.RESENDS else "",
        attempt=state.attempt,
    )


def _obeys(cycle: _Cycle, own: RoomState) -> None:
    """Tell a unit again when meter or feedback say that it did not do what it was told 10 minutes ago."""
    for unit in cycle.room.units:
        state = own.units[unit.id]
        if state.on is None:
            continue
        if not _disobeys(cycle, unit, state):
            state.disobeys_since_ms, state.attempt = None, 0
        elif state.disobeys_since_ms is None:
            state.disobeys_since_ms = cycle.now_ms
        elif cycle.now_ms - max(state.disobeys_since_ms, state.told_ms) >= OBEY_S * 1000:
            if state.attempt <= ladder.RESENDS:
                state.attempt += 1
            state.told_ms = cycle.now_ms


def _follow_units(cycle: _Cycle, own: RoomState) -> None:
    """While others command them, units are as they say: what is decided next starts from there."""
    for unit in cycle.room.units:
        state, says = own.units[unit.id], cycle.seen.units.get(unit.id, UnitSeen())
        state.attempt, state.disobeys_since_ms = 0, None
        if says.on is not None and _fresh(says.on) and state.on != (says.on.value > 0):
            state.on, state.since_ms = says.on.value > 0, cycle.now_ms
            own.switched_ms = cycle.now_ms
        if says.setpoint_c is not None and _fresh(says.setpoint_c):
            # Not ours: when it is our turn again we need not hold it for a while.
            state.setpoint_c, state.setpoint_ms = says.setpoint_c.value, 0


def _disobeys(cycle: _Cycle, unit: Unit, state: UnitState) -> bool:
    """True only where a fresh reading contradicts; what is not measured is believed."""
    says = cycle.seen.units.get(unit.id, UnitSeen())
    for seen, told_ in ((says.on, float(bool(state.on))), (says.setpoint_c, state.setpoint_c)):
        if _fresh(seen) and told_ is not None and seen is not None and abs(seen.value - told_) > 0.26:
            return True
    power, temp_c = cycle.seen.power_w, cycle.temp_c
    if not _fresh(power) or power is None or len(cycle.room.units) > 1:
        return False
    share = power.value / unit.rated_w
    if not state.on:
        return share > 2 * OBEY_SHARE
    calls = temp_c is not None and state.setpoint_c is not None and temp_c > state.setpoint_c + 2.5
    return calls and share < OBEY_SHARE


def _fresh(seen: Seen | None) -> bool:
    return seen is not None and seen.age_s < STALE_S
