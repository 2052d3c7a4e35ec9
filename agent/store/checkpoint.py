"""The write-ahead log brought into the file beside the commits, which do not wait for it.

SQLite does it within a commit, a commit of half a second then. Done by another connection (PASSIVE) it keeps
nobody waiting; what was committed meanwhile stays in the log until the next time.
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

_INDEX_HEAD = struct.Struct("=14xHI")  # of -shm: page size, frames in the log; sqlite.org/walformat.html
_BROUGHT_IN = struct.Struct("=96xI")  # frames of it that are in the file


def pending_bytes(file: Path) -> int:
    """What of the write-ahead log of `file` is not in it yet; 0 if nobody can know."""
    try:
        with file.with_name(f"{file.name}-shm").open("rb") as index:
            head = index.read(_BROUGHT_IN.size)
        page_bytes, frames = _INDEX_HEAD.unpack_from(head)
        (brought_in,) = _BROUGHT_IN.unpack_from(head)
    except (OSError, struct.error):
        return 0
    return int(max(0, frames - brought_in) * (page_bytes if page_bytes > 1 else 65536))


def checkpoint(file: Path, at_bytes: int) -> bool:
    """Bring it in if there are `at_bytes` of it; whether there were. sqlite3.Error: try again."""
    if pending_bytes(file) < at_bytes:
        return False
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return True
