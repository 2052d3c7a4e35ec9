"""DNS messages, as far as a responder of one service must read and write them. Pure.

What is read comes from strangers: every length is checked, compression can only point backwards, and what
makes no sense is a ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

A, PTR, TXT, SRV, ANY = 1, 12, 16, 33, 255
IN, FLUSH, UNICAST = 1, 0x8000, 0x8000  # class IN; the top bit: replaces what was known, or: answer me alone
QUERY, ANSWER = 0x0000, 0x8400
RECORDS_MAX = 256
NAME_BYTES_MAX, LABEL_BYTES_MAX = 255, 63

_HEAD = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!2HIH")


class Question(NamedTuple):
    """`name` in small letters. `alone`: the answer is wanted by unicast."""

    name: str
    kind: int
    alone: bool = False


class Record(NamedTuple):
    """`data` as on the wire, names in it not compressed."""

    name: str
    kind: int
    ttl_s: int
    data: bytes
    flush: bool = False


class Message(NamedTuple):
    id: int
    is_query: bool
    questions: Sequence[Question]
    answers: Sequence[Record]


def parse(packet: bytes) -> Message:
    """A message with its questions and answers; ValueError if it is none."""
    try:
        number, flags, questions, *counts = _HEAD.unpack_from(packet)
        if questions + sum(counts) > RECORDS_MAX:
            raise ValueError("too many records")
        at, asked, said = _HEAD.size, list[Question](), list[Record]()
        for _ in range(questions):
            name, at = _name(packet, at)
            kind, kind_class = _QUESTION.unpack_from(packet, at)
            at += _QUESTION.size
            asked.append(Question(name, kind, bool(kind_class & UNICAST)))
        for _ in range(counts[0]):
            record, at = _record(packet, at)
            said.append(record)
    except (struct.error, IndexError) as error:
        raise ValueError(f"cut short: {error}") from None
    return Message(number, not flags & 0x8000, asked, said)


def _record(packet: bytes, at: int) -> tuple[Record, int]:
    name, at = _name(packet, at)
    kind, kind_class, ttl_s, length = _RECORD.unpack_from(packet, at)
    at += _RECORD.size
    if at + length > len(packet):
        raise ValueError("a record longer than its message")
    data = packet[at : at + length]
    if kind == PTR:
        data = encoded(_name(packet, at)[0])
    elif kind == SRV and length > 6:
        data = packet[at : at + 6] + encoded(_name(packet, at + 6)[0])
    return Record(name, kind, ttl_s, data, bool(kind_class & FLUSH)), at + length


def _name(packet: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, in small letters, and where it ends."""
    labels, end, first = list[str](), -1, at
    size = 0
    while length := packet[at]:
        if length & 0xC0 == 0xC0:
            target = (length & 0x3F) << 8 | packet[at + 1]
            end = at + 2 if end < 0 else end
            if target >= first:  # only backwards, so that it ends
                raise ValueError("a name that points at itself")
            at = first = target
            continue
        size += length + 1
        if length > LABEL_BYTES_MAX or size > NAME_BYTES_MAX or at + 1 + length > len(packet):
            raise ValueError("a name that is too long")
        labels.append(packet[at + 1 : at + 1 + length].decode("utf-8", "replace").lower())
        at += 1 + length
    return ".".join(label.replace(".", "\\.") for label in labels), at + 1 if end < 0 else end


def encoded(name: str) -> bytes:
    """`name` as labels; a dot within one is written "\\.". ValueError if it is too long."""
    labels = [part.replace("\0", ".").encode() for part in name.replace("\\.", "\0").split(".") if part]
    if any(len(label) > LABEL_BYTES_MAX for label in labels) or sum(map(len, labels)) > NAME_BYTES_MAX - 64:
        raise ValueError(f"expected a name of labels of at most {LABEL_BYTES_MAX} bytes, found {name[:80]!r}")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def text(pairs: Sequence[tuple[str, str]]) -> bytes:
    """The data of a TXT record."""
    texts = [f"{key}={value}".encode()[:255] for key, value in pairs]
    return b"".join(bytes((len(each),)) + each for each in texts) or b"\0"


def message(answers: Sequence[Record] = (), questions: Sequence[Question] = (), *, number: int = 0) -> bytes:
    """A query, or with `answers` a response."""
    flags = ANSWER if answers else QUERY
    parts = [_HEAD.pack(number, flags, len(questions), len(answers), 0, 0)]
    parts += [encoded(question.name) + _QUESTION.pack(question.kind, IN) for question in questions]
    for record in answers:
        kind_class = IN | FLUSH if record.flush else IN
        head = _RECORD.pack(record.kind, kind_class, record.ttl_s, len(record.data))
        parts.append(encoded(record.name) + head + record.data)
    return b"".join(parts)
