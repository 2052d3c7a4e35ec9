"""What units are told without the loop: at a clean stop, and while the loop itself fails.

Rules: nothing is asked of what was learned, tuned or planned. The plain schedule where the calendar is
known, the unit's own thermostat where it is not: nobody sits in a room that is off because we are not well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from agent.control.guards import Wish, on_grid
from agent.control.room import Decision, Outlook, Room, Rung, Unit
from agent.control.wishes import schedule, thermostat

AHEAD_S = 5400.0


def parting(
    rooms: Iterable[Room], decided: Sequence[Decision], outlook: Mapping[str, Outlook], now_ms: int
) -> list[Decision]:
    """What units shall keep when the agent ends, with the head start that nobody is there to give later."""
    ours = {(each.room, each.unit) for each in decided if each.on is not None}
    found = []
    for room in rooms:
        if room.id in outlook:
            wish = schedule(replace(room, fixed_lead_s=AHEAD_S), outlook[room.id], now_ms)
            units = (unit for unit in room.units if (room.id, unit.id) in ours)
            found += [_decision(room, unit, wish, Rung.THERMOSTAT) for unit in units]
    return found


def plainly(
    rooms: Iterable[Room], outlook: Mapping[str, Outlook], manual: Collection[str], now_ms: int
) -> list[Decision]:
    """What stands in for decisions that cannot be made."""
    found = []
    for room in rooms:
        ahead = outlook.get(room.id)
        wish = thermostat(room) if ahead is None else schedule(room, ahead, now_ms)
        rung = Rung.THERMOSTAT if ahead is None else Rung.SCHEDULE
        if room.id in manual:
            wish, rung = replace(wish, on=None), Rung.HANDS_OFF
        found += [_decision(room, unit, wish, rung, "control fails") for unit in room.units]
    return found


def _decision(room: Room, unit: Unit, wish: Wish, rung: Rung, alarm: str = "") -> Decision:
    setpoint_c = None if wish.on is None else on_grid(unit, wish.setpoint_c, None)
    reason = f"{wish.reason} ({alarm})" if alarm else wish.reason
    return Decision(room.id, unit.id, wish.on, setpoint_c, dry=False, rung=rung, reason=reason, alarm=alarm)
