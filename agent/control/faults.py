"""What is wrong with `[[room]]` tables beside the devices they name: found before anything starts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence

from agent.control.options import ControlOptions, RoomOptions, UnitOptions
from agent.model import STEP_TOLERANCE, Point

Faults = Iterator[tuple[str, str]]


def room_faults(rooms: Sequence[RoomOptions], points: Mapping[str, Point]) -> Faults:
    """Key path and text of each; `points` are those of every configured device, by id."""
    commanded: dict[str, str] = {}
    for at, room in enumerate(rooms):
        if room.controller_file is not None and not room.controller_file.is_file():
            yield (
                f"room[{at}].controller_file",
                f"expected a Python file, found none at {room.controller_file}",
            )
        for key in ("temperature_point", "humidity_point", "power_point"):
            yield from _unknown(f"room[{at}].{key}", getattr(room, key), points)
        for number, unit in enumerate(room.unit):
            path = f"room[{at}].unit[{number}]"
            yield from _unit_faults(path, unit, points)
            yield from _fallback_faults(path, room, unit, points)
            for point in unit.points:
                if point in commanded:
                    yield path, f"expected each point in one unit only, {point} is also in {commanded[point]}"
                commanded[point] = path


def control_faults(control: ControlOptions, points: Mapping[str, Point]) -> Faults:
    """The same for `[control]`."""
    for key in ("outdoor_point", "sun_point", "site_power_point"):
        yield from _unknown(f"control.{key}", getattr(control, key), points)


def _unknown(path: str, point: str | None, points: Mapping[str, Point]) -> Faults:
    if point is None or point in points:
        return
    near = difflib.get_close_matches(point, points, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    yield path, f"expected a point of a configured device, found {point!r}{hint}"


def _unit_faults(path: str, unit: UnitOptions, points: Mapping[str, Point]) -> Faults:
    """Everything that control may ever write must be something the point takes."""
    written: dict[str, tuple[str | None, list[float]]] = {
        "on_point": (unit.on_point, [0.0, 1.0]),
        "setpoint_point": (unit.setpoint_point, setpoints(unit)),
        "mode_point": (
            unit.mode_point,
            [unit.cool_code, *([] if unit.dry_code is None else [unit.dry_code])],
        ),
        "fan_point": (unit.fan_point, [unit.fan_code]),
    }
    for key, (name, values) in written.items():
        yield from _unknown(f"{path}.{key}", name, points)
        if name is None or name not in points:
            continue
        for value in values:
            try:
                points[name].check(value)
            except ValueError as error:
                yield f"{path}.{key}", f"{name}: {error}"
                break


def setpoints(unit: UnitOptions) -> list[float]:
    """Every set point of the unit's grid inside its range."""
    step_k = unit.setpoint_step_k
    first = math.ceil(unit.setpoint_min_c / step_k - STEP_TOLERANCE)
    last = math.floor(unit.setpoint_max_c / step_k + STEP_TOLERANCE)
    return [at * step_k for at in range(first, last + 1)]


def _fallback_faults(path: str, room: RoomOptions, unit: UnitOptions, points: Mapping[str, Point]) -> Faults:
    point = points.get(unit.on_point)
    if room.mode == "control" and point and point.writable and point.writable.fallback == 0:
        text = f"expected no fallback of 0 on {unit.on_point}: the unit would be left off in occupied hours"
        yield f"{path}.on_point", text
