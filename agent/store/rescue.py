"""A database file that is damaged: known by its error, moved aside with its time in the name."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

COMPANIONS = ("-wal", "-shm", "")
WAY_OUT = "stop the agent and run `uicps-agent store salvage` on it to bring back what can be read"

_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def is_broken(error: sqlite3.Error) -> bool:
    """Whether `error` says that the file itself is damaged; a full or read-only disk is not that."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _BROKEN or code == sqlite3.SQLITE_IOERR_SHORT_READ


@contextmanager
def decoding() -> Iterator[None]:
    """Inside, what comes from the file is decoded: if that makes no sense, the file is damaged."""
    try:
        yield
    except (zlib.error, struct.error, ValueError, LookupError, TypeError) as error:
        raise damage(f"what it holds makes no sense: {error!r}") from error


def damage(text: str) -> sqlite3.DatabaseError:
    """An error that says that the file itself is damaged."""
    damaged = sqlite3.DatabaseError(text)
    damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return damaged


def move_aside(
    file: Path,
    why: str = "broken",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    *,
    journal: bool = False,
) -> str:
    """Rename `file` and its companions, with `journal` that too; the new name. OSError if that fails."""
    stem = f"{file.stem}.{why}-{now():%Y%m%dT%H%M%SZ}"
    aside = next(
        path
        for at in range(1000)
        if not (path := file.with_name(f"{stem}{f'-{at}' if at else ''}{file.suffix}")).exists()
    )
    moves = [(file.with_name(file.name + each), aside.with_name(aside.name + each)) for each in COMPANIONS]
    if journal:
        moves.insert(0, (file.with_suffix(".journal"), aside.with_suffix(".journal")))
    for old, new in moves:
        if old.exists():
            old.rename(new)
    return aside.name
