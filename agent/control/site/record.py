"""Every decision with what it was made of, in a file of its own: `control.db`, bounded by age and size.

Rules.
1. One row per cycle holds what was seen, what was decided, and how the planner did; outlooks, which change
   once a quarter, stand apart. With the `begin` before it (rooms, state, parameters, open quarters) and the
   closed quarters, any stretch can be run again bit for bit.
2. `memory` is what the next process begins with. It is written in the transaction of the cycle it belongs to.
3. Nothing in here is needed to control: who writes goes on when the disk refuses.

Calls block; make them in a thread.
"""

from __future__ import annotations

import sqlite3
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from agent.control.history import COLUMNS, DAYS_MAX, History
from agent.control.room import QUARTERS_PER_DAY
from agent.database import move_aside

DAY_MS = 86_400_000
ROW = f"<{COLUMNS}d"
BUSY_S = 5.0
CACHE_KB = 256  # of pages in memory: a cycle touches a few, SQLite's own bound is 2 MB
TRIM_SHARE = 0.05
PAGES_VACUUMED = 500

SCHEMA = """
CREATE TABLE IF NOT EXISTS begin (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS outlook (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS cycle (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER, begin INTEGER, outlook INTEGER, data BLOB);
CREATE INDEX IF NOT EXISTS cycle_time ON cycle (time_ms);
CREATE TABLE IF NOT EXISTS quarter (room TEXT, number INTEGER, row BLOB, PRIMARY KEY (room, number));
CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, data BLOB);
"""


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one cycle was made of and what came of it, as JSON. `solved`: what came of each question to the
    planner (`timed.Outcome`); `begin`, `outlook`: the row numbers of those."""

    time_ms: int
    begin: int
    observed: Mapping[str, Any]
    outlook: Mapping[str, Any]
    decisions: list[dict[str, Any]]
    solved: tuple[int, ...] = ()


@dataclass
class Record:
    """`open` before anything else. sqlite3.Error where the file cannot be read or written."""

    file: Path
    days_max: int = 90
    mb_max: int = 64
    _db: sqlite3.Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _outlook: tuple[bytes, int] = (b"", 0)

    def open(self) -> Self:
        """The file, made if need be; only we can read it (it tells when nobody is in)."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.touch(mode=0o600)
        db = sqlite3.connect(self.file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        self._db = db
        return self

    @property
    def is_open(self) -> bool:
        return self._db is not None

    def set_aside(self) -> None:
        """Keep a file that is no database for whoever wants to look into it, out of the way."""
        self.close()
        move_aside(self.file)

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    # ---------------------------------------------------------------- writing

    def begin(self, time_ms: int, data: Mapping[str, Any]) -> int:
        """From here on another start holds: its row number."""
        with self._lock, self._transaction() as db:
            row = db.execute("INSERT INTO begin (time_ms, data) VALUES (?, ?)", (time_ms, packed(data)))
            return int(row.lastrowid or 0)

    def add(
        self,
        cycle: Cycle,
        memory: Mapping[str, Any],
        quarters: Iterable[tuple[str, int, bytes]],
    ) -> None:
        """One cycle, what is to be remembered after it, and the quarters that closed in it."""
        data = {
            "observed": cycle.observed,
            "decisions": cycle.decisions,
            "solved": [int(each) for each in cycle.solved],
        }
        with self._lock:
            self._outlook = self._added(cycle, data, memory, quarters)

    def _added(
        self,
        cycle: Cycle,
        data: Mapping[str, Any],
        memory: Mapping[str, Any],
        quarters: Iterable[tuple[str, int, bytes]],
    ) -> tuple[bytes, int]:
        """The outlook that is in the file now: what was rolled back is not."""
        with self._transaction() as db:
            outlook = self._outlook_in(db, cycle)
            values = (cycle.time_ms, cycle.begin, outlook[1], packed(data))
            db.execute("INSERT INTO cycle (time_ms, begin, outlook, data) VALUES (?, ?, ?, ?)", values)
            db.executemany("INSERT OR REPLACE INTO quarter VALUES (?, ?, ?)", quarters)
            for name, value in memory.items():
                db.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (name, packed(value)))
        return outlook

    def _outlook_in(self, db: sqlite3.Connection, cycle: Cycle) -> tuple[bytes, int]:
        data = packed(cycle.outlook)
        if data == self._outlook[0]:
            return self._outlook
        row = db.execute("INSERT INTO outlook (time_ms, data) VALUES (?, ?)", (cycle.time_ms, data))
        return data, int(row.lastrowid or 0)

    def trim(self, now_ms: int) -> None:
        """Let go what is too old, and the oldest while the file is too big. Once an hour is enough."""
        with self._lock, self._transaction() as db:
            self._forget(db, now_ms - self.days_max * DAY_MS)
            first_quarter = now_ms // 900_000 - (DAYS_MAX + self.days_max) * QUARTERS_PER_DAY
            db.execute("DELETE FROM quarter WHERE number < ?", (first_quarter,))
            if self._used_mb(db) > self.mb_max:
                first, last = db.execute("SELECT min(id), max(id) FROM cycle").fetchone()
                cut = int(first + TRIM_SHARE * (last - first) + 1)
                row = db.execute("SELECT time_ms FROM cycle WHERE id >= ? LIMIT 1", (cut,)).fetchone()
                db.execute("DELETE FROM cycle WHERE id < ?", (cut,))
                self._forget(db, row[0] if row else now_ms)
        with self._lock:
            self._connection.execute(f"PRAGMA incremental_vacuum({PAGES_VACUUMED})").fetchall()

    def _forget(self, db: sqlite3.Connection, before_ms: int) -> None:
        db.execute("DELETE FROM cycle WHERE time_ms < ?", (before_ms,))
        for table in ("begin", "outlook"):
            oldest = f"SELECT coalesce(min({table}), 0) FROM cycle"  # noqa: S608 - of our own two words
            db.execute(f"DELETE FROM {table} WHERE id < ({oldest})")  # noqa: S608

    def _used_mb(self, db: sqlite3.Connection) -> float:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return float((pages - free) * size / 1e6)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the record of control is closed")
        return self._db

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection)

    # ---------------------------------------------------------------- reading

    def memory(self) -> dict[str, Any]:
        """What the last run left."""
        with self._lock:
            rows = self._connection.execute("SELECT name, data FROM memory").fetchall()
        return {name: unpacked(data) for name, data in rows}

    def histories(self, lasts: Mapping[str, int]) -> dict[str, History]:
        """The history of each room as it was when its last closed quarter was that one."""
        found = {}
        for room, last in lasts.items():
            with self._lock:
                rows = self._connection.execute(
                    "SELECT number, row FROM quarter"
                    " WHERE room = ? AND number BETWEEN ? AND ? ORDER BY number",
                    (room, last - 2 * DAYS_MAX * QUARTERS_PER_DAY, last),
                ).fetchall()
            history = History()
            for number, row in rows:
                history.add(number, struct.unpack(ROW, row))
            if rows:
                found[room] = history
        return found

    def begin_of(self, number: int) -> dict[str, Any] | None:
        """What held from there on, None if it is gone."""
        with self._lock:
            row = self._connection.execute("SELECT data FROM begin WHERE id = ?", (number,)).fetchone()
        return None if row is None else unpacked(row[0])

    def begin_before(self, time_ms: int) -> int:
        """The row number of the last begin not after `time_ms`, or of the first there is; 0: none."""
        with self._lock:
            row = self._connection.execute(
                "SELECT coalesce((SELECT max(id) FROM begin WHERE time_ms <= ?),"
                " (SELECT min(id) FROM begin), 0)",
                (time_ms,),
            ).fetchone()
        return int(row[0])

    def cycles(self, from_begin: int, to_ms: int) -> Iterator[Cycle]:
        """In the order they were run, from a begin on."""
        after = 0
        outlooks: tuple[int, dict[str, Any]] = (0, {})
        while True:
            with self._lock:
                rows = self._connection.execute(
                    "SELECT id, time_ms, begin, outlook, data FROM cycle"
                    " WHERE id > ? AND begin >= ? AND time_ms < ? ORDER BY id LIMIT 500",
                    (after, from_begin, to_ms),
                ).fetchall()
            if not rows:
                return
            for each in rows:
                if outlooks[0] != each[3]:
                    outlooks = (each[3], self._outlook_of(each[3]))
                yield _cycle(each, outlooks[1])
            after = rows[-1][0]

    def last(self, room: str, at_ms: int) -> Cycle | None:
        """The last cycle not after `at_ms` that decided on `room`."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, time_ms, begin, outlook, data FROM cycle WHERE time_ms <= ?"
                " ORDER BY time_ms DESC, id DESC LIMIT 100",
                (at_ms,),
            ).fetchall()
        for each in rows:
            cycle = _cycle(each, {})
            if any(decision["room"] == room for decision in cycle.decisions):
                return _cycle(each, self._outlook_of(each[3]))
        return None

    def _outlook_of(self, number: int) -> dict[str, Any]:
        with self._lock:
            row = self._connection.execute("SELECT data FROM outlook WHERE id = ?", (number,)).fetchone()
        return {} if row is None else unpacked(row[0])


class _Transaction:
    """BEGIN ... COMMIT, or all of it undone."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def read_only(file: Path) -> Record:
    """The record of an agent that may be at work. OSError if there is none."""
    if not file.is_file():
        raise OSError(f"{file}: expected the record of control, there is none: has the agent run with rooms?")
    record = Record(file)
    place = f"{file.resolve().as_uri()}?mode=ro"
    record._db = sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)
    return record


def row_bytes(history: History, number: int) -> bytes:
    """The row of that quarter as the table keeps it."""
    return struct.pack(ROW, *history.row(number))


def packed(data: object) -> bytes:
    return zlib.compress(orjson.dumps(data), 1)


def unpacked(data: bytes) -> Any:
    return orjson.loads(zlib.decompress(data))


def _cycle(row: tuple[int, int, int, int, bytes], outlook: Mapping[str, Any]) -> Cycle:
    _, time_ms, begin, _, data = row
    found = unpacked(data)
    return Cycle(time_ms, begin, found["observed"], outlook, found["decisions"], tuple(found["solved"]))


__all__ = ["Cycle", "Record", "packed", "read_only", "row_bytes", "unpacked"]
