"""Registers to numbers. Pure; a decoder is built once per point and called at every read.

Word orders are named by how the bytes A (most significant) to D arrive: ABCD is the Modbus custom,
CDAB low word first, BADC bytes swapped in each word, DCBA all reversed.

A scale is applied as the decimal it was written as: raw 3 at scale 0.1 is 0.3, not
0.30000000000000004. A 32-bit float becomes the shortest decimal that names it (230.2, not
230.1999969482422): nothing is lost, since that decimal rounds back to the same 32 bits.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal

from agent.model import NAN

Type = Literal["u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"]
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
Decode = Callable[[Sequence[int], int], float]

_FORMAT = {
    "u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i",
    "u64": ">Q", "s64": ">q", "f32": ">f", "f64": ">d",
}  # fmt: skip


def words(kind: Type) -> int:
    """Registers that a value of this type takes."""
    return struct.calcsize(_FORMAT[kind]) // 2


def decoder(
    kind: Type,
    order: Order = "ABCD",
    *,
    scale: float = 1,
    offset: float = 0,
    invalid: Sequence[int] = (),
) -> Decode:
    """`decode(registers, at)` gives the engineering value of the registers from `at` on.

    value = raw x scale + offset; a raw value listed in `invalid`, NaN and infinity give NaN.
    """
    raw = _raw(kind, order)
    if kind in ("f32", "f64"):
        return _float(raw, kind, scale, offset)
    return _integer(raw, scale, offset, frozenset(invalid))


def _raw(kind: Type, order: Order) -> Callable[[Sequence[int], int], int | float]:
    if kind == "u16" and order in ("ABCD", "CDAB"):
        return lambda registers, at: registers[at]
    count, shape = words(kind), struct.Struct(_FORMAT[kind])
    pack = struct.Struct(f"{'<' if order in ('BADC', 'DCBA') else '>'}{count}H").pack
    step = -1 if order in ("CDAB", "DCBA") else 1

    def raw(registers: Sequence[int], at: int) -> int | float:
        value: int | float = shape.unpack(pack(*registers[at : at + count][::step]))[0]
        return value

    return raw


def _integer(
    raw: Callable[[Sequence[int], int], int | float], scale: float, offset: float, invalid: frozenset[int]
) -> Decode:
    times, by = Decimal(str(scale)).as_integer_ratio()
    shift = Decimal(str(offset)) * by
    exact = shift == int(shift)
    add = int(shift)

    def decode(registers: Sequence[int], at: int) -> float:
        value = raw(registers, at)
        if value in invalid:
            return NAN
        # One division of whole numbers: correctly rounded, so it prints as the decimal it is.
        return (value * times + add) / by if exact else value * times / by + offset

    return decode


def _float(
    raw: Callable[[Sequence[int], int], int | float], kind: Type, scale: float, offset: float
) -> Decode:
    single = kind == "f32"
    times, add = Decimal(str(scale)), Decimal(str(offset))
    plain = times == 1 and not add

    def decode(registers: Sequence[int], at: int) -> float:
        value = raw(registers, at)
        if not math.isfinite(value):
            return NAN
        if single:
            value = shortest_f32(value)
        return value if plain else float(Decimal(repr(value)) * times + add)

    return decode


def shortest_f32(value: float) -> float:
    """The shortest decimal that rounds to the same 32-bit float as `value`."""
    wanted = struct.pack(">f", value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack(">f", short) == wanted:
                return short
        except OverflowError:  # rounding up at the very end of the range
            continue
    return float(f"{value:.9g}")
