"""A database file that is damaged: known by its error, moved aside with its time in the name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

COMPANIONS = ("-wal", "-shm", "")
WAY_OUT = "stop the agent and run `uicps-agent store salvage` on it to bring back what can be read"

_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def is_broken(error: sqlite3.Error) -> bool:
    """Whether `error` says that the file itself is damaged; a full or read-only disk is not that."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _BROKEN or code == sqlite3.SQLITE_IOERR_SHORT_READ


def move_aside(file: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> str:
    """Rename `file`, its companions and its journal; the new name. OSError if that cannot be done."""
    stem = f"{file.stem}.broken-{now():%Y%m%dT%H%M%SZ}"
    aside = next(
        path
        for at in range(1000)
        if not (path := file.with_name(f"{stem}{f'-{at}' if at else ''}{file.suffix}")).exists()
    )
    for companion in COMPANIONS:
        each = file.with_name(file.name + companion)
        if each.exists():
            each.rename(aside.with_name(aside.name + companion))
    return aside.name
