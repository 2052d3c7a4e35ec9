"""The guards between a wish and a unit: they hold whatever the optimiser says.

Rules: pure. Ranges, grid, minimum on and off times, starts an hour, one start at a time, a delay after power
returns. In occupied hours the last command is never "off": what a unit keeps if we die must be right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from agent.control.room import Unit
from agent.control.state import UnitState

STAGGER_S = 30.0
RESTART_S = 180.0
HOUR_MS = 3_600_000
SETPOINT_HOLD_S = 300.0
LOWER_SHARE, RAISE_SHARE = 0.15, -0.03


@dataclass(frozen=True, slots=True)
class Wish:
    """What a rung wants of a room's units: a set point not yet on any grid, and in words why."""

    on: bool | None
    setpoint_c: float
    reason: str
    dry: bool = False
    urgent: bool = False


def on_grid(unit: Unit, wished_c: float, present_c: float | None) -> float:
    """The warmest set point of the unit not above the wish; the present one is kept while it nearly is."""
    low, high = unit.setpoint_c
    wished_c = min(max(wished_c, low), high)
    grid_k = unit.grid_k
    if present_c is not None and low <= present_c <= high:
        above_k = wished_c - present_c
        if -LOWER_SHARE * grid_k <= above_k < (1 + RAISE_SHARE) * grid_k:
            return present_c
    return min(max(math.floor(wished_c / grid_k + LOWER_SHARE) * grid_k, math.ceil(low)), high)


def may_switch(
    unit: Unit,
    state: UnitState,
    on: bool,
    now_ms: int,
    *,
    last_start_ms: int,
    powered_s: float | None,
    place: int,
) -> str:
    """Why the unit must stay as it is for now, or "" if it may switch."""
    return rest(unit, state, on, now_ms, last_start_ms=last_start_ms, powered_s=powered_s, place=place).reason


class Rest(NamedTuple):
    """For how many seconds a unit must still stay as it is, and why; 0 and "" if it may switch."""

    wait_s: float = 0.0
    reason: str = ""


def rest(
    unit: Unit,
    state: UnitState,
    on: bool,
    now_ms: int,
    *,
    last_start_ms: int,
    powered_s: float | None,
    place: int,
) -> Rest:
    """What a change to `on` must wait for."""
    held_s = (now_ms - state.since_ms) / 1000
    if not on:
        short_s = unit.on_s_min - held_s
        return Rest(short_s, f"on for {short_s:.0f} s more at least") if state.on and short_s > 0 else Rest()
    if state.on is not None and held_s < unit.off_s_min:
        short_s = unit.off_s_min - held_s
        return Rest(short_s, f"off for {short_s:.0f} s more at least")
    starts = [start for start in state.starts_ms if start > now_ms - HOUR_MS]
    if len(starts) >= unit.starts_per_h:
        free_ms = starts[-unit.starts_per_h] + HOUR_MS - now_ms
        return Rest(free_ms / 1000, f"{unit.starts_per_h} starts in the last hour")
    if now_ms - last_start_ms < STAGGER_S * 1000:
        return Rest(STAGGER_S - (now_ms - last_start_ms) / 1000, "another unit has just started")
    if powered_s is not None and powered_s < RESTART_S + place * STAGGER_S:
        return Rest(RESTART_S + place * STAGGER_S - powered_s, "power has just returned")
    return Rest()


def told(unit: Unit, state: UnitState, wish: Wish, now_ms: int, hindrance: str) -> str:
    """Put a wish into the unit's state as far as the guards let it; what they changed, in words."""
    note = ""
    if wish.on is not None and wish.on != state.on:
        if hindrance:
            note = hindrance
        else:
            _switch(state, wish.on, now_ms)
    if wish.urgent or now_ms - state.setpoint_ms >= SETPOINT_HOLD_S * 1000 or state.setpoint_c is None:
        setpoint_c = on_grid(unit, wish.setpoint_c, state.setpoint_c)
        if setpoint_c != state.setpoint_c:
            state.setpoint_c, state.setpoint_ms = setpoint_c, now_ms
    return note


def _switch(state: UnitState, on: bool, now_ms: int) -> None:
    state.on, state.since_ms, state.told_ms = on, now_ms, now_ms
    state.disobeys_since_ms = None
    if on:
        state.starts_ms = (*(start for start in state.starts_ms if start > now_ms - HOUR_MS), now_ms)
