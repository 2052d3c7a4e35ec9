"""The compressor's rest at Dispatch's door: whoever commands a unit, its minimum times hold.

Rules: `wait_s` is Dispatch's guard, `heard` its listener. What counts is what was written to the unit, in
whoever's name; the rules are those of `agent.control.guards`. An instance knows the units of control only:
any other point waits for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from agent.control.guards import HOUR_MS, rest
from agent.control.options import RoomOptions, room_of
from agent.control.room import Unit
from agent.control.state import UnitState
from agent.dispatch import Command, State

NEVER_MS = -(10**12)


class Rests:
    """`clock` is monotonic seconds."""

    def __init__(self, rooms: Iterable[RoomOptions], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._units: dict[str, tuple[Unit, UnitState]] = {}
        self._last_start_ms = NEVER_MS
        self._parting = False
        for options in rooms:
            for table, unit in zip(options.unit, room_of(options).units, strict=True):
                self._units[table.on_point] = (unit, UnitState(since_ms=NEVER_MS))

    def wait_s(self, point: str, value: float) -> float:
        """Seconds until `value` may be written to `point`."""
        if point not in self._units:
            return 0.0
        unit, state = self._units[point]
        on = value > 0
        if state.on == on or (on and self._parting):
            return 0.0
        last = self._last_start_ms
        return rest(unit, state, on, self._now_ms(), last_start_ms=last, powered_s=None, place=0).wait_s

    def part(self) -> None:
        """The agent ends: who must be left on is, even within its rest, or it would stay off for good. A
        unit's own protection holds its compressor back for those minutes."""
        self._parting = True

    def heard(self, command: Command) -> None:
        """Note what was written."""
        if command.state is not State.WRITTEN or command.point not in self._units:
            return
        self._switched(command.point, command.value > 0, self._now_ms())

    def remember(self, point: str, on: bool, ago_s: float) -> None:
        """The unit was switched that long ago, by an earlier run of the agent."""
        if point in self._units:
            self._switched(point, on, self._now_ms() - round(max(ago_s, 0.0) * 1000))

    def _switched(self, point: str, on: bool, when_ms: int) -> None:
        _, state = self._units[point]
        if state.on == on:
            return
        state.on, state.since_ms = on, when_ms
        if on:
            recent = (start for start in state.starts_ms if start > when_ms - HOUR_MS)
            state.starts_ms = (*recent, when_ms)
            self._last_start_ms = max(self._last_start_ms, when_ms)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)
