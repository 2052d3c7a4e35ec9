"""Telemetry as ThingsBoard reads it: what becomes of each JSON value. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

PLACES_MAX = 16
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class BadJsonError(Exception):
    """Not JSON."""


class BadShapeError(Exception):
    """JSON of another shape than the topic wants."""


class BadEntryError(Exception):
    """One entry does not convert."""


def _decimal(literal: str) -> float | int | str:
    """A number with a point or an exponent: more than 16 decimal places are stored as text."""
    mantissa, _, exponent = literal.lower().partition("e")
    places = len(mantissa.partition(".")[2]) - int(exponent or 0)
    if places > PLACES_MAX:
        return literal
    value = float(literal)
    if exponent and value.is_integer():
        return int(value) if abs(value) < 2**63 else literal
    return value


def _integer(literal: str) -> int | str:
    value = int(literal)
    return value if -(2**63) <= value < 2**63 else literal


def parse(payload: bytes, *, not_a_number: str = "text") -> Any:
    """The JSON of a payload with its numbers as the platform types them; NaN becomes the text "NaN"."""

    def odd(literal: str) -> str:
        if not_a_number == "refused":
            raise BadJsonError(literal)
        return literal

    try:
        return json.loads(payload, parse_float=_decimal, parse_int=_integer, parse_constant=odd)
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise BadJsonError(str(error)) from error


def entries(items: Any, now_ms: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(ts, values) of each entry of one device; BadEntryError at the first that does not convert."""
    for item in items if isinstance(items, list) else [items]:
        if not isinstance(item, dict):
            raise BadEntryError("entry is not an object")
        if "ts" not in item or "values" not in item:
            yield now_ms, _cast(item)  # the surprise: {"ts": ..., "temp": 1} has a key "ts"
            continue
        if not isinstance(item["values"], dict):
            raise BadEntryError("values is not an object")
        try:
            yield int(item["ts"]), _cast(item["values"])
        except (TypeError, ValueError) as error:
            raise BadEntryError("ts is no number") from error


def _cast(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _typed(value) for key, value in values.items() if value is not None}


def _typed(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return _decimal(value) if "." in value else _integer(value)
    return value


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type: 1 and 1.0 are two in ThingsBoard."""
    return type(one) is type(other) and one == other
