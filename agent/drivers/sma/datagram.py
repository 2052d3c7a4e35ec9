"""Speedwire energy-meter datagrams to numbers. Sans I/O: bytes in, items out; nothing but ValueError.

A datagram is a head of 28 bytes (mark, group, length, protocol, meter, ticker) and items of four key
bytes (channel, index, type, tariff) and a value, up to four zero bytes. All numbers are big-endian
and not negative: import and export are separate items. The ticker is milliseconds of the meter's own,
wraps after 49.7 days and has no zero that we know: it tells datagrams apart and is never a time.

Source: datenschuft/SMA-EM, speedwiredecoder.py; a 600-byte datagram of a real meter in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

MAGIC = bytes.fromhex("534D4100 000402A0")
METER_PROTOCOL = 0x6069
_HEAD = struct.Struct(">8sIHHHHII")
_VALUE_BYTES = {4: 4, 8: 8}
_VERSION_CHANNEL = 144


class NotForUsError(ValueError):
    """Speedwire, but not an energy meter's values (an inverter, a discovery): to be passed over."""


class Datagram(NamedTuple):
    """What a meter said: raw values by `index.type.tariff` ("1.4.0": present import, in 0.1 W)."""

    susy_id: int
    serial_number: int
    ticker_ms: int
    items: Mapping[str, int]


def decode(data: bytes) -> Datagram:
    """The datagram in `data`. NotForUsError if it is of another kind, ValueError if it is broken."""
    if not data.startswith(MAGIC):
        raise ValueError(f"expected a Speedwire datagram, found {data[:8].hex(' ') or 'nothing'}")
    if len(data) < _HEAD.size:
        raise NotForUsError(f"a Speedwire datagram of {len(data)} bytes")
    _, _, length, _, protocol, susy_id, serial_number, ticker_ms = _HEAD.unpack_from(data)
    if protocol != METER_PROTOCOL:
        raise NotForUsError(f"protocol 0x{protocol:04X}")
    if 16 + length > len(data):
        raise ValueError(f"expected {16 + length} bytes, found {len(data)}: it was cut")
    items = _items(data[_HEAD.size : 16 + length])
    if not items:
        raise NotForUsError("a meter's datagram without values")
    return Datagram(susy_id, serial_number, ticker_ms, items)


def _items(data: bytes) -> dict[str, int]:
    items: dict[str, int] = {}
    at = 0
    while at + 4 <= len(data) and data[at : at + 4] != b"\0\0\0\0":
        channel, index, kind, tariff = data[at : at + 4]
        width = 4 if channel == _VERSION_CHANNEL else _VALUE_BYTES.get(kind)
        if width is None:  # of a kind unknown today; what came before it is good
            break
        value = data[at + 4 : at + 4 + width]
        if len(value) < width:
            raise ValueError(f"item {index}.{kind}.{tariff}: expected {width} bytes, found {len(value)}")
        if channel == 0:
            items[f"{index}.{kind}.{tariff}"] = int.from_bytes(value, "big")
        at += 4 + width
    return items
