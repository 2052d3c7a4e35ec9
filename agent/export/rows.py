"""Arrays as CSV (RFC 4180). Pure, and as fast as it can be had here: texts are made column by column.

long: `time,device,point,value,unit,quality,time_ms`, one value a row; with steps the sixth cell says which
aggregate it is. wide: `time` and a column `device.point [unit]` for each point, one time a row.

A value is the shortest text that reads back as the very same float64, empty when not available.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import orjson

from agent.export.style import Style, line
from agent.localtime import local_ms
from agent.model import Group, Quality
from agent.store.columns import Floats, Ints
from agent.store.series import Columns

VALUES_PER_SLICE = 5_000  # some 400 kB

_QUALITIES = {int(each): each.name.lower().encode() for each in Quality}


def long_rows(style: Style, part: Columns, sixth: str = "") -> Iterator[bytes]:
    """The rows of `part`, a slice at a time. `sixth`: instead of the quality."""
    pattern = _pattern(style, part.group, part.points)
    step = max(1, VALUES_PER_SLICE // max(1, len(part.points)))
    for at in range(0, len(part.time_ms), step):
        yield _long(style, part, pattern, slice(at, at + step), sixth)


def _long(style: Style, part: Columns, pattern: bytes, own: slice, sixth: str) -> bytes:
    times = part.time_ms[own]
    shown, separator = time_texts(times, _zone(style)), style.separator.encode()
    plain = [b"%d" % each for each in times.tolist()]
    if sixth:
        sixths = [sixth.encode()] * len(plain)
    else:
        sixths = [_QUALITIES[each] for each in part.quality[own].tolist()]
    tails = [separator + each + separator + time for each, time in zip(sixths, plain, strict=True)]
    cells: list[list[bytes]] = []
    for at in range(len(part.points)):
        cells += (shown, number_texts(part.values[own, at], comma=style.comma), tails)
    return b"".join(map(pattern.__mod__, zip(*cells, strict=True)))


def _pattern(style: Style, group: Group, points: Sequence[str]) -> bytes:
    """One reading: a line for each of its points."""
    units = {f"{group.device.name}.{point.name}": point for point in group.points}
    lines = []
    for name in points:
        point, separator = units[name], style.separator
        left = line((group.device.name, point.name), style).strip()
        unit = line((point.unit, "x"), style).strip()[:-2]
        lines.append(
            b"%%b%b%b%b%%b%b%b%%b\r\n"
            % (*(separator.encode(), _inert(left), separator.encode()), separator.encode(), _inert(unit))
        )
    return b"".join(lines)


def wide_rows(style: Style, times: Ints, matrix: Floats) -> Iterator[bytes]:
    """n times and n x points values, a slice at a time."""
    width = matrix.shape[1]
    pattern = b"%b" + (style.separator.encode() + b"%b") * width + b"\r\n"
    step = max(1, VALUES_PER_SLICE // max(1, width))
    for at in range(0, len(times), step):
        own = slice(at, at + step)
        columns = [number_texts(matrix[own, column], comma=style.comma) for column in range(width)]
        shown = time_texts(times[own], _zone(style))
        yield b"".join(map(pattern.__mod__, zip(shown, *columns, strict=True)))


def number_texts(values: Floats, *, comma: bool = False) -> list[bytes]:
    """230.0 as "230.0", 0.1 as "0.1", NaN and the infinities as ""."""
    if len(values) == 0:
        return []
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    text = text.replace(b"null", b"").replace(b",", b"\n")
    return (text.replace(b".", b",") if comma else text).split(b"\n")


def time_texts(times: Ints, zone: ZoneInfo | None = None) -> list[bytes]:
    """`2026-01-02T03:04:05.678Z`, or with the offset of `zone`."""
    if zone is None:
        return _iso(times, b"Z")
    local = local_ms(times, zone)
    offsets = (local - times) // 1000
    texts = _iso(local, b"")
    ends = {int(each): _offset(int(each)) for each in np.unique(offsets)}
    return [text + ends[each] for text, each in zip(texts, offsets.tolist(), strict=True)]


def _iso(times: Ints, end: bytes) -> list[bytes]:
    seconds, millis = np.divmod(times, 1000)
    first, which = np.unique(seconds, return_inverse=True)
    texts = np.datetime_as_string(first.astype("datetime64[s]")).astype("S")
    return [
        b"%b.%03d%b" % (text, milli, end)
        for text, milli in zip(texts[which].tolist(), millis.tolist(), strict=True)
    ]


def _offset(seconds: int) -> bytes:
    sign = b"-" if seconds < 0 else b"+"
    return b"%b%02d:%02d" % (sign, abs(seconds) // 3600, abs(seconds) % 3600 // 60)


def _zone(style: Style) -> ZoneInfo | None:
    return ZoneInfo(style.zone) if style.zone else None


def _inert(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
