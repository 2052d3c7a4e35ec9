"""A connection to a store file that reads: in the agent, in its children, for commands. Lean."""

from __future__ import annotations

import sqlite3
from pathlib import Path

CACHE_KB = 256  # SQLite's own 2 MB each are kept for ever, and what is read once need not be


def connected(file: Path) -> sqlite3.Connection:
    """For one thread at a time. sqlite3.Error: it cannot be opened."""
    place = f"{file.resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(place, uri=True, check_same_thread=False, isolation_level=None)
    db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    return db


class one_moment:  # noqa: N801 - reads as a phrase
    """A read transaction: a chunk that is thinned or goes meanwhile is seen whole, as it was."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        self._db.execute("COMMIT")
