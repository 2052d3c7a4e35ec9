"""Registers seen as numbers under each type and byte order. Pure.

A view leaves out what is no news: a signed number that is not negative (the unsigned view has it), and
zero. A 32-bit number that would fit in 16 bits is kept, but proves hardly more than one of 16 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from agent.drivers.modbus.codec import Coding, Order, Type, decoder, words

TYPES: tuple[Type, ...] = ("u16", "s16", "u32", "s32", "f32", "u64", "s64", "f64")
ORDERS: tuple[Order, ...] = ("ABCD", "CDAB", "DCBA", "BADC")
REGISTERS_MAX = 2000
FLOAT_LEAST, FLOAT_MOST = 1e-4, 1e12
# How many decades of chance it takes to look like a mains value: by type.
RARITY: Mapping[Type, float] = {
    "u16": 1.0, "s16": 0.8, "u32": 2.5, "s32": 2.0, "f32": 4.0, "u64": 2.5, "s64": 2.0, "f64": 4.0,
}  # fmt: skip
# 16-bit values in bytes reversed are rare; of the 32-bit orders the Modbus custom is likelier.
ORDER_RARITY: Mapping[Order, float] = {"ABCD": 0.2, "CDAB": 0.1, "DCBA": 0.0, "BADC": -0.2}


class View(NamedTuple):
    """The raw values by their place, as `type` and `order` read them; zeros and nonsense left out."""

    type: Type
    order: Order
    raws: Mapping[int, float]

    @property
    def is_float(self) -> bool:
        return self.type in ("f32", "f64")

    @property
    def words(self) -> int:
        return words(self.type)

    def rarity(self, raw: float) -> float:
        """How much it says that `raw` is a sensible value, in decades of chance."""
        if self.words == 2 and not self.is_float and abs(raw) < 65536:
            return RARITY["u16"] + 0.4 + ORDER_RARITY[self.order]
        return RARITY[self.type] + ORDER_RARITY[self.order]

    def scales(self, whole: Sequence[float], real: Sequence[float] = (1.0,)) -> Sequence[float]:
        """The scales to try: a float is in its unit already."""
        return real if self.is_float else whole


class Hit(NamedTuple):
    """One possible meaning of one place, its weight and the reason for it.

    `confirms`: the reason is that it fits other values, and adds to what it is by itself.
    """

    view: View
    at: int
    scale: float
    quantity: str
    unit: str
    weight: float
    reason: str
    confirms: bool = False

    @property
    def value(self) -> float:
        return float(f"{self.view.raws[self.at] * self.scale:.9g}")


def views(registers: Sequence[int]) -> Iterator[View]:
    """Every view of the registers, at most REGISTERS_MAX of them."""
    registers = registers[:REGISTERS_MAX]
    for kind in TYPES:
        for order in ORDERS:
            if words(kind) == 1 and order in ("CDAB", "DCBA"):
                continue  # of a single register there are only two orders
            yield View(kind, order, _raws(registers, kind, order))


def _raws(registers: Sequence[int], kind: Type, order: Order) -> dict[int, float]:
    decode, width = decoder(Coding(kind=kind, order=order)), words(kind)
    found = {}
    for at in range(len(registers) - width + 1):
        if not any(registers[at : at + width]):
            continue
        value = decode(registers, at)
        if math.isfinite(value) and _is_news(kind, value):
            found[at] = value
    return found


def _is_news(kind: Type, value: float) -> bool:
    if kind in ("f32", "f64"):
        return FLOAT_LEAST <= abs(value) <= FLOAT_MOST
    return value < 0 if kind.startswith("s") else value < 2 ** (16 * words(kind)) - 1
