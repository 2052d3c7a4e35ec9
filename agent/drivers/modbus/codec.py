"""Registers to numbers and back. Pure; what can be prepared is prepared once per point, not at every read.

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
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from agent.model import NAN

Type = Literal["bool", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"]
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
Conversion = Literal["power_factor_4q"]
Decode = Callable[[Sequence[int], int], float]

EXPONENT_MAX = 10
GRID_TOLERANCE = Decimal("1e-6")
_SHAPES = {
    "bool": "H", "u16": "H", "s16": "h", "u32": "I", "s32": "i",
    "u64": "Q", "s64": "q", "f32": "f", "f64": "d",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coding:
    """How a value lies in its registers: value = conversion((raw & mask, shifted down) x scale + offset).

    `mask` 0 takes all bits. A raw value listed in `invalid`, NaN and infinity mean: not available.
    """

    kind: Type = "u16"
    order: Order = "ABCD"
    scale: float = 1
    offset: float = 0
    invalid: tuple[int, ...] = ()
    mask: int = 0
    conversion: Conversion | None = None

    @property
    def is_float(self) -> bool:
        return self.kind in ("f32", "f64")

    @property
    def is_plain(self) -> bool:
        """Whether the raw number is the value."""
        return self.scale == 1 and not self.offset and not self.invalid and not self.mask

    @property
    def shift(self) -> int:
        """How far the lowest bit of `mask` is from bit 0."""
        return (self.mask & -self.mask).bit_length() - 1 if self.mask else 0


def words(kind: Type) -> int:
    """Registers that a value of this type takes."""
    return struct.calcsize(">" + _SHAPES[kind]) // 2


def shape(coding: Coding) -> str:
    """The `struct` code that takes the raw value out of a big-endian answer."""
    return _SHAPES[coding.kind] if _is_in_order(coding) else f"{2 * words(coding.kind)}s"


def _is_in_order(coding: Coding) -> bool:
    return coding.order == "ABCD" or (coding.order == "CDAB" and words(coding.kind) == 1)


def reorder(data: bytes, order: Order) -> bytes:
    """Bytes as they arrive from bytes most significant first, or the other way: each order undoes itself."""
    if order == "DCBA":
        return data[::-1]
    if order == "CDAB":
        return b"".join(data[at : at + 2] for at in range(len(data) - 2, -1, -2))
    if order == "BADC":
        return b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))
    return data


def value_of(coding: Coding) -> Callable[[Any], float]:
    """What turns what `shape` takes out into the engineering value."""
    number = _float(coding) if coding.is_float else _integer(coding)
    if coding.conversion == "power_factor_4q":
        number = _four_quadrants(number)
    if _is_in_order(coding):
        return number
    unpack, order = struct.Struct(">" + _SHAPES[coding.kind]).unpack, coding.order
    return lambda data: number(unpack(reorder(data, order))[0])


def decoder(coding: Coding) -> Decode:
    """`decode(registers, at)` gives the engineering value of the registers from `at` on."""
    count, value = words(coding.kind), value_of(coding)
    take = struct.Struct(">" + shape(coding)).unpack

    def decode(registers: Sequence[int], at: int) -> float:
        return value(take(struct.pack(f">{count}H", *registers[at : at + count]))[0])

    return decode


def _integer(coding: Coding) -> Callable[[int], float]:
    if coding.kind == "bool":
        return lambda raw: NAN if raw in coding.invalid else float(raw != 0)
    if coding.is_plain:
        return float
    scaled, invalid = _scaled(coding.scale, coding.offset), frozenset(coding.invalid)
    mask, shift = coding.mask, coding.shift
    if mask:
        return lambda raw: NAN if raw in invalid else scaled((raw & mask) >> shift)
    if invalid:
        return lambda raw: NAN if raw in invalid else scaled(raw)
    return scaled


def _scaled(scale: float, offset: float) -> Callable[[int], float]:
    """One division of whole numbers: correctly rounded, so it prints as the decimal it is."""
    times, by = Decimal(str(scale)).as_integer_ratio()
    shift = Decimal(str(offset)) * by
    if shift != int(shift):
        return lambda raw: raw * times / by + offset
    add = int(shift)
    if times == 1 and not add:
        return lambda raw: raw / by
    return lambda raw: (raw * times + add) / by


def _float(coding: Coding) -> Callable[[float], float]:
    times, add = Decimal(str(coding.scale)), Decimal(str(coding.offset))
    plain, single = coding.is_plain, coding.kind == "f32"

    def value(raw: float) -> float:
        if not math.isfinite(raw):
            return NAN
        if single:
            raw = shortest_f32(raw)
        value = raw if plain else float(Decimal(repr(raw)) * times + add)
        return value if math.isfinite(value) else NAN

    return value


def _four_quadrants(number: Callable[[Any], float]) -> Callable[[Any], float]:
    """Schneider's float of -2 to 2: beyond 1 the load leads. The power factor, with the power's sign."""

    def value(raw: float) -> float:
        coded = number(raw)
        if not abs(coded) <= 2:
            return NAN
        return coded if abs(coded) <= 1 else math.copysign(round(2 - abs(coded), 7), coded)

    return value


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


def with_exponent(value: float, exponent: float) -> float:
    """`value` x 10^`exponent`, for a scale register (SunSpec); NaN if the exponent is not believable."""
    if not abs(exponent) <= EXPONENT_MAX:
        return NAN
    power = 10.0 ** int(abs(exponent))
    scaled = value * power if exponent >= 0 else value / power
    return scaled if math.isfinite(scaled) else NAN


def encode(coding: Coding, value: float) -> tuple[int, ...]:
    """The registers that hold `value`; of a masked value only its own bits are set.

    ValueError if it is not a number, lies between two raw values or does not fit.
    """
    if not math.isfinite(value):
        raise ValueError(f"expected a number, found {value}")
    count = words(coding.kind)
    raw = _raw(coding, value)
    try:
        data = struct.pack(">" + _SHAPES[coding.kind], raw)
    except (struct.error, OverflowError):
        raise ValueError(f"expected what fits in {coding.kind}, found {value}") from None
    return struct.unpack(f">{count}H", reorder(data, coding.order))


def _raw(coding: Coding, value: float) -> int | float:
    exact = (Decimal(str(value)) - Decimal(str(coding.offset))) / Decimal(str(coding.scale))
    if coding.is_float:
        return float(exact)
    raw = int(exact.to_integral_value())
    if abs(exact - raw) > GRID_TOLERANCE:
        raise ValueError(f"expected a multiple of {coding.scale:g}, found {value}")
    if coding.kind == "bool" and raw not in (0, 1):
        raise ValueError(f"expected 0 or 1, found {value}")
    if not coding.mask:
        return raw
    if raw < 0 or (raw << coding.shift) & ~coding.mask:
        raise ValueError(f"expected what fits in the bits {coding.mask:#06x}, found {value}")
    return raw << coding.shift


def merged(coding: Coding, old: Sequence[int], new: Sequence[int]) -> tuple[int, ...]:
    """`old` registers with only the bits of a masked value taken from `new`."""
    size = 2 * words(coding.kind)
    mask = reorder(coding.mask.to_bytes(size, "big"), coding.order)
    keep = struct.unpack(f">{size // 2}H", mask)
    return tuple(was & ~bits | now & bits for was, now, bits in zip(old, new, keep, strict=True))
