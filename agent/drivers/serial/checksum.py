"""Checksums of serial frames. Pure: bytes in, a whole number out.

The names are those of the CRC catalogue where it has one: `crc8` is CRC-8/SMBUS, `crc8-maxim`
CRC-8/MAXIM-DOW, `crc16-modbus` CRC-16/MODBUS, `crc16-ccitt` CRC-16/IBM-3740 (start 0xFFFF, often
called CCITT-FALSE), `crc16-xmodem` the same with start 0. `sum8-negated` is the two's complement
of `sum8`: with it, all bytes add up to zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import xor
from typing import Literal

Kind = Literal[
    "xor",
    "sum8",
    "sum8-negated",
    "crc8",
    "crc8-maxim",
    "crc16-modbus",
    "crc16-ccitt",
    "crc16-xmodem",
]


def checksum(kind: Kind, data: bytes) -> int:
    """The checksum of `data`: 0-255 or 0-65535 by its kind."""
    return _KINDS[kind](data)


def width_bytes(kind: Kind) -> int:
    """How many bytes the checksum takes in a frame."""
    return 2 if kind.startswith("crc16") else 1


def _left(bits: int, polynomial: int, start: int) -> Callable[[bytes], int]:
    """A CRC that shifts towards its high bit."""
    top, mask, shift = 1 << (bits - 1), (1 << bits) - 1, bits - 8
    table = []
    for byte in range(256):
        value = byte << shift
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)

    def crc(data: bytes) -> int:
        value = start
        for byte in data:
            value = (value << 8 & mask) ^ table[(value >> shift) ^ byte]
        return value

    return crc


def _right(polynomial: int, start: int) -> Callable[[bytes], int]:
    """A CRC that shifts towards its low bit (bits reflected on the way in and out)."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ polynomial if value & 1 else value >> 1
        table.append(value)

    def crc(data: bytes) -> int:
        value = start
        for byte in data:
            value = value >> 8 ^ table[(value ^ byte) & 0xFF]
        return value

    return crc


_KINDS: Mapping[Kind, Callable[[bytes], int]] = {
    "xor": lambda data: reduce(xor, data, 0),
    "sum8": lambda data: sum(data) & 0xFF,
    "sum8-negated": lambda data: -sum(data) & 0xFF,
    "crc8": _left(8, 0x07, 0),
    "crc8-maxim": _right(0x8C, 0),
    "crc16-modbus": _right(0xA001, 0xFFFF),
    "crc16-ccitt": _left(16, 0x1021, 0xFFFF),
    "crc16-xmodem": _left(16, 0x1021, 0),
}
