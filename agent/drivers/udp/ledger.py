"""What of the replay windows must survive us: on disk before anything that depends on it is published.

Two files are written in turn, each with a generation and a checksum, so a write that is cut off by a
power failure costs only what nobody relied on yet. The directory entry is made durable once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson

log = logging.getLogger(__name__)

FILE_BYTES_MAX = 4 * 1024 * 1024


class Mark(NamedTuple):
    """For one key: no datagram of an older boot, nor of this one up to `limit`, is taken after a restart.

    Samples below `settled` were published or given up.
    """

    boot: int
    limit: int
    settled: int


class Marks(NamedTuple):
    """All that is kept of a line: a mark by key id, and the command ids that may have been used."""

    by_key: Mapping[int, Mark]
    command_limit: int = 0


class Ledger:
    """The marks of one line in `folder`. `save` blocks until they are on the disk: call it in a thread."""

    def __init__(self, folder: Path, line: str, *, fsync: Callable[[int], None] = os.fsync) -> None:
        self._line, self._fsync, self._generation = line, fsync, 0
        self._saved: Marks | None = None
        self._settle(folder)
        self._lock = threading.Lock()

    def _settle(self, folder: Path) -> None:
        self._folder = folder
        self._files = tuple(folder / f"{self._line}.replay-{at}" for at in (0, 1))

    def move(self, folder: Path) -> None:
        """Be in `folder` from now on, with what was saved. OSError: that disk refuses, nothing moved."""
        with self._lock:
            before = self._folder
            self._settle(folder)
            try:
                if self._saved is not None:
                    self._save(self._saved)
            except OSError:
                self._settle(before)
                raise

    def load(self) -> Marks:
        """What was saved last. Files that cannot be understood are said and count as absent."""
        found = [kept for file in self._files if (kept := self._read(file))]
        if not found:
            return Marks({})
        self._generation, marks = max(found, key=lambda each: each[0])
        return marks

    def _read(self, file: Path) -> tuple[int, Marks] | None:
        try:
            data = file.read_bytes()[:FILE_BYTES_MAX]
        except FileNotFoundError:
            return None
        try:
            return _parsed(data)
        except (ValueError, KeyError, TypeError) as error:
            if data:  # an empty one was being made when the power went
                log.warning("%s: damaged, what it held is lost: %s", file, error)
            return None

    def save(self, marks: Marks) -> None:
        """Keep `marks` instead of all saved before. OSError if the disk refuses."""
        with self._lock:
            self._save(marks)
            self._saved = marks

    def _save(self, marks: Marks) -> None:
        generation = self._generation + 1
        file = self._files[generation % 2]
        if not file.exists():
            self._create(file)
        with file.open("r+b", buffering=0) as target:
            target.write(_written(generation, marks))
            target.truncate()
            self._fsync(target.fileno())
        self._generation = generation

    def _create(self, file: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            self._fsync(folder)
        finally:
            os.close(folder)


def _written(generation: int, marks: Marks) -> bytes:
    keys = {f"{key_id:08x}": list(mark) for key_id, mark in marks.by_key.items()}
    body = {"generation": generation, "command_limit": marks.command_limit, "keys": keys}
    text = orjson.dumps(body)
    return text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"


def _parsed(data: bytes) -> tuple[int, Marks]:
    text, _, checksum = data.partition(b"\n")
    if checksum.strip() != hashlib.sha256(text).hexdigest().encode():
        raise ValueError("its checksum is another")
    body = orjson.loads(text)
    by_key = {int(key_id, 16): Mark(*mark) for key_id, mark in body["keys"].items()}
    return int(body["generation"]), Marks(by_key, int(body["command_limit"]))
