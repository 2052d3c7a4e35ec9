"""A period of the past for a WebSocket, column by column, in pieces that the live stream does not feel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from agent.server.messages import Aggregate, Id
from agent.store import Store

PIECES = "agent.export.pieces"


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
    if step_ms:
        parts = store.told(f"{PIECES}:aggregates", ids, period, step_ms, id, aggregate)
    else:
        parts = store.told(f"{PIECES}:readings", ids, period, 0, id)
    async with aclosing(parts):
        async for part in parts:
            for piece in part:
                yield Piece(*piece)
