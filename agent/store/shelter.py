"""A folder in memory that stands in for a data folder which takes no writes (full, read-only, failing).

Rules.
1. Everything but the readings is copied there and worked on there: users, keys, alarms, settings.
2. When the data folder takes writes again, what was changed comes back, file by file, each whole or not at
   all; what somebody changed in the data folder meanwhile stays as he made it. The readings follow by
   themselves, while the agent is at work at home.
3. What is too large to be copied is done without, and said. The folder outlives the process, not the box.
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import logging
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from agent.store.journal import hand_on

log = logging.getLogger(__name__)

JOURNAL = "readings.journal"
READINGS_FILE = "readings.db"
READINGS = "readings."  # the store's own files: they are joined, not copied
OTHERS = ("agent.lock", "salvage-", ".takes-writes-", ".shelter.json")
MANIFEST = "shelter.json"
FILE_BYTES_MAX, ALL_BYTES_MAX = 16_000_000, 48_000_000
PROBE_BYTES = 4 * 1024 * 1024
WAL_BYTES = 24 * 1024 * 1024
NO_WRITES = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO}
SQLITE = b"SQLite format 3\0"


def refusal(folder: Path, need_bytes: int = 0) -> str:
    """Why `folder` does not take `need_bytes` and a little more; "" if it does.

    OSError if the reason is another than the disk's: a wrong owner, say, is a mistake to be mended.
    """
    probe = folder / f".takes-writes-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = os.statvfs(folder)
        try:
            _fill(probe)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in NO_WRITES:
            raise
        return f"{folder}: {error.strerror}"
    lacks = free.f_bavail * free.f_frsize < need_bytes + PROBE_BYTES
    return f"{folder}: {os.strerror(errno.ENOSPC)}" if lacks else ""


def _fill(probe: Path) -> None:
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, PROBE_BYTES)
        os.write(descriptor, b"x")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def memory_folder() -> Path:
    """Where files live in memory: systemd's RuntimeDirectory=, else /dev/shm."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(given or "/dev/shm")  # noqa: S108 - the folder made in it is checked to be ours


class Shelter:
    """`folder` stands in for `home`. Blocking; OSError if there is no room in memory either."""

    def __init__(self, home: Path, memory: Path | None = None) -> None:
        self.home = home
        digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
        self.folder = (memory or memory_folder()) / f"uicps-agent-{digest}"

    @property
    def is_open(self) -> bool:
        """Whether files are worked on here."""
        return (self.folder / MANIFEST).exists()

    @property
    def readings(self) -> Path | None:
        """The readings that wait here to be brought home."""
        file = self.folder / READINGS_FILE
        return file if file.exists() else None

    @property
    def size_bytes(self) -> int:
        """What comes back to `home` at most."""
        return WAL_BYTES + sum(file.lstat().st_size for file in _files(self.folder))

    def open(self) -> None:
        """Make the folder and copy what can be; one that an earlier run left is gone on with."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check_ours()
        if self.is_open:
            return
        manifest, room = {}, ALL_BYTES_MAX
        for file in _copied(self.home):
            size = file.stat().st_size
            if size > min(room, FILE_BYTES_MAX):
                log.warning("%s: %d MB are too much for memory, doing without", file, size // 1_000_000)
                continue
            room -= size
            name = str(file.relative_to(self.home))
            manifest[name] = _mark(file)
            target = self.folder / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(file, target)
        hand_on(self.home / JOURNAL, self.folder / JOURNAL)
        self._note(manifest)

    def _note(self, manifest: dict[str, list[int]]) -> None:
        """What of `home` is as it was copied; whole or not at all, since what has it is gone on with."""
        draft = self.folder / f".{MANIFEST}"
        draft.write_text(json.dumps(manifest), encoding="utf-8")
        draft.replace(self.folder / MANIFEST)

    def check_ours(self) -> None:
        """OSError if anyone else could have put something into the folder."""
        found = self.folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise OSError(
                f"{self.folder}: expected a folder that only this user can write, found another; remove it"
            )

    def bring_back(self) -> None:
        """What was changed here, to `home`; only the readings are left."""
        if not self.is_open:
            return
        manifest: dict[str, list[int]] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        for file in [each for each in _copied(self.folder) if not each.name.endswith("-wal")]:
            if file.name == MANIFEST and file.parent == self.folder:
                continue
            name = str(file.relative_to(self.folder))
            _fold(file)
            target = self.home / name
            if target.exists() and filecmp.cmp(file, target, shallow=False) and not _wal(target).exists():
                continue
            if _known(manifest, self.home, name) and _known(manifest, self.home, name + "-wal"):
                _put(file, target)
                manifest.pop(name + "-wal", None)
                manifest[name] = _mark(target)
                self._note(manifest)
            else:
                log.warning("%s: changed meanwhile: what it was in memory is given up", target)
        for file in list(_copied(self.folder)):
            if file != self.folder / MANIFEST:
                file.unlink()
        (self.folder / MANIFEST).unlink()

    def remove(self) -> None:
        """All came back."""
        shutil.rmtree(self.folder)


def _known(manifest: dict[str, list[int]], home: Path, name: str) -> bool:
    """Whether `name` is in `home` as it was copied, or was not there then and is not now."""
    file = home / name
    return (_mark(file) if file.exists() else None) == manifest.get(name)


def _put(file: Path, target: Path) -> None:
    """`file` in the place of `target`, on disk before it is seen."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if target.exists():
        _fold(target)  # its write-ahead log must never be taken for one of the new file
    draft = target.with_name(f".{target.name}.new")
    try:
        shutil.copy2(file, draft)
        with draft.open("rb") as copied:
            os.fsync(copied.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _fold(file: Path) -> None:
    """Bring a database's write-ahead log into it."""
    with file.open("rb") as opened:
        if opened.read(len(SQLITE)) != SQLITE or not _wal(file).exists():
            return
    try:
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        raise OSError(f"{file}: cannot be closed: {error}") from error


def _wal(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def _mark(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _copied(folder: Path) -> Iterator[Path]:
    """The small files; not the readings, nor what belongs to a process."""
    for file in _files(folder):
        top = file.relative_to(folder).parts[0]
        if not top.startswith((READINGS, *OTHERS)) and not file.name.endswith("-shm"):
            yield file


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (
            path for name in sorted(names) if stat.S_ISREG((path := Path(parent, name)).lstat().st_mode)
        )
