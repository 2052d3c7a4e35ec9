"""Readings as ThingsBoard telemetry. Pure.

Rules, from ThingsBoard's own source: times are whole milliseconds; NaN has no place in JSON, so a
value that is not available is left out; a decimal with more than 16 places would be stored as text,
so such values are rounded; a message has a hard limit in bytes, counted on what is really sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import orjson

from agent.model import Reading

DECIMALS_MAX = 15


def entries(reading: Reading, bytes_max: int) -> list[bytes]:
    """`{"ts": ..., "values": {...}}` for a reading; several if one would be over `bytes_max`, none
    if nothing was available."""
    values = {
        point.name: value if value >= 1 or value <= -1 else round(value, DECIMALS_MAX)
        for point, value in zip(reading.group.points, reading.values, strict=True)
        if value == value  # noqa: PLR0124 - false for NaN, at a tenth of the price of isnan
    }
    return list(_entries(reading.time_ms, values, bytes_max)) if values else []


def _entries(time_ms: int, values: Mapping[str, float], bytes_max: int) -> Iterator[bytes]:
    entry = orjson.dumps({"ts": time_ms, "values": values})
    if len(entry) <= bytes_max or len(values) == 1:
        yield entry
        return
    names = list(values)
    for part in (names[: len(names) // 2], names[len(names) // 2 :]):
        yield from _entries(time_ms, {name: values[name] for name in part}, bytes_max)


def messages(device: str | None, readings: Iterable[Reading], bytes_max: int) -> Iterator[bytes]:
    """Payloads of at most `bytes_max` bytes with all `readings` of one device.

    For the gateway API (`{"device": [entries]}`), or a plain list of entries if `device` is None.
    """
    head = b"[" if device is None else b"{" + orjson.dumps(device) + b":["
    tail = b"]" if device is None else b"]}"
    room = bytes_max - len(head) - len(tail)
    batch: list[bytes] = []
    size = 0
    for reading in readings:
        for entry in entries(reading, room):
            if batch and size + len(entry) + 1 > room:
                yield head + b",".join(batch) + tail
                batch, size = [], 0
            batch.append(entry)
            size += len(entry) + 1
    if batch:
        yield head + b",".join(batch) + tail
