"""The ledger of a log that another process may be writing: read only, as of its last commit."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agent.store.ledger import HOUR_MS, LedgerRow, row_of, unpack


def check_there(file: Path) -> None:
    """FileNotFoundError if there is no log."""
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file; has the agent run with this configuration?")


def read_ledger(file: Path, from_ms: int, to_ms: int) -> list[LedgerRow]:
    """One row per device and hour that begins in `from_ms` <= time < `to_ms`, in order of both.

    OSError if there is no log, or none with a ledger.
    """
    check_there(file)
    sql = "SELECT hour, counts FROM ledger WHERE hour >= ? AND hour < ? ORDER BY hour"
    hours = (-(-from_ms // HOUR_MS), -(-to_ms // HOUR_MS))
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
            rows = db.execute(sql, hours).fetchall()
    except sqlite3.Error as error:
        raise OSError(f"{file}: cannot read the ledger: {error}") from error
    return [
        row_of(hour, device, counts)
        for hour, packed in rows
        for device, counts in sorted(unpack(packed).items())
    ]
