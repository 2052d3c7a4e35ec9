"""Bytes to frames. Sans I/O: `feed(bytes)` gives the bodies of the whole frames seen so far.

Rules.
1. Nothing before the first sign of a frame is believed: a port is opened in the middle of a line,
   and the tail of "23.5" reads as 3.5.
2. A frame that fails its check costs as little as possible: a line, or one byte of a binary frame,
   after which the search goes on (the start bytes may have been data).
3. The buffer is bounded by one frame. A line that never ends is dropped up to the next end.

`counters`: frames, checksum_errors, malformed, overflow, garbage_bytes, stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from agent.drivers.serial.checksum import checksum, width_bytes
from agent.drivers.serial.profile import BinaryFrame, ChecksumOptions, JsonFrame, TextFrame


class LineFramer:
    """Text frames: from `start` to `end`, the check taken off."""

    def __init__(self, frame: TextFrame | JsonFrame, counters: Counter[str]) -> None:
        self._start, self._end = frame.start.encode(), frame.end.encode()
        self._bytes_max, self._check = frame.bytes_max, frame.checksum
        self._buffer = bytearray()
        self._counters = counters
        # A cut line is told by its missing start, by its check or by JSON itself; else by nothing.
        self._tells_cuts = bool(frame.start or frame.checksum) or isinstance(frame, JsonFrame)
        self._skipping = not self._tells_cuts

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies completed by `data`, without start, check and surrounding blanks."""
        self._buffer += data
        bodies = [body for line in self._lines() if (body := self._body(line)) is not None]
        if len(self._buffer) > self._bytes_max + len(self._end):
            self._counters["overflow"] += 1
            self._skipping = True
            del self._buffer[: -len(self._end)]  # the end itself may be half arrived
        return bodies

    def forget(self) -> None:
        """Drop what is half read: the line was interrupted."""
        self._buffer.clear()
        self._skipping = not self._tells_cuts

    def _lines(self) -> Iterator[bytes]:
        *whole, rest = self._buffer.split(self._end)
        self._buffer = bytearray(rest)
        for line in whole:
            if self._skipping:
                self._skipping = False
                self._counters["garbage_bytes"] += len(line)
            elif len(line) > self._bytes_max:
                self._counters["overflow"] += 1
            else:
                yield bytes(line)

    def _body(self, line: bytes) -> bytes | None:
        if not line.strip():
            return None
        if self._start:
            before, start, line = line.rpartition(self._start)
            if not start:
                self._counters["malformed"] += 1
                return None
            self._counters["garbage_bytes"] += len(before.strip())
        body = self._checked(line, self._check) if self._check else line
        if body is not None:
            self._counters["frames"] += 1
        return body.strip() if body is not None else None

    def _checked(self, line: bytes, check: ChecksumOptions) -> bytes | None:
        mark = check.after.encode()
        body, found, digits = line.rpartition(mark)
        covered = (self._start if check.covers_start else b"") + body
        covered += mark if check.covers_after else b""
        if not found or _hexadecimal(digits, check) != checksum(check.kind, covered):
            self._counters["checksum_errors"] += 1
            return None
        return body


def _hexadecimal(digits: bytes, check: ChecksumOptions) -> int | None:
    width = width_bytes(check.kind)
    try:
        raw = bytes.fromhex(digits.strip().decode("ascii"))
    except ValueError:
        return None
    return int.from_bytes(raw, check.order) if len(raw) == width else None


class BinaryFramer:
    """Frames of a fixed length, found by their start bytes and their check."""

    def __init__(self, frame: BinaryFrame, counters: Counter[str]) -> None:
        self._frame, self._check = frame, frame.checksum
        self._start, self._end = bytes.fromhex(frame.start), bytes.fromhex(frame.end)
        self._buffer = bytearray()
        self._counters = counters

    def feed(self, data: bytes) -> list[bytes]:
        """The whole frames completed by `data`, start and check included."""
        self._buffer += data
        frames: list[bytes] = []
        at = 0
        while (at := self._next_start(at)) + self._frame.length <= len(self._buffer):
            frame = bytes(self._buffer[at : at + self._frame.length])
            if self._is_whole(frame):
                frames.append(frame)
                at += self._frame.length
            else:
                self._counters["garbage_bytes"] += 1
                at += 1
        del self._buffer[:at]
        self._counters["frames"] += len(frames)
        return frames

    def forget(self) -> None:
        """Drop what is half read: the bytes of one frame come together, these are of an old one."""
        if self._buffer:
            self._counters["stale"] += 1
        self._buffer.clear()

    def _next_start(self, at: int) -> int:
        """Where the next frame may begin, at the earliest at `at`; what lies before it is garbage."""
        found = self._buffer.find(self._start, at)
        if found < 0:
            found = max(at, len(self._buffer) - len(self._start) + 1)
            while not self._start.startswith(bytes(self._buffer[found:])):
                found += 1
        self._counters["garbage_bytes"] += found - at
        return found

    def _is_whole(self, frame: bytes) -> bool:
        if not frame.endswith(self._end):
            self._counters["malformed"] += 1
            return False
        if self._check is None:
            return True
        end = self._frame.body_end
        covered = frame[0 if self._check.covers_start else len(self._start) : end]
        sent = int.from_bytes(frame[end : end + width_bytes(self._check.kind)], self._check.order)
        if sent != checksum(self._check.kind, covered):
            self._counters["checksum_errors"] += 1
            return False
        return True
