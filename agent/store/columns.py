"""Columns of a sealed segment as bytes: small, and back to the very bit. Pure.

Rules.
1. What comes back is what went in, bit for bit: NaN of any kind, -0.0, the last digit of a float64.
2. A meter's values are decimals: a column becomes whole numbers at the scale that gives every value back
   exactly, plain or as differences, whichever spread less, less their smallest, in as few bytes as they
   need. Values that do not fit (NaN first of all) are marked and kept apart. Where that does not pay, the
   float64 are kept, each XOR the one before.
3. Bytes of equal weight stand together. zlib is used where it makes a part a tenth smaller, and only there.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agent.store import layout

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

SCALE_MAX = 9
WHOLE_MAX = 2.0**53
PACKED_SHARE_MAX = 0.9
STRANGERS_SHARE_MAX = 0.25  # of values that are no decimal and not NaN either
SAMPLE, SPREAD_SAMPLE = 64, 256

_INTS = struct.Struct("<BBqq")  # differences?, bytes of each, the first, the smallest
_PART = struct.Struct("<I")  # twice the length, plus one if zlib
_NAN_BITS = int(np.array(np.nan).view(np.int64))
_ALL_BITS = 0xFFFF_FFFF_FFFF_FFFF
_RAW, _DECIMAL = 255, 64  # the first byte of a column: raw, or the scale (+ 64: all values fit)
_TYPES: dict[int, np.dtype[Any]] = {width: np.dtype(f"<u{width}") for width in (1, 2, 4, 8)}


def encode_ints(values: Ints) -> bytes:
    """Any whole numbers (times, sequence numbers, qualities)."""
    if len(values) == 0:
        return b""
    steps = np.diff(values)
    as_steps = len(values) > 2 and _spread(steps) < _spread(values)
    body = steps if as_steps else values
    smallest = int(body.min())
    # Unsigned, so that a spread beyond 2**63 wraps round and back again.
    spread = body.astype(np.uint64) - np.uint64(smallest & _ALL_BITS)
    width = _width(int(spread.max()))
    head = _INTS.pack(as_steps, width, int(values[0]), smallest)
    return head + (_part(_planes(spread.astype(_TYPES[width]), width)) if width else b"")


def _spread(values: Ints) -> float:
    """How far they are apart, as far as a sample tells."""
    return float(np.std(values[:: max(1, len(values) // SPREAD_SAMPLE)]))


def decode_ints(packed: bytes, count: int) -> Ints:
    """The `count` numbers of `encode_ints`."""
    values, _ = _decode_ints(memoryview(packed), count)
    return values


def _decode_ints(packed: memoryview, count: int) -> tuple[Ints, memoryview]:
    if count == 0:
        return np.empty(0, np.int64), packed
    as_steps, width, first, smallest = _INTS.unpack_from(packed)
    rest = packed[_INTS.size :]
    length = count - 1 if as_steps else count
    body = np.zeros(length, np.uint64)
    if width:
        planes, rest = _take(rest)
        body = _from_planes(planes, width, length)
    whole = (body + np.uint64(smallest & _ALL_BITS)).view(np.int64)
    if not as_steps:
        return whole, rest
    values = np.empty(count, np.int64)
    values[0], values[1:] = first, whole
    return np.cumsum(values, out=values), rest


def encode_floats(matrix: Floats) -> list[bytes]:
    """Each column of `matrix` (readings x points) as bytes."""
    scales = _scales(matrix)
    columns = [np.ascontiguousarray(matrix[:, at]) for at in range(matrix.shape[1])]
    return [
        _encode_raw(column) if scale < 0 else _encode_column(column, scale)
        for column, scale in zip(columns, scales, strict=True)
    ]


def _scales(matrix: Floats) -> list[int]:
    """The decimal places of each column, as far as a sample tells; -1: these are no decimals."""
    sample = matrix[:: max(1, len(matrix) // SAMPLE)]
    found = np.full(matrix.shape[1], -1)
    for scale in range(SCALE_MAX + 1):
        fits = (_fitting(sample, scale) | np.isnan(sample)).mean(axis=0) >= 1 - STRANGERS_SHARE_MAX / 2
        found[(found < 0) & fits] = scale
        if (found >= 0).all():
            break
    return [int(each) for each in found]


def _fitting(values: Floats, scale: int) -> NDArray[np.bool_]:
    """Which of `values` are exactly a whole number over 10**scale."""
    power = 10.0**scale
    with np.errstate(all="ignore"):
        whole = np.rint(values * power)
        fits: NDArray[np.bool_] = (np.abs(whole) < WHOLE_MAX) & (
            ((whole + 0.0) / power).view(np.int64) == values.view(np.int64)
        )
    return fits


def _encode_column(values: Floats, scale: int) -> bytes:
    """At the sample's scale, or at a finer one that leaves out less than half as many values."""
    fits, odd = _strangers(values, scale)
    while odd and scale < SCALE_MAX:
        finer, fewer = _strangers(values, scale + 1)
        if 2 * fewer > odd:
            break
        scale, fits, odd = scale + 1, finer, fewer
    if odd > len(values) * STRANGERS_SHARE_MAX:
        return _encode_raw(values)
    strangers = values[~fits]
    whole = np.rint(values[fits] * 10.0**scale).astype(np.int64)
    if len(strangers) == 0:
        return bytes((scale + _DECIMAL,)) + encode_ints(whole)
    apart = b"" if odd == 0 else strangers.tobytes()
    return bytes((scale,)) + _part(np.packbits(fits).tobytes()) + _part(apart) + encode_ints(whole)


def _strangers(values: Floats, scale: int) -> tuple[NDArray[np.bool_], int]:
    """Which values fit, and how many are neither that nor the plain NaN."""
    fits = _fitting(values, scale)
    return fits, int(np.count_nonzero(values[~fits].view(np.int64) != _NAN_BITS))


def _encode_raw(values: Floats) -> bytes:
    bits = values.view(np.uint64)
    changes = bits.copy()
    changes[1:] ^= bits[:-1]
    return bytes((_RAW,)) + _part(_planes(changes, 8))


def decode_floats(packed: bytes, count: int) -> Floats:
    """The `count` values of a column."""
    kind, rest = packed[0], memoryview(packed)[1:]
    if kind == _RAW:
        planes, _ = _take(rest)
        bits = np.bitwise_xor.accumulate(_from_planes(planes, 8, count))
        return bits.view(np.float64)
    if kind >= _DECIMAL:
        whole, _ = _decode_ints(rest, count)
        return whole / 10.0 ** (kind - _DECIMAL)
    mask, rest = _take(rest)
    apart, rest = _take(rest)
    fits = np.unpackbits(np.frombuffer(mask, np.uint8), count=count).view(np.bool_)
    values = np.full(count, np.nan)
    whole, _ = _decode_ints(rest, int(np.count_nonzero(fits)))
    values[fits] = whole / 10.0**kind
    if len(apart):
        values[~fits] = np.frombuffer(apart, np.float64)
    return values


def _width(largest: int) -> int:
    return next(width for width, end in ((0, 1), (1, 1 << 8), (2, 1 << 16), (4, 1 << 32), (8, 1 << 64))
                if largest < end)  # fmt: skip


def _planes(values: NDArray[np.unsignedinteger], width: int) -> bytes:
    """All lowest bytes first, then the next, and so on."""
    if width == 1:
        return values.tobytes()
    return np.ascontiguousarray(values.view(np.uint8).reshape(-1, width).T).tobytes()


def _from_planes(planes: bytes | memoryview, width: int, count: int) -> NDArray[np.uint64]:
    split = np.frombuffer(planes, np.uint8)
    if width == 1:
        return split.astype(np.uint64)
    joined = np.ascontiguousarray(split.reshape(width, count).T)
    whole: NDArray[np.uint64] = joined.view(_TYPES[width]).reshape(count).astype(np.uint64)
    return whole


def _part(plain: bytes) -> bytes:
    packed = layout.compressed(plain) if len(plain) > 16 else plain
    if len(packed) < len(plain) * PACKED_SHARE_MAX:
        return _PART.pack(2 * len(packed) + 1) + packed
    return _PART.pack(2 * len(plain)) + plain


def _take(packed: memoryview) -> tuple[bytes | memoryview, memoryview]:
    (length,) = _PART.unpack_from(packed)
    end = _PART.size + length // 2
    part = packed[_PART.size : end]
    return (zlib.decompress(part) if length % 2 else part), packed[end:]
