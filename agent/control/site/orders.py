"""Decisions as leases: what control wants, through Dispatch, at CONTROL priority.

Rules. A lease is renewed long before it ends, but written only when it says something new or is told again
(`attempt`): registers of air conditioners wear out. Hands off releases. In a room that is only observed
nothing is submitted, ever. Mode first, then fan, set point and power: a unit that changes its mode may
bring back an old fan speed and set point.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.control.options import RoomOptions, UnitOptions
from agent.control.room import Decision
from agent.dispatch import Command, Dispatch, Priority, Refused
from agent.supervise import Episode

log = logging.getLogger(__name__)

LEASE_S_MIN = 600.0
CYCLES_PER_LEASE = 5
LEAVE_S_MAX = 4.0
LEAVE_LEASE_S = 60.0


@dataclass(slots=True)
class _Told:
    """What a unit was last told: values by point, the attempt, and until when the leases hold."""

    values: dict[str, float] = field(default_factory=dict)
    attempt: int = 0
    renew_s: float = 0.0


class Orders:
    """`clock` is Dispatch's: monotonic seconds."""

    def __init__(
        self, rooms: Sequence[RoomOptions], dispatch: Dispatch, cycle_s: float, clock: Callable[[], float]
    ) -> None:
        self._units = {
            (room.id, unit.id): unit for room in rooms if room.mode == "control" for unit in room.unit
        }
        self._dispatch, self._clock = dispatch, clock
        self._lease_s = max(LEASE_S_MIN, CYCLES_PER_LEASE * cycle_s)
        self._told: dict[tuple[str, str], _Told] = {}
        self._episodes = {key: Episode(log, f"control of {key[0]}, {key[1]}") for key in self._units}

    def give(self, decisions: Sequence[Decision]) -> None:
        """Submit what these decisions want; what is refused is said once and tried again next time."""
        for decision in decisions:
            key = (decision.room, decision.unit)
            if key not in self._units:
                continue
            try:
                if decision.on is None:
                    self._release(key)
                else:
                    self._command(key, decision)
            except Refused as refusal:
                self._told.pop(key, None)
                self._episodes[key].failed(refusal)

    def _command(self, key: tuple[str, str], decision: Decision) -> None:
        told = self._told.get(key)
        before = told.values if told else {}
        values = before | values_of(self._units[key], decision)
        again = told is None or decision.attempt > told.attempt
        if not again and values == before and told is not None and self._clock() < told.renew_s:
            return
        moved = [point for point in values if values[point] != before.get(point)]
        mode = self._units[key].mode_point
        for point, value in values.items():
            # After a change of mode everything is told anew: the unit may have brought its own back.
            fresh = again or (mode in moved and point not in moved)
            # But for the fan while it dries: units choose it then themselves.
            fresh = fresh and not (decision.dry and point == self._units[key].fan_point)
            reason = f"control: {decision.reason}"[:128]
            self._dispatch.submit(point, value, Priority.CONTROL, reason, self._lease_s, again=fresh)
        self._told[key] = _Told(values, decision.attempt, self._clock() + self._lease_s / 2)
        self._episodes[key].ended()

    def _release(self, key: tuple[str, str]) -> None:
        """Others command now; what we want later is told anew, whatever we told before."""
        for point in self._told.pop(key, _Told()).values:
            self._dispatch.release(point, Priority.CONTROL)

    async def leave(self, parting: Sequence[Decision]) -> None:
        """Before the agent ends: tell each unit of ours what it shall keep, as far as that goes in
        `LEAVE_S_MAX`. A unit that was never told anything is left alone, and off stays off."""
        commands: list[Command] = []
        for decision in parting:
            key = (decision.room, decision.unit)
            told, unit = self._told.get(key), self._units.get(key)
            if told is None or unit is None or not (decision.on or told.values[unit.on_point]):
                continue
            # Written whatever we believe: it is the last word.
            commands += [
                self._dispatch.submit(
                    point, value, Priority.CONTROL, "control: parting", LEAVE_LEASE_S, again=True
                )
                for point, value in values_of(unit, decision).items()
            ]
        await asyncio.gather(*(self._dispatch.settled(command, LEAVE_S_MAX) for command in commands))


def values_of(unit: UnitOptions, decision: Decision) -> dict[str, float]:
    """What to write for a decision, by point, in the order of writing; of a unit that is off only that."""
    if not decision.on:
        return {unit.on_point: 0.0}
    values: dict[str, float] = {}
    dry = decision.dry and unit.dry_code is not None
    if unit.mode_point is not None:
        values[unit.mode_point] = unit.dry_code if dry and unit.dry_code is not None else unit.cool_code
    if unit.fan_point is not None and not dry:
        values[unit.fan_point] = unit.fan_code
    if decision.setpoint_c is not None:
        values[unit.setpoint_point] = decision.setpoint_c
    return values | {unit.on_point: 1.0}
