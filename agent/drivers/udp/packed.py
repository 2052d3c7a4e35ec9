"""The packed form of a datagram: little-endian, fixed places, the tag at the end. Pure.

offset  0  "UT", version 1, type         all types
        4  key id, boot id, number       number: seq (data, ack), 0 (command, result)
       16  what the type says
      -16  HMAC-SHA-256 of all before it, cut to 128 bits
"""

from __future__ import annotations

import enum
import hashlib
import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

from agent.drivers.modbus.codec import shortest_f32
from agent.drivers.udp.keys import TAG_BYTES, Key
from agent.drivers.udp.message import DATAGRAM_BYTES_MAX, Ack, Command, Data, Result, Sample, finite
from agent.drivers.udp.refusal import Refused
from agent.model import NAN

MAGIC = b"UT"
VERSION = 1
HEAD = struct.Struct("<2sBBIII")
DATA = struct.Struct("<4sIIIIIQHBB")  # the head as three numbers, then layout, oldest, unix ms, ...
ACK = struct.Struct("<II")
COMMAND = struct.Struct("<QIHd")
RESULT = struct.Struct("<QBd")
SAMPLE_HEAD = "<IIB"
BYTES_MIN = HEAD.size + TAG_BYTES
DATA_BYTES_MIN = DATA.size + TAG_BYTES
ACK_BITMAP_BYTES_MAX = 32
DECIMALS_MAX = 16_384

WANTS_ACK = 1
FLOAT64 = 2


class Type(enum.IntEnum):
    DATA = 1
    ACK = 2
    COMMAND = 3
    RESULT = 4


DATA_MARK = MAGIC + bytes((VERSION, Type.DATA))


class Layout(NamedTuple):
    """The points of a packed sample: how it is laid out in 32-bit and 64-bit floats, and its id.

    The id is made of the keys in their order, so a module built for another profile is noticed.
    """

    id: int
    single: struct.Struct
    double: struct.Struct

    @classmethod
    def of(cls, keys: Sequence[str]) -> Layout:
        digest = hashlib.sha256("\n".join(keys).encode()).digest()
        single, double = (struct.Struct(f"{SAMPLE_HEAD}{len(keys)}{letter}") for letter in "fd")
        return cls(int.from_bytes(digest[:4], "little"), single, double)


def check_size(data: bytes) -> None:
    """Refused unless a packed datagram has room for a head and a tag, and is not too long."""
    if not BYTES_MIN <= len(data) <= DATAGRAM_BYTES_MAX:
        expected = f"{BYTES_MIN} to {DATAGRAM_BYTES_MAX} bytes"
        raise Refused("malformed", f"expected {expected}, found {len(data)}: {data[:40]!r}")


def check_result(data: bytes) -> None:
    """Refused unless this is a result; a module sends nothing else but data."""
    check_size(data)
    if data[:2] != MAGIC:
        raise Refused("malformed", f"expected a JSON object or a packed datagram, found {data[:40]!r}")
    if data[2:4] != bytes((VERSION, Type.RESULT)):
        found = f"version {data[2]}, type {data[3]}"
        raise Refused("malformed", f"expected version {VERSION}, type 1 (data) or 4 (result), found {found}")


def key_id_of(data: bytes) -> int:
    """Which key a packed datagram says it was signed with."""
    return int.from_bytes(data[4:8], "little")


def read_data(data: bytes, layout: Layout) -> Data:
    """What a datagram of type DATA, signed rightly, says; Refused if it does not add up."""
    end = len(data) - TAG_BYTES
    if end < DATA.size:
        raise Refused("malformed", f"expected at least {DATA.size + TAG_BYTES} bytes, found {len(data)}")
    _, _, boot, seq, layout_id, oldest, unix_ms, valid_s, flags, count = DATA.unpack_from(data)
    if layout_id != layout.id:
        raise Refused(
            "other_layout",
            f"expected layout {layout.id:08x}, found {layout_id:08x}: its points are not of its profile",
        )
    shape = layout.double if flags & FLOAT64 else layout.single
    if end - DATA.size != count * shape.size:
        found = end - DATA.size
        raise Refused("malformed", f"expected {count} samples of {shape.size} bytes, found {found} bytes")
    samples: list[Sample] = list(shape.iter_unpack(data[DATA.size : end]))
    clean = finite if flags & FLOAT64 else decimals
    return Data(boot, seq, oldest, unix_ms, valid_s, bool(flags & WANTS_ACK), samples, clean)


class _Shortest(dict[float, float]):
    """The shortest decimal of each 32-bit float met lately: sensors repeat themselves. NaN if not finite."""

    def __missing__(self, value: float) -> float:
        if not math.isfinite(value):
            return NAN
        if len(self) >= DECIMALS_MAX:
            self.clear()
        self[value] = shortest = shortest_f32(value)
        return shortest


_shortest = _Shortest().__getitem__


def decimals(values: Sequence[float]) -> Sequence[float]:
    """32-bit floats as the shortest decimals that name them; NaN for what is not finite."""
    return list(map(_shortest, values))


def read_result(data: bytes) -> Result:
    """What a datagram of type RESULT, signed rightly, says; Refused if it does not add up."""
    if len(data) != HEAD.size + RESULT.size + TAG_BYTES:
        expected = HEAD.size + RESULT.size + TAG_BYTES
        raise Refused("malformed", f"expected a result of {expected} bytes, found {len(data)}")
    boot = HEAD.unpack_from(data)[4]
    command_id, status, value = RESULT.unpack_from(data, HEAD.size)
    return Result(boot, command_id, status, finite((value,))[0])


def ack(message: Ack, key: Key, size_max: int) -> bytes | None:
    """An acknowledgement of at most `size_max` bytes, its bitmap cut to fit; None if that cannot be."""
    room = size_max - BYTES_MIN - ACK.size
    if room < 0:
        return None
    bits = message.bits[: min(room, ACK_BITMAP_BYTES_MAX)]
    return _signed(Type.ACK, key, message.boot, message.seq, ACK.pack(message.safe, message.complete) + bits)


def command(message: Command, layout: Layout, key: Key) -> bytes:
    body = COMMAND.pack(message.id, layout.id, message.point, message.value)
    return _signed(Type.COMMAND, key, message.boot, 0, body)


def _signed(kind: Type, key: Key, boot: int, number: int, rest: bytes) -> bytes:
    body = HEAD.pack(MAGIC, VERSION, kind, key.id, boot, number) + rest
    return body + key.tag(body)
