"""Modbus PDUs, what is asked and what is answered, without any framing. Pure.

Rules: addresses are as on the wire (0-based); an answer is checked against its request before anything
is taken from it; the only exceptions that escape are RefusedError (the device said no) and
MalformedError (what came is not an answer to what was asked). Functions 1-6, 15, 16, 23 and 43/14.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple

Table = Literal["coil", "discrete", "holding", "input"]

PDU_BYTES_MAX = 253
READ_FUNCTIONS: dict[Table, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
REGISTERS_MAX, BITS_MAX = 125, 2000
WRITE_REGISTERS_MAX, WRITE_BITS_MAX = 123, 1968
EXCEPTION_BIT = 0x80
IDENTIFY, IDENTIFY_MEI = 0x2B, 0x0E

EXCEPTIONS = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure",
    5: "acknowledge", 6: "device busy", 8: "memory parity error", 10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}  # fmt: skip


class RefusedError(Exception):
    """The device answered with an exception; `code` is its number."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}, {EXCEPTIONS.get(code, 'unknown')}")
        self.code = code


class MalformedError(ValueError):
    """What came is not an answer to what was asked."""


class Identification(NamedTuple):
    """One answer to `identify`: texts by object id, and the object to ask for next (None: all came)."""

    objects: dict[int, str]
    next_object: int | None


def is_bit_table(table: Table) -> bool:
    """Whether the table holds single bits, not registers."""
    return table in ("coil", "discrete")


def read(table: Table, address: int, count: int) -> bytes:
    """Ask for `count` registers (or bits) of `table` from `address` on: functions 1 to 4."""
    return struct.pack(">BHH", READ_FUNCTIONS[table], address, count)


def write_coil(address: int, on: bool) -> bytes:
    """Function 5."""
    return struct.pack(">BHH", 5, address, 0xFF00 if on else 0)


def write_register(address: int, value: int) -> bytes:
    """Function 6."""
    return struct.pack(">BHH", 6, address, value)


def write_coils(address: int, bits: Sequence[bool]) -> bytes:
    """Function 15, 1 to 1968 bits."""
    packed = sum(1 << at for at, bit in enumerate(bits) if bit).to_bytes((len(bits) + 7) // 8, "little")
    return struct.pack(">BHHB", 15, address, len(bits), len(packed)) + packed


def write_registers(address: int, values: Sequence[int]) -> bytes:
    """Function 16, 1 to 123 registers."""
    return struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)


def read_write(address: int, count: int, to_address: int, values: Sequence[int]) -> bytes:
    """Function 23: write `values` from `to_address` on, then read `count` registers from `address` on."""
    head = struct.pack(">BHHHHB", 23, address, count, to_address, len(values), 2 * len(values))
    return head + struct.pack(f">{len(values)}H", *values)


def identify(object_id: int = 0, category: int = 1) -> bytes:
    """Function 43/14; `category` 1 basic, 2 regular, 3 extended, 4 the one object only."""
    return bytes((IDENTIFY, IDENTIFY_MEI, category, object_id))


def answer_size(request: bytes) -> int | None:
    """Bytes of the PDU that answers `request` if the device does not refuse; None: only the answer says."""
    function = request[0]
    if function in (1, 2):
        return 2 + (int.from_bytes(request[3:5], "big") + 7) // 8
    if function in (3, 4, 23):
        return 2 + 2 * int.from_bytes(request[3:5], "big")
    return 5 if function in (5, 6, 15, 16) else None


def identification_size(answer: bytes) -> int | None:
    """Bytes of an answer to `identify`, from its beginning; None while too little of it is there."""
    if len(answer) < 7:
        return None
    size = 7
    for _ in range(answer[6]):
        if len(answer) < size + 2:
            return None
        size += 2 + answer[size + 1]
    return size


def check(request: bytes, answer: bytes) -> None:
    """RefusedError if the answer is an exception, MalformedError if it does not fit `request`."""
    function = request[0]
    if len(answer) == 2 and answer[0] == function | EXCEPTION_BIT:
        raise RefusedError(answer[1])
    size = answer_size(request)
    if not answer or answer[0] != function or (size is not None and len(answer) != size):
        raise MalformedError(
            f"expected {size or 'some'} bytes of function {function}, found {answer[:8].hex(' ')}"
            f" ({len(answer)} bytes)"
        )
    if function in (1, 2, 3, 4, 23) and answer[1] != len(answer) - 2:
        raise MalformedError(f"expected a count of {len(answer) - 2} bytes, found {answer[1]}")
    if function in (5, 6, 15, 16) and answer != request[:5]:
        raise MalformedError(f"expected the echo {request[:5].hex(' ')}, found {answer.hex(' ')}")


def registers(answer: bytes) -> tuple[int, ...]:
    """The registers in a checked answer to `read` or `read_write`."""
    return struct.unpack_from(f">{(len(answer) - 2) // 2}H", answer, 2)


def bits(answer: bytes) -> tuple[int, ...]:
    """The bits (0 or 1) in a checked answer to `read`, with the filling of its last byte."""
    return tuple(byte >> at & 1 for byte in answer[2:] for at in range(8))


def identification(answer: bytes) -> Identification:
    """What a device says of itself: 0 maker, 1 product, 2 revision, ... MalformedError if it is torn."""
    size = identification_size(answer)
    if size is None or size > len(answer) or answer[:2] != bytes((IDENTIFY, IDENTIFY_MEI)):
        raise MalformedError(f"expected an identification, found {answer[:16].hex(' ')}")
    objects, at = {}, 7
    for _ in range(answer[6]):
        object_id, length = answer[at], answer[at + 1]
        objects[object_id] = answer[at + 2 : at + 2 + length].decode("latin-1")
        at += 2 + length
    return Identification(objects, answer[5] if answer[4] == 0xFF else None)
