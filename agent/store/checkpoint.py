"""The write-ahead log brought into the file beside the commits, which do not wait for it.

SQLite does it within a commit, a commit of half a second then. Done by another connection (PASSIVE) it keeps
nobody waiting; what was committed meanwhile stays in the log until the next time.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

_INDEX_HEAD = struct.Struct("=14xHI")  # of -shm: page size, frames in the log; sqlite.org/walformat.html
_BROUGHT_IN = struct.Struct("=96xI")  # frames of it that are in the file


class WriteAheadLog:
    """Of `file`. `close` it when this process has no connection any more, and not before.

    Its index (-shm) stays open here, since whoever closes a file lets go of all locks that his process has
    on it (POSIX). SQLite's would be among them: the next process to come would find nobody at work, and
    begin the index anew under our feet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._index: int | None = None

    def pending_bytes(self) -> int:
        """What of it is not in the file yet; 0 if nobody can know."""
        try:
            if self._index is None:
                self._index = os.open(f"{self._file}-shm", os.O_RDONLY | os.O_CLOEXEC)
            head = os.pread(self._index, _BROUGHT_IN.size, 0)
            page_bytes, frames = _INDEX_HEAD.unpack_from(head)
            (brought_in,) = _BROUGHT_IN.unpack_from(head)
        except (OSError, struct.error):
            return 0
        return int(max(0, frames - brought_in) * (page_bytes if page_bytes > 1 else 65536))

    def checkpoint(self, at_bytes: int) -> bool:
        """Bring it in if there are `at_bytes` of it; whether there were. sqlite3.Error: try again."""
        if self.pending_bytes() < at_bytes:
            return False
        with closing(sqlite3.connect(self._file, isolation_level=None)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return True

    def close(self) -> None:
        """Let go of it; what is asked later opens it anew."""
        index, self._index = self._index, None
        if index is not None:
            os.close(index)
