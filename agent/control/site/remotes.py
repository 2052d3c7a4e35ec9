"""A person at the unit's own remote: noticed by what the unit says, and obeyed for a while like any other
person.

Rules.
1. Only a unit that has once agreed with a command and then says something else, twice in a row, was set by
   hand. One that never agreed does not obey, which is another matter; one that fell silent may have lost
   its power.
2. What the person set becomes a lease of MANUAL priority: seen on the page, ended there, over by itself.
3. What cannot become a lease (a value that we may not write) is kept in mind for as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.control.options import RoomOptions, UnitOptions
from agent.control.room import Seen
from agent.dispatch import Command, Dispatch, Priority, Refused, State

TIMES_MIN = 2
SETTLE_S = 15.0
FRESH_S = 120.0
TOLERANCE = 0.26
OVERRULED = (Priority.MANUAL, Priority.CENTRE, Priority.CONTROL)


@dataclass(slots=True)
class _Watched:
    """One commanded point: the command, since when it is written, whether the unit agreed, how often not."""

    value: float = float("nan")
    written_s: float = 0.0
    agreed: bool = False
    against: int = 0
    taken_s: float = 0.0


class Remotes:
    """Call `notice` each cycle; `manual` says which rooms others command now. Times are monotonic."""

    def __init__(self, rooms: Sequence[RoomOptions], dispatch: Dispatch, hold_s: float) -> None:
        self._rooms, self._dispatch, self._hold_s = rooms, dispatch, hold_s
        self._watched: dict[str, _Watched] = {}
        self._held_until_s: dict[str, float] = {}

    def notice(self, seen: Mapping[str, Seen], now_s: float) -> list[str]:
        """Take what a remote has set as that person's command; the units, in words."""
        found = []
        for room in self._rooms:
            for unit in room.unit if room.mode == "control" else ():
                changed = [point for point in _telling(unit) if self._by_hand(point, unit, seen, now_s)]
                if changed:
                    self._hold(unit, seen, now_s)
                    found.append(f"{room.id}, {unit.id}")
        return found

    def _by_hand(self, point: str, unit: UnitOptions, seen: Mapping[str, Seen], now_s: float) -> bool:
        command = self._dispatch.winner(point)
        if command is None or command.state is not State.WRITTEN or command.priority not in OVERRULED:
            self._watched.pop(point, None)
            return False
        watched = self._watched.setdefault(point, _Watched(written_s=now_s))
        if watched.value != command.value:
            self._watched[point] = watched = _Watched(command.value, now_s)
        says = seen.get(point)
        if says is None or says.age_s > FRESH_S or _is_off(unit, point, seen):
            watched.agreed = False
            return False
        taken_s = now_s - says.age_s
        if taken_s < watched.written_s + SETTLE_S or taken_s <= watched.taken_s + 0.5:
            # Not yet a new reading since the write: an old one is no second witness.
            if abs(says.value - command.value) <= TOLERANCE:
                watched.agreed = True
            return False
        watched.taken_s = taken_s
        if abs(says.value - command.value) <= TOLERANCE:
            watched.agreed, watched.against = True, 0
        elif watched.agreed:
            watched.against += 1
        return watched.against >= TIMES_MIN

    def _hold(self, unit: UnitOptions, seen: Mapping[str, Seen], now_s: float) -> None:
        """All of the unit as its owner left it, so that nothing of ours mixes in."""
        self._held_until_s[unit.id + unit.on_point] = now_s + self._hold_s
        for point in unit.points:
            self._watched.pop(point, None)
            if point in seen:
                self._submit(point, seen[point].value, f"remote control of {unit.id}")

    def _submit(self, point: str, value: float, source: str) -> Command | None:
        try:
            return self._dispatch.submit(point, value, Priority.MANUAL, source[:128], self._hold_s)
        except Refused:
            return None

    def manual(self, now_s: float) -> set[str]:
        """The rooms with a unit that a person or the centre commands now."""
        return {
            room.id
            for room in self._rooms
            for unit in room.unit
            if any(self._leased(point) for point in unit.points) or self._in_mind(unit, now_s)
        }

    def _leased(self, point: str) -> bool:
        command = self._dispatch.winner(point)
        return command is not None and command.priority < Priority.CONTROL

    def _in_mind(self, unit: UnitOptions, now_s: float) -> bool:
        """Kept in mind, unless a person has ended the lease that stood for it."""
        key = unit.id + unit.on_point
        if self._held_until_s.get(key, now_s) <= now_s:
            self._held_until_s.pop(key, None)
            return False
        return not any(self._ended_by_hand(point) for point in unit.points)

    def _ended_by_hand(self, point: str) -> bool:
        ended = (each for each in reversed(self._dispatch.ended) if each.point == point)
        last = next((each for each in ended if each.priority is Priority.MANUAL), None)
        return last is not None and last.state is State.RELEASED


def _telling(unit: UnitOptions) -> list[str]:
    """The points that tell of a hand. Not the fan: units change it by themselves, in dry mode say."""
    return [point for point in unit.points if point != unit.fan_point]


def _is_off(unit: UnitOptions, point: str, seen: Mapping[str, Seen]) -> bool:
    """The set point and mode of a unit that is off mean nothing: many show another one then."""
    on = seen.get(unit.on_point)
    return point != unit.on_point and on is not None and on.value == 0
