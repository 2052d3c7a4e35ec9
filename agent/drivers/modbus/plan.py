"""Which requests read a set of registers. Pure.

Rules: a value is never split over two requests (a torn counter is a wrong counter); no request is
longer than the device takes; two values share a request when at most `max_gap` unwanted registers
lie between them. The result does not depend on the order of the input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Table = Literal["holding", "input"]


class Span(NamedTuple):
    """The registers of one value; `slot` is its place in the reading."""

    table: Table
    address: int
    width: int
    slot: int


class Block(NamedTuple):
    """One request: `width` registers from `address`, and the values found inside."""

    table: Table
    address: int
    width: int
    spans: tuple[Span, ...]

    @property
    def end(self) -> int:
        return self.address + self.width


def plan(spans: Iterable[Span], *, max_registers: int = 125, max_gap: int = 0) -> tuple[Block, ...]:
    """The blocks that read all `spans`, in order of table and address.

    ValueError if a single value is longer than `max_registers`.
    """
    blocks: list[Block] = []
    for span in sorted(spans):
        if span.width > max_registers:
            raise ValueError(f"a value of {span.width} registers does not fit in {max_registers} per request")
        joined = _join(blocks[-1], span, max_registers, max_gap) if blocks else None
        if joined:
            blocks[-1] = joined
        else:
            blocks.append(Block(span.table, span.address, span.width, (span,)))
    return tuple(blocks)


def _join(block: Block, span: Span, max_registers: int, max_gap: int) -> Block | None:
    if block.table != span.table or span.address - block.end > max_gap:
        return None
    width = max(block.end, span.address + span.width) - block.address
    if width > max_registers:
        return None
    return Block(block.table, block.address, width, (*block.spans, span))
