"""What is not committed yet, where the death of the process cannot reach it.

A file of fixed size, mapped into memory: what is written there is the kernel's at once, costs no system
call and hardly any disk (its few pages are written back now and then). After `kill -9` the next start
finds the readings of the last second in it; after a power cut it may be stale or torn, which the check
sum and the gapless numbers of its records show. Every commit starts it anew.
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from agent.model import Group, Reading

SIZE_BYTES = 4 * 1024 * 1024

_HEAD = struct.Struct("<II")  # bytes of the body, CRC-32 of the body; 0 bytes: the end
_BODY = struct.Struct("<QIqB")  # seq, group id, time_ms, quality; the packed values follow


@functools.cache
def _body(count: int) -> struct.Struct:
    return struct.Struct(f"<QIqB{count}d")


class Record(NamedTuple):
    """A reading as a row of the log."""

    seq: int
    group_id: int
    time_ms: int
    quality: int
    packed: bytes


class Journal:
    """`add` every reading, `restart` after every commit. What does not fit is not kept: it waits for
    the next commit in memory only, as everything would without a journal."""

    def __init__(self, file: Path, size_bytes: int = SIZE_BYTES) -> None:
        self._file, self._size_bytes = file, size_bytes
        self._map: mmap.mmap | None = None
        self._end = 0
        self._packed: list[bytes] = []  # the values of what is in it, from _packed_first on
        self._packed_first = 0

    def open(self) -> None:
        """Make or map the file. OSError if there is no room for it."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # All its blocks now: a full disk must not kill a process that writes to its memory.
            os.posix_fallocate(descriptor, 0, self._size_bytes)
            self._map = mmap.mmap(descriptor, self._size_bytes)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def records(self, after: int) -> Iterator[Record]:
        """What an earlier run left: the whole records that follow `after` without a gap."""
        at, expected = 0, after + 1
        while self._map is not None and at + _HEAD.size <= self._size_bytes:
            length, check = _HEAD.unpack_from(self._map, at)
            body = self._map[at + _HEAD.size : at + _HEAD.size + length]
            if length < _BODY.size or len(body) < length or crc32(body) != check:
                return
            seq, group_id, time_ms, quality = _BODY.unpack_from(body)
            if seq > expected:
                return
            if seq == expected:
                yield Record(seq, group_id, time_ms, quality, body[_BODY.size :])
                expected += 1
            at += _HEAD.size + length

    def add(self, first: int, readings: Sequence[Reading], ids: Mapping[Group, int]) -> None:
        """Keep `readings`, numbered from `first` on; those of a group without an id end it until the
        next `restart`, since the numbers must have no gap."""
        records: list[bytes] = []
        if not self._packed:
            self._packed_first = first
        room = self._size_bytes - self._end - _HEAD.size  # an end mark has to fit behind the last
        for seq, (group, time_ms, values, quality) in enumerate(readings, first):
            group_id = ids.get(group)
            body = _body(len(values)).pack(seq, group_id or 0, time_ms, quality, *values)
            room -= _HEAD.size + len(body)
            if group_id is None or room < 0 or self._map is None:
                self._put(b"".join(records))
                self._end = self._size_bytes
                return
            records += (_HEAD.pack(len(body), crc32(body)), body)
            self._packed.append(body[_BODY.size :])
        self._put(b"".join(records))

    def packed(self, first: int) -> Sequence[bytes]:
        """The packed values of the readings from `first` on, as far as they are in the journal."""
        at = first - self._packed_first
        return self._packed[at:] if at >= 0 else ()

    def _put(self, records: bytes) -> None:
        if self._map is None or not records:
            return
        after = self._end + len(records)
        # The end mark behind them first: a reader never runs into what was here before.
        self._map[after : after + _HEAD.size] = bytes(_HEAD.size)
        self._map[self._end : after] = records
        self._end = after

    def restart(self, first: int, readings: Sequence[Reading], ids: Mapping[Group, int]) -> None:
        """All before `first` is committed; `readings`, numbered from there on, are not."""
        if self._map is not None:
            self._map[: _HEAD.size] = bytes(_HEAD.size)
        self._end = 0
        self._packed = []
        self.add(first, readings, ids)
