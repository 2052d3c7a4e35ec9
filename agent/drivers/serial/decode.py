"""Frames to values. Sans I/O: `Decoder(profile).feed(bytes)` gives what the bytes carry.

A frame that cannot be used is a `Refused` with a counter and a text that says what was expected; it
never disturbs the next one. No bytes raise.
"""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from agent.drivers.modbus.codec import shortest_f32
from agent.drivers.serial.frames import BinaryFramer, LineFramer
from agent.drivers.serial.profile import (
    BinaryFrame,
    JsonFrame,
    Place,
    SerialPoint,
    SerialProfile,
    TextFrame,
    value_bytes,
)
from agent.model import NAN

NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?")
Content = Sequence[str] | Mapping[str, Any] | bytes


class Decoded(NamedTuple):
    """The values of one frame: `id` as the frame has it ("" if it has none), `group` of the profile."""

    id: str
    group: int
    values: list[float]


class Refused(NamedTuple):
    """A frame that cannot be used; `counter` says why in one word."""

    counter: str
    text: str


class Decoder:
    """The state of one wire: what is half read, and how often what went wrong."""

    def __init__(
        self,
        profile: SerialProfile,
        counters: Counter[str] | None = None,
        lacks: Callable[[str, Sequence[str]], None] = lambda _, __: None,
    ) -> None:
        """`lacks` is told the id of a frame and the keys of the profile that it has not; they are NaN."""
        self._lacks = lacks
        self.counters: Counter[str] = Counter() if counters is None else counters
        self._profile = profile
        self._framer = _framer(profile, self.counters)
        self._open = _opener(profile)

    def feed(self, data: bytes) -> list[Decoded | Refused]:
        """What the frames completed by `data` carry, in their order."""
        results = []
        for body in self._framer.feed(data):
            result = self._decode(body)
            if isinstance(result, Refused):
                self.counters[result.counter] += 1
            results.append(result)
        return results

    def forget(self) -> None:
        """Drop a frame that is half read."""
        self._framer.forget()

    def _decode(self, body: bytes) -> Decoded | Refused:
        try:
            content = self._open(body)
            group = self._group(content)
            points = self._profile.group[group].point
            values = [_value(content, point, self._profile) for point in points]
            missing = _missing(content, points) if isinstance(content, Mapping) else []
            if len(missing) == len(points):
                return Refused("malformed", f"has none of the keys of its profile: {_shown(body)}")
            name = _text_at(content, self._profile.id)
            if missing:
                self._lacks(name, missing)
            return Decoded(name, group, values)
        except _UnusableError as error:
            return Refused(error.counter, f"{error} in {_shown(body)}")

    def _group(self, content: Content) -> int:
        fallback = -1
        for at, group in enumerate(self._profile.group):
            if group.match is None:
                fallback = at
            elif _matches(content, group.match, group.match.equals):
                return at
        if fallback < 0:
            raise _UnusableError("unmatched", "expected a frame that one of the groups matches")
        return fallback


class _UnusableError(ValueError):
    def __init__(self, counter: str, text: str) -> None:
        super().__init__(text)
        self.counter = counter


def _framer(profile: SerialProfile, counters: Counter[str]) -> LineFramer | BinaryFramer:
    if isinstance(profile.frame, BinaryFrame):
        return BinaryFramer(profile.frame, counters)
    return LineFramer(profile.frame, counters)


def _opener(profile: SerialProfile) -> Callable[[bytes], Content]:
    """How a frame's body becomes fields by place, values by key, or bytes."""
    frame = profile.frame
    if isinstance(frame, BinaryFrame):
        return lambda body: body
    if isinstance(frame, JsonFrame):
        return _json
    return lambda body: _fields(frame, body)


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _UnusableError("malformed", f"expected JSON: {error}") from None
    if not isinstance(content, dict):
        raise _UnusableError("malformed", "expected a JSON object")
    return content


def _fields(frame: TextFrame, body: bytes) -> Sequence[str] | Mapping[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _UnusableError("malformed", "expected text") from None
    fields = text.split() if frame.separator.isspace() else text.split(frame.separator)
    fields = [field.strip() for field in fields]
    if not frame.assign:
        return fields
    pairs = (field.partition(frame.assign) for field in fields)
    return {key.strip(): value.strip() for key, found, value in pairs if found}


def _missing(content: Mapping[str, Any], points: Sequence[SerialPoint]) -> list[str]:
    keys = [point.key or point.name for point in points]
    return [key for key in keys if _at_key(content, key) is None]


def _at_key(content: Mapping[str, Any], key: str) -> Any:
    """The value at a key, or at a dotted path of keys; None if there is none."""
    if key in content:
        return content[key]
    head, dot, rest = key.partition(".")
    inner = content.get(head)
    return _at_key(inner, rest) if dot and isinstance(inner, dict) else None


def _text_at(content: Content, place: Place | None) -> str:
    """What a frame says at `place`, as text; a byte as its number."""
    if place is None:
        return ""
    if isinstance(content, bytes):
        return str(content[place.at or 0])
    if isinstance(content, Mapping):
        found = _at_key(content, place.key)
        return "" if found is None or isinstance(found, dict | list) else str(found)
    at = place.field or 0
    return content[at] if at < len(content) else ""


def _matches(content: Content, place: Place, equals: str) -> bool:
    if isinstance(content, bytes):
        wanted = bytes.fromhex(equals)
        return content[place.at or 0 :].startswith(wanted)
    return _text_at(content, place) == equals


def _value(content: Content, point: SerialPoint, profile: SerialProfile) -> float:
    if isinstance(content, bytes):
        return _binary(content, point)
    if isinstance(content, Mapping):
        raw = _at_key(content, point.key or point.name)
        return _number(raw, point, profile)
    at = point.field or 0
    if at >= len(content):
        raise _UnusableError("malformed", f"{point.name}: expected field {at}, found {len(content)} fields")
    return _number(content[at], point, profile)


def _number(raw: Any, point: SerialPoint, profile: SerialProfile) -> float:
    """A text or a JSON value as a number; NaN for what is not there or declared invalid."""
    if raw is None or raw == "" or raw in point.invalid:
        return NAN
    if isinstance(raw, bool):
        return float(raw)
    text = (str(raw).removesuffix(point.suffix) if point.suffix else str(raw)).strip()
    if text in point.codes:
        return point.codes[text]
    if isinstance(profile.frame, TextFrame) and profile.frame.decimal_comma:
        text = text.replace(",", ".")
    if isinstance(raw, dict | list) or not NUMBER.fullmatch(text):
        reason = f"{point.name}: expected a number, found {str(raw)[:24]!r}"
        raise _UnusableError("malformed", reason)
    return _scaled(text, point)


def _scaled(text: str, point: SerialPoint) -> float:
    """value = raw x scale + offset, reckoned in the decimals that were written."""
    if not math.isfinite(value := float(text)):
        return NAN
    if point.scale == 1 and not point.offset:
        return value
    value = float(Decimal(text) * Decimal(str(point.scale)) + Decimal(str(point.offset)))
    return value if math.isfinite(value) else NAN


def _binary(frame: bytes, point: SerialPoint) -> float:
    at = point.at or 0
    raw = frame[at : at + value_bytes(point.type)]
    if point.type in ("f32", "f64"):
        return _float(raw, point)
    value = int.from_bytes(raw, point.order, signed=point.type.startswith("s"))
    if value in point.invalid:
        return NAN
    if point.bit is not None:
        value = value >> point.bit & 1
    return _scaled(str(value), point)


def _float(raw: bytes, point: SerialPoint) -> float:
    prefix = ">" if point.order == "big" else "<"
    value: float = struct.unpack(prefix + ("f" if len(raw) == 4 else "d"), raw)[0]
    if not math.isfinite(value):
        return NAN
    return _scaled(repr(shortest_f32(value) if len(raw) == 4 else value), point)


def _shown(body: bytes) -> str:
    return repr(body[:48].decode("ascii")) if body[:48].isascii() else body[:24].hex(" ")
