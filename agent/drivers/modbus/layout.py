"""From an answer's bytes to values in one go: prepared once per block, run at every read. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agent.drivers.modbus.codec import Coding, shape, value_of
from agent.drivers.modbus.pdu import is_bit_table
from agent.drivers.modbus.plan import Block, Span

HEAD_BYTES = 2  # function and byte count, before the data of an answer
Values = list[float]


class _Pass(NamedTuple):
    """Values that do not overlap: taken out by one `struct`, then converted one by one."""

    take: Callable[[bytes, int], tuple[Any, ...]]
    convert: tuple[Callable[[Any], float], ...]
    slots: tuple[int, ...]
    row: slice | None


def layout(block: Block, codings: Sequence[Coding]) -> Callable[[bytes, Values], None]:
    """`decode(answer, values)` puts each value of the block in its slot; `codings` are by slot."""
    if is_bit_table(block.table):
        places = [(*divmod(span.address - block.address, 8), span.slot) for span in block.spans]
        return lambda answer, values: _bits(places, answer, values)
    passes = [_pass(block, spans, codings) for spans in _without_overlap(block.spans)]
    if len(passes) == 1 and passes[0].row is not None:
        return _row(passes[0], passes[0].row)
    return lambda answer, values: _scatter(passes, answer, values)


def _row(single: _Pass, row: slice) -> Callable[[bytes, Values], None]:
    """The usual case, made fast: the values lie in the reading as they lie in the answer."""
    take, convert = single.take, single.convert
    if all(each is float for each in convert):

        def plain(answer: bytes, values: Values) -> None:
            values[row] = map(float, take(answer, HEAD_BYTES))

        return plain

    def decode(answer: bytes, values: Values) -> None:
        raws = take(answer, HEAD_BYTES)
        values[row] = [number(raw) for number, raw in zip(convert, raws, strict=True)]

    return decode


def _scatter(passes: Sequence[_Pass], answer: bytes, values: Values) -> None:
    for take, convert, slots, _ in passes:
        raws = take(answer, HEAD_BYTES)
        for slot, number, raw in zip(slots, convert, raws, strict=True):
            values[slot] = number(raw)


def _bits(places: Sequence[tuple[int, int, int]], answer: bytes, values: Values) -> None:
    for byte, bit, slot in places:
        values[slot] = float(answer[HEAD_BYTES + byte] >> bit & 1)


def _pass(block: Block, spans: Sequence[Span], codings: Sequence[Coding]) -> _Pass:
    code, at = ">", block.address
    for span in spans:
        code += f"{2 * (span.address - at)}x{shape(codings[span.slot])}"
        at = span.end
    slots = tuple(span.slot for span in spans)
    in_a_row = slots == tuple(range(slots[0], slots[0] + len(slots)))
    row = slice(slots[0], slots[0] + len(slots)) if in_a_row else None
    convert = tuple(value_of(codings[slot]) for slot in slots)
    return _Pass(struct.Struct(code).unpack_from, convert, slots, row)


def _without_overlap(spans: Sequence[Span]) -> list[list[Span]]:
    """The spans in as few lists as keep those that share a register apart."""
    passes: list[list[Span]] = []
    for span in spans:
        for each in passes:
            if each[-1].end <= span.address:
                each.append(span)
                break
        else:
            passes.append([span])
    return passes
