"""Readings as ThingsBoard telemetry. Pure.

Rules, from ThingsBoard's own source: times are whole milliseconds; neither NaN nor infinity has a place
in JSON, so a value that is not available is left out; a decimal with more than 16 places would be stored
as text, so such values are rounded; a whole float is written with its point, or one point would change
its type from sample to sample, and a number beyond a 64-bit integer (no quantity, but what an uninitialised
register may say) would be stored as text, so it counts as not available; a message has a hard limit in bytes,
counted on what is really sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import orjson

from agent.model import Reading

DECIMALS_MAX = 15
LARGEST = 2.0**63


def entries(reading: Reading, bytes_max: int, values_max: int) -> list[tuple[bytes, int]]:
    """`{"ts": ..., "values": {...}}` for a reading, and how many values that are; several if one would be
    over a limit, none if nothing was available."""
    values = {
        point.name: value if value >= 1 or value <= -1 else round(value, DECIMALS_MAX)
        # A whole number that was published as an int comes back from the disk as a float: one form for both.
        for point, value in zip(reading.group.points, map(float, reading.values), strict=True)
        if -LARGEST < value < LARGEST  # false for NaN too, at a tenth of the price of isfinite
    }
    return list(_entries(reading.time_ms, values, bytes_max, values_max)) if values else []


def says_something(reading: Reading) -> bool:
    """Whether a centre gets anything of it: what is not available is not sent."""
    return any(-LARGEST < value < LARGEST for value in reading.values)


def _entries(
    time_ms: int, values: Mapping[str, float], bytes_max: int, values_max: int
) -> Iterator[tuple[bytes, int]]:
    entry = orjson.dumps({"ts": time_ms, "values": values})
    if (len(entry) <= bytes_max and len(values) <= values_max) or len(values) == 1:
        yield entry, len(values)
        return
    names = list(values)
    for part in (names[: len(names) // 2], names[len(names) // 2 :]):
        yield from _entries(time_ms, {name: values[name] for name in part}, bytes_max, values_max)


def messages(
    device: str | None, readings: Iterable[Reading], bytes_max: int, values_max: int = 1_000_000
) -> Iterator[tuple[bytes, int]]:
    """Payloads of at most `bytes_max` bytes and `values_max` values with all `readings` of one device,
    each with its count of values.

    For the gateway API (`{"device": [entries]}`), or a plain list of entries if `device` is None.
    """
    head = b"[" if device is None else b"{" + orjson.dumps(device) + b":["
    tail = b"]" if device is None else b"]}"
    room = bytes_max - len(head) - len(tail)
    batch: list[bytes] = []
    size = count = 0
    for reading in readings:
        for entry, values in entries(reading, room, values_max):
            if batch and (size + len(entry) + 1 > room or count + values > values_max):
                yield head + b",".join(batch) + tail, count
                batch, size, count = [], 0, 0
            batch.append(entry)
            size += len(entry) + 1
            count += values
    if batch:
        yield head + b",".join(batch) + tail, count
