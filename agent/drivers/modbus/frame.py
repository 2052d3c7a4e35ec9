"""Framing of Modbus on the wire, without input or output: bytes to send, bytes that came, answers.

Rules. One request is under way at a time; `send` forgets the one before. `receive` takes bytes as they
come and returns the answer PDU, or None for "need more". TCP: an answer belongs to the request with its
transaction id; others are dropped. RTU has no such id, so a frame is looked for, not assumed: unit,
function, byte count and CRC must all fit, anywhere among noise (00 and FF of a slow transceiver), stray
text and the echo that two-wire adapters give of the request. The buffers are bounded.
Only MalformedError escapes, and only from TCP: bytes that are not Modbus TCP leave no way to resume.
"""

from __future__ import annotations

import struct
from typing import Literal, Protocol

from agent.drivers.modbus import pdu as pdus
from agent.drivers.modbus.pdu import MalformedError

Failure = Literal["silent", "crc", "noise", "stray"]

MBAP = struct.Struct(">HHHB")
BUFFER_BYTES_MAX = 1024
REQUEST_BYTES = 8  # of most functions, and the answer to a write
ANY_UNIT = (0, 255)  # what a device with a network port is asked as; it may answer as either


class Framing(Protocol):
    """What a link needs of TCP and RTU."""

    waiting: bool

    def send(self, unit_id: int, pdu: bytes) -> bytes:
        """The bytes of a request; whatever came before no longer matters."""

    def receive(self, data: bytes) -> bytes | None:
        """The answer PDU if `data` completes it."""

    def complete(self) -> bool:
        """Whether as much came as an answer has, though no right one is in it: waiting on is in vain."""

    def failure(self) -> Failure:
        """What was there instead of an answer, for the count of faults; stray: another's whole frame."""


class TcpFraming:
    """MBAP: transaction id, protocol 0, length, unit."""

    def __init__(self) -> None:
        self.waiting = False
        self.stale = self._stale_before = 0
        self._transaction, self._unit_id = 0, 0
        self._buffer = b""

    def send(self, unit_id: int, pdu: bytes) -> bytes:
        self._transaction = (self._transaction + 1) & 0xFFFF
        self._unit_id, self.waiting = unit_id, True
        self._stale_before = self.stale
        return MBAP.pack(self._transaction, 0, len(pdu) + 1, unit_id) + pdu

    def receive(self, data: bytes) -> bytes | None:
        """MalformedError if this is not Modbus TCP: the connection cannot be used any more."""
        buffer = self._buffer + data if self._buffer else data
        answer = None
        while len(buffer) >= MBAP.size:
            transaction, protocol, length, unit_id = MBAP.unpack_from(buffer)
            if protocol or not 2 <= length <= pdus.PDU_BYTES_MAX + 1:
                raise MalformedError(f"expected Modbus TCP, found {buffer[:16].hex(' ')}")
            end = length + 6
            if len(buffer) < end:
                break
            if self._is_ours(transaction, unit_id):
                answer, self.waiting = bytes(buffer[MBAP.size : end]), False
            else:
                self.stale += 1
            buffer = buffer[end:]
        self._buffer = buffer
        return answer

    def _is_ours(self, transaction: int, unit_id: int) -> bool:
        fits = unit_id == self._unit_id or self._unit_id in ANY_UNIT
        return self.waiting and transaction == self._transaction and fits

    def complete(self) -> bool:
        return False

    def failure(self) -> Failure:
        self.waiting = False
        return "stray" if self.stale > self._stale_before else "silent"


class RtuFraming:
    """Unit, PDU, CRC-16. `echoes`: whether requests come back as well; None until one exchange showed it."""

    def __init__(self) -> None:
        self.waiting = False
        self.echoes: bool | None = None
        self._buffer = bytearray()
        self._request = b""
        self._head = self._refusal = b""
        self._size: int | None = 0

    def send(self, unit_id: int, pdu: bytes) -> bytes:
        body = bytes((unit_id,)) + pdu
        self._request = body + crc16(body).to_bytes(2, "little")
        size = pdus.answer_size(pdu)
        self._size = None if size is None else size + 3
        self._head = body[:2]
        if pdu[0] in (1, 2, 3, 4, 23) and size:
            self._head += bytes(((size - 2) & 0xFF,))
        self._refusal = bytes((unit_id, pdu[0] | pdus.EXCEPTION_BIT))
        self._buffer.clear()
        self.waiting = True
        return self._request

    def receive(self, data: bytes) -> bytes | None:
        if not self.waiting:
            return None
        self._buffer += data
        if len(self._buffer) > BUFFER_BYTES_MAX:
            del self._buffer[: len(self._buffer) - BUFFER_BYTES_MAX]
        start = self._after_echo()
        if start is None:
            return None
        answer = self._search(self._head, self._size, start) or self._search(self._refusal, 5, start)
        if answer is not None:
            self._learn_echo()
            self.waiting = False
        return answer

    def _answer_repeats_request(self) -> bool:
        """Functions 5 and 6 are answered by the request itself: an echo looks like success."""
        return self._request[1] in (5, 6)

    def _after_echo(self) -> int | None:
        """Where an answer may begin; None while the echo that must come first has not."""
        if not self.echoes:
            return 0
        at = self._buffer.find(self._request)
        if at < 0:
            return None if self._answer_repeats_request() else 0
        return at + len(self._request)

    def _search(self, head: bytes, size: int | None, start: int) -> bytes | None:
        """The PDU of the first whole frame that begins with `head`, is `size` long and has its CRC right."""
        buffer = self._buffer
        at = buffer.find(head, start)
        while at >= 0:
            length = self._identification_size(at) if size is None else size
            if length is not None and at + length <= len(buffer):
                frame = bytes(buffer[at : at + length])
                if frame[-2:] == crc16(frame[:-2]).to_bytes(2, "little"):
                    return frame[1:-2]
            at = buffer.find(head, at + 1)
        return None

    def _identification_size(self, at: int) -> int | None:
        size = pdus.identification_size(bytes(self._buffer[at + 1 : at + 260]))
        return None if size is None or size > pdus.PDU_BYTES_MAX else size + 3

    def _learn_echo(self) -> None:
        if not self._answer_repeats_request():
            self.echoes = self._request in self._buffer

    def complete(self) -> bool:
        size = self._size or 5
        heard = len(self._buffer) - (len(self._request) if self._request in self._buffer else 0)
        return self.waiting and heard >= size and self._buffer.find(self._head) >= 0

    def failure(self) -> Failure:
        self.waiting = False
        self._learn_echo()
        rest = bytes(self._buffer).replace(self._request, b"", 1)
        if not rest.strip(b"\x00\xff"):
            return "silent"
        if self._head not in rest and has_frame(rest):
            return "stray"
        return "crc" if self._head in rest else "noise"


def has_frame(data: bytes) -> bool:
    """Whether a whole RTU frame, a request or an answer, lies anywhere in `data`."""
    return any(_is_frame(data, at, size) for at in range(len(data) - 4) for size in _sizes(data, at))


def _sizes(data: bytes, at: int) -> tuple[int, ...]:
    """How long a frame that begins at `at` may be, by its function code."""
    function = data[at + 1]
    if function & pdus.EXCEPTION_BIT:
        return (5,)
    if function in (1, 2, 3, 4, 23):
        return (5 + data[at + 2], REQUEST_BYTES)
    return (REQUEST_BYTES,) if function in (5, 6, 15, 16) else ()


def _is_frame(data: bytes, at: int, size: int) -> bool:
    frame = data[at : at + size]
    return len(frame) == size and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS; it travels low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc
