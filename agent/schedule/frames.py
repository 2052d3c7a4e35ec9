"""How the agent and a child that works for it talk: frames over a pipe, each with two lengths in front of it.

`<II`: bytes of the head (JSON), bytes of the body (raw little-endian numbers, from the agent only). Both have
a limit, so that neither side can be made to hold more. Every question has one answer; a history is answered
by frames with `more`, then one without.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, BinaryIO

import orjson

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 4 * 1024 * 1024
_LENGTHS = struct.Struct("<II")


Frame = tuple[dict[str, Any], bytes]


class BadFrame(ValueError):  # noqa: N818 - says what came
    """What came is no frame."""


def packed(head: dict[str, Any], body: bytes = b"") -> bytes:
    """A frame. NaN becomes null. BadFrame: it is too long."""
    text = orjson.dumps(head)
    if len(text) > HEAD_BYTES_MAX or len(body) > BODY_BYTES_MAX:
        raise BadFrame(f"expected a frame of at most {HEAD_BYTES_MAX} bytes, found {len(text)}")
    return _LENGTHS.pack(len(text), len(body)) + text + body


def _lengths(raw: bytes, body_bytes_max: int) -> tuple[int, int]:
    head, body = _LENGTHS.unpack(raw)
    if head > HEAD_BYTES_MAX or body > body_bytes_max:
        raise BadFrame(f"expected a frame, found one of {head} and {body} bytes")
    return head, body


def _head(text: bytes) -> dict[str, Any]:
    try:
        head = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadFrame(f"expected JSON: {error}") from None
    if not isinstance(head, dict):
        raise BadFrame("expected a JSON object")
    return dict(head)


async def receive(reader: asyncio.StreamReader) -> bytes:
    """The agent's side: the head of a question, which has no body. IncompleteReadError: it is gone."""
    head, _ = _lengths(await reader.readexactly(_LENGTHS.size), 0)
    return await reader.readexactly(head)


def read(file: BinaryIO) -> Frame | None:
    """The child's side: a frame, None at the end of it all."""
    raw = file.read(_LENGTHS.size)
    if len(raw) < _LENGTHS.size:
        return None
    head, body = _lengths(raw, BODY_BYTES_MAX)
    return _head(file.read(head)), file.read(body)
