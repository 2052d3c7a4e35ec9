"""A period of the past as messages of the WebSocket (`history`): made by the child that reads the store.

What comes out is ready to be sent, so that the agent's own process needs no arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from agent.store.series import Columns, Steps

VALUES_PER_PIECE = 5000  # some 60 KB

Piece = tuple[bytes, int]  # a message, and how many values it holds


def readings(found: Iterator[Columns], id: str | int) -> Iterator[list[Piece]]:
    """Every reading, with its quality."""
    for part in found:
        yield list(_pieces(id, part, with_quality=True))


def aggregates(found: Iterator[Steps], id: str | int, aggregate: str) -> Iterator[list[Piece]]:
    """One value a step, without qualities."""
    for step in found:
        yield list(_pieces(id, step.as_columns(aggregate), with_quality=False))


def _pieces(id: str | int, part: Columns, *, with_quality: bool) -> Iterator[Piece]:
    rows = max(1, VALUES_PER_PIECE // max(1, len(part.points)))
    for at in range(0, len(part.time_ms), rows):
        own = slice(at, at + rows)
        values = len(part.time_ms[own]) * len(part.points)
        yield _message(id, part, own, with_quality=with_quality), values


def _message(id: str | int, part: Columns, own: slice, *, with_quality: bool) -> bytes:
    group, names = part.group, (name.partition(".")[2] for name in part.points)
    said: dict[str, Any] = {
        "type": "history",
        "id": id,
        "device": group.device.name,
        "group": group.name,
        "time_ms": part.time_ms[own],
        "values": {name: part.values[own, at].copy() for at, name in enumerate(names)},
    }
    if with_quality:
        said["quality"] = part.quality[own]
    return orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
