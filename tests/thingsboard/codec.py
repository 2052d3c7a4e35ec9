"""The server's half of MQTT 3.1.1 and 5, as far as ThingsBoard speaks it. Pure but for `read_packet`."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14
V311, V5 = 4, 5


class MalformedError(Exception):
    """Bytes that are no MQTT; `too_large` if that is all that is wrong with them."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


class Packet(NamedTuple):
    kind: int
    flags: int
    body: bytes


class Connect(NamedTuple):
    version: int
    clean: bool
    keepalive_s: int
    client_id: str
    username: str | None
    password: str | None
    packet_bytes_max: int


class Publish(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    mid: int
    again: bool


async def read_packet(reader: asyncio.StreamReader, bytes_max: int) -> Packet:
    """The next packet; MalformedError if its Remaining Length is over `bytes_max`."""
    head = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
        shift += 7
        if shift > 21:
            raise MalformedError("Remaining Length of more than 4 bytes")
    if length > bytes_max:
        raise MalformedError(f"Remaining Length {length} > {bytes_max}", too_large=True)
    return Packet(head >> 4, head & 0x0F, await reader.readexactly(length))


class _Cursor:
    """What is left of a packet's body."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def __bool__(self) -> bool:
        return self._at < len(self._body)

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._body):
            raise MalformedError("packet too short")
        self._at += count
        return self._body[self._at - count : self._at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise MalformedError("text is not UTF-8") from error

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7

    def properties(self) -> _Cursor:
        return _Cursor(self.take(self.varint()))

    def rest(self) -> bytes:
        return self.take(len(self._body) - self._at)


_FIXED_PROPERTIES = {0x11: 4, 0x21: 2, 0x27: 4, 0x22: 2, 0x19: 1, 0x17: 1}
_PACKET_SIZE_MAX = 0x27


def _packet_size_max(properties: _Cursor) -> int:
    while properties:
        kind = properties.number(1)
        if kind == 0x26:
            properties.text(), properties.text()
        elif kind in (0x15, 0x16):
            properties.binary()
        elif kind not in _FIXED_PROPERTIES:
            raise MalformedError(f"CONNECT property {kind:#x}")
        elif (value := properties.number(_FIXED_PROPERTIES[kind])) and kind == _PACKET_SIZE_MAX:
            return value
    return 1 << 28


def connect(body: bytes) -> Connect:
    cursor = _Cursor(body)
    if cursor.text() != "MQTT":
        raise MalformedError("not MQTT")
    version, flags, keepalive_s = cursor.number(1), cursor.number(1), cursor.number(2)
    size_max = _packet_size_max(cursor.properties()) if version == V5 else 1 << 28
    client_id = cursor.text()
    if flags & 0x04:
        if version == V5:
            cursor.properties()
        cursor.text(), cursor.binary()
    username = cursor.text() if flags & 0x80 else None
    password = cursor.binary().decode() if flags & 0x40 else None
    return Connect(version, bool(flags & 2), keepalive_s, client_id, username, password, size_max)


def publish(packet: Packet, version: int) -> Publish:
    cursor = _Cursor(packet.body)
    topic = cursor.text()
    qos = packet.flags >> 1 & 3
    mid = cursor.number(2) if qos else 0
    if version == V5:
        cursor.properties()
    return Publish(topic, cursor.rest(), qos, mid, bool(packet.flags & 8))


def subscribe(body: bytes, version: int) -> tuple[int, list[tuple[str, int]]]:
    cursor = _Cursor(body)
    mid = cursor.number(2)
    if version == V5:
        cursor.properties()
    filters = []
    while cursor:
        filters.append((cursor.text(), cursor.number(1) & 3))
    return mid, filters


def unsubscribe(body: bytes, version: int) -> tuple[int, list[str]]:
    cursor = _Cursor(body)
    mid = cursor.number(2)
    if version == V5:
        cursor.properties()
    filters = []
    while cursor:
        filters.append(cursor.text())
    return mid, filters


def acknowledged(body: bytes) -> int:
    """The packet id of a client's PUBACK."""
    return _Cursor(body).number(2)


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    length, encoded = len(body), bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (0x80 if length else 0))
        if not length:
            return bytes((kind << 4 | flags,)) + bytes(encoded) + body


def connack(version: int, reason: int, *, session_present: bool) -> bytes:
    return packet(CONNACK, bytes((session_present, reason)) + (b"\0" if version == V5 else b""))


def puback(version: int, mid: int, reason: int) -> bytes:
    """As ThingsBoard's codec writes it: with the reason on 5 even when it is 0."""
    return packet(PUBACK, mid.to_bytes(2, "big") + (bytes((reason, 0)) if version == V5 else b""))


def push(version: int, topic: str, payload: bytes, qos: int, mid: int) -> bytes:
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + (mid.to_bytes(2, "big") if qos else b"")
    return packet(PUBLISH, body + (b"\0" if version == V5 else b"") + payload, qos << 1)


def suback(version: int, mid: int, reasons: list[int], kind: int = SUBACK) -> bytes:
    return packet(kind, mid.to_bytes(2, "big") + (b"\0" if version == V5 else b"") + bytes(reasons))


def unsuback(version: int, mid: int, reasons: list[int]) -> bytes:
    return suback(version, mid, reasons if version == V5 else [], UNSUBACK)


def disconnect(reason: int) -> bytes:
    return packet(DISCONNECT, bytes((reason, 0)))


PONG = packet(PINGRESP, b"")
