"""A group's shape as a row, and its values as bytes. Pure."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

import orjson

from agent.model import Device, Group, Kind, Point


@functools.cache
def packer(count: int) -> struct.Struct:
    """Packs `count` values as little-endian float64."""
    return struct.Struct(f"<{count}d")


def unpack(packed: bytes) -> Sequence[float]:
    """The values of a row."""
    return packer(len(packed) // 8).unpack(packed)


def encode(group: Group) -> tuple[str, str, str]:
    """Device, name and layout of a group: equal for two groups only if their rows read alike."""
    layout = {
        "type": group.device.type,
        "interval_ms": group.interval_ms,
        "points": [
            {"name": point.name, "unit": point.unit, "kind": point.kind,
             "states": {str(code): text for code, text in point.states.items()}}
            for point in group.points
        ],
    }  # fmt: skip
    return group.device.name, group.name, orjson.dumps(layout).decode()


def decode(device: str, name: str, layout: str) -> Group:
    """The group that `encode` described."""
    shape = orjson.loads(layout)
    points = tuple(
        Point(
            point["name"],
            point["unit"],
            Kind(point["kind"]),
            {int(code): text for code, text in point["states"].items()},
        )
        for point in shape["points"]
    )
    return Group(Device(device, shape["type"]), name, points, shape["interval_ms"])
