"""What is not committed yet, where the death of the process cannot reach it.

A file of fixed size, mapped into memory: what is written there is the kernel's at once, costs no system
call and hardly any disk (its few pages are written back now and then). All its blocks are taken at the start,
so that it goes on when the disk is full. After `kill -9` the next start finds the last second in it, or all
the time that the disk refused; after a power cut it may be stale or torn, which the check sum and the gapless
numbers of its records show.

Every commit starts it anew, in the other of its two halves: one byte says which holds, so that there is no
moment in which a kill loses what waits. What does not fit is in memory only, and its numbers are known here:
after a kill it is missed by count. Its head also knows the newest time that was stamped, for when the
database that has it is broken.
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from agent.model import Group, Reading
from agent.store.room import JOURNAL_SIZES_BYTES

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_FILE_HEAD = struct.Struct("<4sB3xI")  # _MARK, which half holds, where the second begins
_MARK = b"UJ2\n"
_HALF_AT, _NEWEST_AT, _START = 4, 16, 24
_NEWEST = struct.Struct("<q")  # the newest time_ms that was given to a reading; 0: none yet
_DAY_MS = 86_400_000
_BEYOND = struct.Struct("<IQ")  # at the start of a half: CRC-32 and number of the newest that did not fit
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
    the next commit in memory only, as everything would without a journal. So do readings of a group without
    an id: they are kept under the id 0, which is nobody's."""

    def __init__(
        self,
        file: Path,
        sizes_bytes: Sequence[int] = JOURNAL_SIZES_BYTES,
        mapped: Callable[[int, int], mmap.mmap] = mmap.mmap,
    ) -> None:
        self._file, self._sizes_bytes, self._mapped = file, sizes_bytes, mapped
        self._map: mmap.mmap | None = None
        self._start = self._end = self._limit = 0
        self._packed: list[bytes] = []  # the values of what is in it, from `first` on
        self.first = 0  # the first number that is not committed
        self.newest_ms = 0  # that was stamped, by an earlier run or this one; 0 if it is not known

    def open(self) -> None:
        """Make or map the file. OSError if there is no room for it."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._map = self._mapped(descriptor, self._reserve(descriptor))
        finally:
            os.close(descriptor)
        self._use(*_head(self._map), len(self._map))
        self.newest_ms = _newest_of(self._map[:_START])

    def _reserve(self, descriptor: int) -> int:
        """All its blocks now: a full disk must not kill a process that writes to its memory."""
        before_bytes = os.fstat(descriptor).st_size
        for size_bytes in self._sizes_bytes:
            try:
                os.posix_fallocate(descriptor, 0, size_bytes)
            except OSError as error:
                os.ftruncate(descriptor, before_bytes)  # a part may have been taken
                if error.errno not in NO_ROOM or size_bytes == self._sizes_bytes[-1]:
                    raise
            else:
                break
        return size_bytes

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
            self._map = None

    # ---------------------------------------------------------------- halves

    def _use(self, half: int, middle: int, size_bytes: int) -> None:
        self._start = half * middle or _START
        self._limit = size_bytes if half else middle
        self._end = self._start + _BEYOND.size

    # ---------------------------------------------------------------- what an earlier run left

    def records(self, after: int) -> Iterator[Record]:
        """What an earlier run left behind the number `after`: whole records, each following the one before.

        A first one that does not follow `after` is believed: what lies between was given up, or is lost.
        """
        at, expected = self._start + _BEYOND.size, 0
        while self._map is not None and at + _HEAD.size <= self._limit:
            length, check = _HEAD.unpack_from(self._map, at)
            body = self._map[at + _HEAD.size : min(at + _HEAD.size + length, self._limit)]
            if length < _BODY.size or len(body) < length or crc32(body) != check:
                return
            seq, group_id, time_ms, quality = _BODY.unpack_from(body)
            if expected and seq != expected:
                return
            if seq > after:
                yield Record(seq, group_id, time_ms, quality, body[_BODY.size :])
            expected = seq + 1
            at += _HEAD.size + length

    @property
    def beyond(self) -> int:
        """The newest number that did not fit into it; 0 if all did, or nobody can know."""
        if self._map is None:
            return 0
        check, seq = _BEYOND.unpack_from(self._map, self._start)
        return int(seq) if seq and check == _check_of(seq) else 0

    # ---------------------------------------------------------------- what this run adds

    def add(self, first: int, readings: Sequence[Reading], ids: Mapping[Group, int]) -> None:
        """Keep `readings`, numbered from `first` on. Where one does not fit it ends until the next `restart`,
        since the numbers must have no gap."""
        if self._map is None:
            return
        records: list[bytes] = []
        room = self._limit - self._end - _HEAD.size  # an end mark has to fit behind the last
        for seq, (group, time_ms, values, quality) in enumerate(readings, first):
            body = _body(len(values)).pack(seq, ids.get(group, 0), time_ms, quality, *values)
            room -= _HEAD.size + len(body)
            if room < 0:
                break
            records += (_HEAD.pack(len(body), crc32(body)), body)
            self._packed.append(body[_BODY.size :])
        self._put(b"".join(records))
        if room < 0:
            self._end = self._limit
            last = first + len(readings) - 1
            self._map[self._start : self._start + _BEYOND.size] = _BEYOND.pack(_check_of(last), last)

    def stamped(self, time_ms: int) -> None:
        """A reading has this time. One that was a day ahead of it was a mistake."""
        if self.newest_ms < time_ms or time_ms < self.newest_ms - _DAY_MS:
            self.newest_ms = time_ms
            if self._map is not None:
                self._map[_NEWEST_AT:_START] = _NEWEST.pack(time_ms)

    def packed(self, first: int) -> Sequence[bytes]:
        """The packed values of the readings from `first` on, as far as they are in the journal."""
        at = first - self.first
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
        self.first, self._packed = first, []
        if self._map is None:
            return
        half, middle = 1 - _head(self._map)[0], len(self._map) // 2
        self._use(half, middle, len(self._map))
        self._map[self._start : self._end + _HEAD.size] = bytes(_BEYOND.size + _HEAD.size)
        self.add(first, readings, ids)
        if self._map[: _FILE_HEAD.size] == _FILE_HEAD.pack(_MARK, 1 - half, middle):
            self._map[_HALF_AT] = half
        else:  # a new or foreign one: nothing is in it that waits
            self._map[: _FILE_HEAD.size] = _FILE_HEAD.pack(_MARK, half, middle)


def hand_on(source: Path, target: Path) -> None:
    """Let `target`, the journal of a new database, know the newest time that `source` knows, if there is one.

    What cannot be read is not known; OSError if `target` cannot be written.
    """
    try:
        with source.open("rb") as file:
            newest_ms = _newest_of(file.read(_START))
    except OSError:
        return
    if newest_ms and not target.exists():
        head = _FILE_HEAD.pack(_MARK, 0, 0).ljust(_NEWEST_AT, b"\0")
        target.touch(mode=0o600)
        target.write_bytes(head + _NEWEST.pack(newest_ms))


def _newest_of(head: bytes) -> int:
    if len(head) < _START or not head.startswith(_MARK):
        return 0
    return int(_NEWEST.unpack_from(head, _NEWEST_AT)[0])


def _head(mapped: mmap.mmap) -> tuple[int, int]:
    """Which half holds and where the second begins, as an earlier run or this one has written it."""
    mark, half, middle = _FILE_HEAD.unpack_from(mapped)
    return (half & 1, middle) if mark == _MARK else (0, len(mapped) // 2)


def _check_of(seq: int) -> int:
    return crc32(_MARK + seq.to_bytes(8, "little"))
