"""Instants as people write them, to and from Unix milliseconds. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
TIME_MS_MAX = 253_402_300_799_999  # the end of the year 9999

_NUMBER = re.compile(r"[0-9]{1,15}")
_SPACE_FOR_PLUS = re.compile(r" ([0-9]{2}:?[0-9]{2})$")  # a "+" that was not encoded in a URL


def time_ms(text: str) -> int:
    """The instant in `text`, Unix ms or ISO 8601 with an offset or Z. ValueError says what was expected."""
    found_ms = int(text) if _NUMBER.fullmatch(text) else _from_iso(text)
    if found_ms is None or not 0 <= found_ms <= TIME_MS_MAX:
        raise ValueError(
            "expected Unix milliseconds (1767322984678) or ISO 8601 with Z or an offset "
            f'(2026-01-02T03:04:05Z, 2026-01-02T00:04:05-03:00), found "{text[:64]}"'
        )
    return found_ms


def _from_iso(text: str) -> int | None:
    try:
        instant = datetime.fromisoformat(_SPACE_FOR_PLUS.sub(r"+\1", text))
        return None if instant.tzinfo is None else (instant - EPOCH) // MS
    except (ValueError, OverflowError):
        return None


def iso(time_ms: int) -> str:
    """`2026-01-02T03:04:05.678Z`."""
    return (EPOCH + time_ms * MS).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def zone(name: str) -> ZoneInfo:
    """The time zone of that name. ValueError says what was expected."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f'expected a time zone like "America/Sao_Paulo", found "{name[:64]}"') from error
