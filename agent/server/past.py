"""A period of the past for a WebSocket, column by column, in pieces that the live stream does not feel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import orjson

from agent.server.messages import Aggregate, Id
from agent.store import Store
from agent.store.series import Columns

VALUES_PER_PIECE = 5000  # some 60 KB


class Period(NamedTuple):
    """`from_ms` <= time < `to_ms`."""

    from_ms: int
    to_ms: int


class Piece(NamedTuple):
    """A message, and how many values it holds."""

    message: bytes
    values: int


async def pieces(
    store: Store, id: Id, ids: Sequence[str], period: Period, step: tuple[int, Aggregate]
) -> AsyncGenerator[Piece, None]:
    """Every reading of the points `ids`, or one value each `step` ms (0: none). OSError: no disk."""
    step_ms, aggregate = step
    async with aclosing(_columns(store, ids, period, step_ms, aggregate)) as found:
        async for part in found:
            rows = max(1, VALUES_PER_PIECE // max(1, len(part.points)))
            for at in range(0, len(part.time_ms), rows):
                own = slice(at, at + rows)
                values = len(part.time_ms[own]) * len(part.points)
                yield Piece(_message(id, part, own, with_quality=step_ms == 0), values)


async def _columns(
    store: Store, ids: Sequence[str], period: Period, step_ms: int, aggregate: Aggregate
) -> AsyncGenerator[Columns, None]:
    """`Store.columns`, or with a step one aggregate of it in the same shape (without qualities)."""
    if not step_ms:
        async with aclosing(store.columns(ids, *period)) as found:
            async for part in found:
                yield part
        return
    async with aclosing(store.downsample(ids, *period, step_ms)) as steps:
        async for step in steps:
            yield step.as_columns(aggregate)


def _message(id: Id, part: Columns, own: slice, *, with_quality: bool) -> bytes:
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
