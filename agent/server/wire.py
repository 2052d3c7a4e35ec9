"""How points and readings look in JSON. Pure.

A value that is not available is `null`; every other one is a JSON number that reads back as the very
same float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from agent.model import Group, Reading, Writable


def reading_json(reading: Reading, columns: Sequence[int]) -> bytes:
    """`reading` with the values at `columns`. (orjson writes NaN and the infinities as null.)"""
    group, time_ms, values, quality = reading
    points = group.points
    return orjson.dumps(
        {
            "device": group.device.name,
            "group": group.name,
            "time_ms": time_ms,
            "quality": quality.name.lower(),
            "values": {points[at].name: float(values[at]) for at in columns},
        }
    )


def readings_json(head: bytes, readings: Iterable[bytes]) -> bytes:
    """An object of the members `head` (JSON text, with its comma) and `readings`."""
    return b'{%b"readings":[%b]}' % (head, b",".join(readings))


def points_of(group: Group) -> list[dict[str, Any]]:
    """What is known of each point of `group` beside its value."""
    return [
        {
            "id": point_id,
            "device": group.device.name,
            "label": group.device.label,
            "type": group.device.type,
            "group": group.name,
            "point": point.name,
            "unit": point.unit,
            "kind": point.kind.value,
            "states": {str(code): text for code, text in point.states.items()},
            "interval_ms": group.interval_ms,
            "writable": None if point.writable is None else _range(point.writable),
        }
        for point_id, point in zip(group.point_ids, group.points, strict=True)
    ]


def _range(writable: Writable) -> dict[str, Any]:
    return {
        "low": writable.low,
        "high": writable.high,
        "step": writable.step,
        "on_silence": writable.on_silence,
        "fallback": writable.fallback,
    }
