"""analysis.db: what the analyses made of the readings, by half hour, and what they learned. All of its SQL.

Rules.
1. The child is the only one that writes; a reader (a report) may look at any time.
2. A half hour is one row, written again as a whole when later readings change it.
3. A file that is broken is moved aside, and all begins anew from the readings.
"""

from __future__ import annotations

import sqlite3
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import orjson

from agent.analysis.power_quality.aggregate import Intervals
from agent.localtime import Ints

BOOK_FILE = "analysis.db"
VERSION = 1
HALF_MS = 1_800_000
QUARTER_DAYS = 400  # of a meter's quarters of an hour and events: they are small
_HEAD = struct.Struct("<HHd")  # intervals, points, period of the readings in ms

TABLES = """
CREATE TABLE note (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, points TEXT NOT NULL,
    UNIQUE (device, name, points));
CREATE TABLE block (series INTEGER NOT NULL, half_ms INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (series, half_ms)) WITHOUT ROWID;
CREATE TABLE meter_block (device TEXT NOT NULL, part TEXT NOT NULL, half_ms INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (device, part, half_ms)) WITHOUT ROWID;
CREATE TABLE learned (name TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
"""


class Tens(NamedTuple):
    """10-minute intervals of some points (columns) of a group; `period_ms` (m,) is how far apart the readings
    of each were."""

    intervals: Intervals
    period_ms: np.ndarray[Any, np.dtype[np.float64]]


class Book:
    """Entered to open `file`. OSError: it cannot be had."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> Self:
        try:
            self._open()
        except sqlite3.OperationalError as error:
            raise OSError(
                f"{self._file}: cannot be opened: {error}; is the disk full or read-only?"
            ) from error
        except sqlite3.DatabaseError:
            aside = self._file.with_name(f"{self._file.name}.broken-{int(time.time())}")
            self._file.rename(aside)
            for suffix in ("-wal", "-shm"):
                self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
            self._open()
        self._series: dict[tuple[str, str, str], int] = {}
        return self

    def _open(self) -> None:
        self._db = sqlite3.connect(self._file, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # it can be made again from the readings
        ((version,),) = self._db.execute("PRAGMA user_version")
        if version == 0:
            self._db.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"expected version {VERSION}, found {version}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    # ---------------------------------------------------------------- notes

    def note(self, name: str) -> Any:
        """What was noted under `name`; None: nothing."""
        rows = self._db.execute("SELECT body FROM note WHERE name = ?", (name,)).fetchall()
        return orjson.loads(rows[0][0]) if rows else None

    def put_note(self, name: str, body: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, _text(body)))

    def learned(self, prefix: str) -> dict[str, Any]:
        """What was learned under names that begin so."""
        rows = self._db.execute(
            "SELECT name, body FROM learned WHERE name >= ? AND name < ?", (prefix, prefix + "\uffff")
        )
        return {name: orjson.loads(body) for name, body in rows}

    def put_learned(self, name: str, time_ms: int, body: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO learned VALUES (?, ?, ?)", (name, time_ms, _text(body)))

    def forget_learned(self, before_ms: int) -> None:
        """What was not learned anew since: its point is gone."""
        self._db.execute("DELETE FROM learned WHERE time_ms < ?", (before_ms,))

    # ---------------------------------------------------------------- 10-minute intervals

    def put_tens(self, group: tuple[str, str], points: Sequence[str], half_ms: int, tens: Tens) -> None:
        row = (self._key(group, points), half_ms, _packed(tens, half_ms))
        self._db.execute("INSERT OR REPLACE INTO block VALUES (?, ?, ?)", row)

    def _key(self, group: tuple[str, str], points: Sequence[str]) -> int:
        row = (*group, " ".join(points))
        if row not in self._series:
            self._db.execute("INSERT OR IGNORE INTO series (device, name, points) VALUES (?, ?, ?)", row)
            sql = "SELECT id FROM series WHERE device = ? AND name = ? AND points = ?"
            ((self._series[row],),) = self._db.execute(sql, row)
        return self._series[row]

    def tens(self, group: tuple[str, str], points: Sequence[str], from_ms: int, to_ms: int) -> Tens:
        """What is known of `points` (columns) from `from_ms` to before `to_ms`, in the order of time."""
        parts = [
            part
            for key, names in self._like(group)
            for part in self._parts(key, names, points, (from_ms, to_ms))
        ]
        return _joined(parts, len(points))

    def _like(self, group: tuple[str, str]) -> list[tuple[int, list[str]]]:
        rows = self._db.execute("SELECT id, points FROM series WHERE device = ? AND name = ?", group)
        return [(key, names.split(" ")) for key, names in rows]

    def _parts(
        self, key: int, names: Sequence[str], points: Sequence[str], period_ms: tuple[int, int]
    ) -> Iterator[Tens]:
        places = [names.index(point) if point in names else -1 for point in points]
        if all(at < 0 for at in places):
            return
        sql = (
            "SELECT half_ms, body FROM block WHERE series = ? AND half_ms >= ? AND half_ms < ?"
            " ORDER BY half_ms"
        )
        for half_ms, body in self._db.execute(sql, (key, period_ms[0] - HALF_MS + 1, period_ms[1])):
            yield _chosen(_unpacked(body, half_ms), places)

    # ---------------------------------------------------------------- meters

    def put_meter(self, device: str, part: str, half_ms: int, body: Any) -> None:
        row = (device, part, half_ms, _text(body))
        self._db.execute("INSERT OR REPLACE INTO meter_block VALUES (?, ?, ?, ?)", row)

    def meter(self, device: str, part: str, from_ms: int, to_ms: int) -> list[Any]:
        """What was kept of each half hour that begins at from <= time < to, in the order of time."""
        sql = (
            "SELECT body FROM meter_block WHERE device = ? AND part = ? AND half_ms >= ? AND half_ms < ?"
            " ORDER BY half_ms"
        )
        return [orjson.loads(body) for (body,) in self._db.execute(sql, (device, part, from_ms, to_ms))]

    def before(self, device: str, part: str, half_ms: int) -> Any:
        """What was kept of the last half hour before `half_ms`; None: nothing."""
        sql = (
            "SELECT body FROM meter_block WHERE device = ? AND part = ? AND half_ms < ?"
            " ORDER BY half_ms DESC LIMIT 1"
        )
        rows = self._db.execute(sql, (device, part, half_ms)).fetchall()
        return orjson.loads(rows[0][0]) if rows else None

    def prune(self, before_ms: int, now_ms: int) -> None:
        """Let the oldest go."""
        self._db.execute("DELETE FROM block WHERE half_ms < ?", (before_ms,))
        oldest_ms = now_ms - QUARTER_DAYS * 86_400_000
        self._db.execute("DELETE FROM meter_block WHERE half_ms < ?", (oldest_ms,))


def _text(body: Any) -> str:
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()


def _packed(tens: Tens, half_ms: int) -> bytes:
    found = tens.intervals
    rows, points = found.mean.shape
    period_ms = float(tens.period_ms[0]) if rows else 0.0
    steps = ((found.start_ms - half_ms) // 600_000).astype("<u1").tobytes()
    floats = np.concatenate([found.rms, found.low, found.high]).astype("<f4").tobytes()
    body = found.mean.astype("<f8").tobytes() + floats + found.count.astype("<u4").tobytes()
    return _HEAD.pack(rows, points, period_ms) + zlib.compress(steps + body, 1)


def _unpacked(packed: bytes, half_ms: int) -> Tens:
    rows, points, period_ms = _HEAD.unpack_from(packed)
    body = zlib.decompress(packed[_HEAD.size :])
    size = rows * points
    steps = np.frombuffer(body, "<u1", rows).astype(np.int64)
    mean = np.frombuffer(body, "<f8", size, rows).reshape(rows, points)
    floats = np.frombuffer(body, "<f4", 3 * size, rows + 8 * size).astype(np.float64).reshape(3, rows, points)
    count = np.frombuffer(body, "<u4", size, rows + 20 * size).astype(np.int64).reshape(rows, points)
    intervals = Intervals(half_ms + steps * 600_000, count, mean, floats[0], floats[1], floats[2])
    return Tens(intervals, np.full(rows, period_ms))


def _chosen(tens: Tens, places: Sequence[int]) -> Tens:
    """The columns `places`; -1: one that is not there."""
    found, at = tens.intervals, np.array(places)
    there = at >= 0

    def columns(values: Any) -> Any:
        return np.where(there, values[:, at], np.nan)

    count: Ints = np.where(there, found.count[:, at], 0)
    four = (columns(each) for each in (found.mean, found.rms, found.low, found.high))
    return Tens(Intervals(found.start_ms, count, *four), tens.period_ms)


def _joined(parts: Sequence[Tens], points: int) -> Tens:
    """In the order of time; of two of the same time, the one with more readings."""
    if not parts:
        none = np.empty((0, points))
        empty = Intervals(np.empty(0, np.int64), none.astype(np.int64), none, none, none, none)
        return Tens(empty, np.empty(0))
    names = ("start_ms", "count", "mean", "rms", "low", "high")
    fields = {name: np.concatenate([getattr(part.intervals, name) for part in parts]) for name in names}
    period_ms = np.concatenate([part.period_ms for part in parts])
    order = np.lexsort((-fields["count"].sum(axis=1), fields["start_ms"]))
    start_ms = fields["start_ms"][order]
    first = order[np.concatenate([[True], start_ms[1:] != start_ms[:-1]])]
    return Tens(Intervals(**{name: values[first] for name, values in fields.items()}), period_ms[first])


Learned = Mapping[str, Any]
