"""What control sees: the process image frozen once per cycle, each value with its age.

Rules: a value that is not available is missing, never 0; the last one that was is kept with its age, because
one failed read is no reason to distrust a room. Ages run on the monotonic clock: a clock set right makes
nothing old.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.control.options import ControlOptions, RoomOptions
from agent.control.room import Observed, RoomSeen, Seen, UnitSeen
from agent.model import Group, Quality, Reading

POWERED_S_MAX = 3600.0
SILENT_S_MIN = 60.0


class _Kept(NamedTuple):
    """`taken_s`: when it was measured, monotonic."""

    value: float
    taken_s: float
    time_ms: int


class Sight:
    """The points that rooms and `[control]` name, out of the readings of `latest`."""

    def __init__(
        self, groups: Iterable[Group], latest: Mapping[Group, Reading], points: Iterable[str | None]
    ) -> None:
        wanted, self._latest = set(points), latest
        self._where = {
            point: (group, at)
            for group in groups
            for at, point in enumerate(group.point_ids)
            if point in wanted
        }
        self._kept: dict[str, _Kept] = {}

    def look(self, now_ms: int, now_s: float) -> dict[str, Seen]:
        """Every value that was ever available, with its age; `now_s` is monotonic."""
        for point, (group, at) in self._where.items():
            reading = self._latest.get(group)
            if reading is None or reading.quality is Quality.BAD or math.isnan(reading.values[at]):
                continue
            kept = self._kept.get(point)
            if kept is None or kept.time_ms != reading.time_ms:
                taken_s = now_s - max(now_ms - reading.time_ms, 0) / 1000
                self._kept[point] = _Kept(float(reading.values[at]), taken_s, reading.time_ms)
        return {
            point: Seen(kept.value, round(max(now_s - kept.taken_s, 0.0), 1))
            for point, kept in self._kept.items()
        }


class Powered:
    """How long units have had power, as far as their silence tells: who was silent and answers was
    without."""

    def __init__(self, since_boot_s: float, now_s: float) -> None:
        self._since_s = now_s - since_boot_s
        self._silent: set[str] = set()

    def powered_s(self, seen: Mapping[str, Seen], points: Iterable[str], now_s: float) -> float | None:
        """Seconds since power came back; None: for long."""
        for point in points:
            if point in seen and seen[point].age_s > SILENT_S_MIN:
                self._silent.add(point)
            elif point in self._silent:
                self._silent.remove(point)
                self._since_s = now_s
        powered_s = now_s - self._since_s
        return powered_s if powered_s < POWERED_S_MAX else None


def observed_of(
    rooms: Sequence[RoomOptions],
    control: ControlOptions,
    seen: Mapping[str, Seen],
    *,
    manual: set[str],
    certain: bool,
    powered_s: float | None,
) -> Observed:
    """The frozen snapshot in the words of the core. `manual`: rooms that others command now."""

    def of(point: str | None) -> Seen | None:
        return None if point is None else seen.get(point)

    def room_seen(room: RoomOptions) -> RoomSeen:
        units = {unit.id: UnitSeen(of(unit.on_point), of(unit.setpoint_point)) for unit in room.unit}
        return RoomSeen(
            temperature_c=of(room.temperature_point),
            humidity_pct=of(room.humidity_point),
            power_w=of(room.power_point),
            units=units,
            manual=room.id in manual,
            commanded=room.mode == "control",
        )

    return Observed(
        {room.id: room_seen(room) for room in rooms},
        outdoor_c=of(control.outdoor_point),
        sun_w_m2=of(control.sun_point),
        site_w=of(control.site_power_point),
        clock_trusted=certain,
        powered_s=powered_s,
    )


def points_of(rooms: Sequence[RoomOptions], control: ControlOptions) -> set[str]:
    """Every point that control reads."""
    named: set[str | None] = {control.outdoor_point, control.sun_point, control.site_power_point}
    for room in rooms:
        named |= {room.temperature_point, room.humidity_point, room.power_point}
        for unit in room.unit:
            named |= set(unit.points)
    return {point for point in named if point is not None}
