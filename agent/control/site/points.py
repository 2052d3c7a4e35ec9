"""What control publishes of itself: a group of readings for each room, `control.<room>_rung` and so on.

Rules: numbers only; the words of a decision are in the record. A room's name in a point has small letters,
digits and "_" only; of names that differ in nothing else, later ones get a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from agent.control.options import RoomOptions
from agent.control.room import Decision, Outlook
from agent.model import NAN, Device, Group, Kind, Point, Reading

DEVICE = Device("control", "uicps-control", "Control")
YES_NO = {0: "no", 1: "yes"}
RUNGS = {0: "optimiser", 1: "optimum start", 2: "schedule", 3: "own thermostat", 4: "hands off"}
MODES = {0: "observe", 1: "control"}
SLUG_CHARS_MAX = 48


def groups_of(rooms: Iterable[RoomOptions], cycle_s: float) -> dict[str, Group]:
    """A group for each room id."""
    found: dict[str, Group] = {}
    taken: set[str] = set()
    for room in rooms:
        word = slug = re.sub(r"[^a-z0-9]+", "_", room.id.lower())[:SLUG_CHARS_MAX]
        at = 1
        while slug in taken:
            at += 1
            slug = f"{word}_{at}"
        taken.add(slug)
        found[room.id] = Group(DEVICE, f"room-{room.id}", _points(slug), round(cycle_s * 1000))
    return found


def _points(slug: str) -> tuple[Point, ...]:
    return (
        Point(f"{slug}_rung", kind=Kind.STATE, states=RUNGS),
        Point(f"{slug}_mode", kind=Kind.STATE, states=MODES),
        Point(f"{slug}_units_on"),
        Point(f"{slug}_setpoint", "°C"),
        Point(f"{slug}_expected", "°C"),
        Point(f"{slug}_price", "R$/kWh"),
        Point(f"{slug}_occupied", kind=Kind.STATE, states=YES_NO),
        Point(f"{slug}_alarm", kind=Kind.STATE, states=YES_NO),
    )


def readings_of(
    rooms: Iterable[RoomOptions],
    groups: Mapping[str, Group],
    decisions: Sequence[Decision],
    outlook: Mapping[str, Outlook],
    time_ms: int,
) -> list[Reading]:
    """What was decided, as readings; where nothing is commanded, "not available"."""
    readings = []
    for room in rooms:
        own = [decision for decision in decisions if decision.room == room.id]
        if not own:
            continue
        first = own[0]
        setpoints = [each.setpoint_c for each in own if each.on and each.setpoint_c is not None]
        values = (
            float(first.rung),
            float(room.mode == "control"),
            NAN if first.on is None else float(sum(bool(each.on) for each in own)),
            min(setpoints, default=NAN),
            NAN if first.expected_c is None else round(first.expected_c, 2),
            outlook[room.id].price[0],
            float(outlook[room.id].occupied[0]),
            float(any(each.alarm for each in own)),
        )
        readings.append(Reading(groups[room.id], time_ms, values))
    return readings
