"""Which requests read a set of registers and bits. Pure.

Rules: a value is never split over two requests (a torn counter is a wrong counter); no request is
longer than the device takes; two values share a request when at most `max_gap` unwanted registers
lie between them. The result does not depend on the order of the input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agent.drivers.modbus.pdu import BITS_MAX, REGISTERS_MAX, Table, is_bit_table


class Span(NamedTuple):
    """The registers (or the bit) of one value; `slot` is its place in the reading."""

    table: Table
    address: int
    width: int
    slot: int

    @property
    def end(self) -> int:
        return self.address + self.width


class Block(NamedTuple):
    """One request: `width` registers (or bits) from `address`, and the values found inside."""

    table: Table
    address: int
    width: int
    spans: tuple[Span, ...]

    @property
    def end(self) -> int:
        return self.address + self.width

    def __str__(self) -> str:
        noun = "bit" if is_bit_table(self.table) else "register"
        if self.width == 1:
            return f"{self.table} {noun} {self.address}"
        return f"{self.table} {noun}s {self.address}-{self.end - 1}"


def plan(
    spans: Iterable[Span],
    *,
    max_registers: int = REGISTERS_MAX,
    max_gap: int = 0,
    max_bits: int = BITS_MAX,
) -> tuple[Block, ...]:
    """The blocks that read all `spans`, in order of table and address.

    ValueError if a single value is longer than a request may be.
    """
    blocks: list[Block] = []
    for span in sorted(spans):
        most = max_bits if is_bit_table(span.table) else max_registers
        if span.width > most:
            raise ValueError(f"a value of {span.width} registers does not fit in {most} per request")
        joined = _join(blocks[-1], span, most, max_gap) if blocks else None
        if joined:
            blocks[-1] = joined
        else:
            blocks.append(block_of((span,)))
    return tuple(blocks)


def _join(block: Block, span: Span, most: int, max_gap: int) -> Block | None:
    if block.table != span.table or span.address - block.end > max_gap:
        return None
    width = max(block.end, span.end) - block.address
    if width > most:
        return None
    return Block(block.table, block.address, width, (*block.spans, span))


def block_of(spans: tuple[Span, ...]) -> Block:
    """The request that reads just these spans (of one table, in order of address)."""
    first = spans[0]
    return Block(first.table, first.address, max(span.end for span in spans) - first.address, spans)
