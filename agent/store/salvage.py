"""What can still be read of a damaged store file. For the command line, with no agent at work on it.

Rules.
1. The damaged file is never written to: work is on a copy.
2. What cannot be read is skipped in ever smaller parts, so that a bad page costs what is on it.
3. Nothing is guessed: a reading whose group cannot be read, or a column that does not decode, is lost
   and counted.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agent.model import Group, Quality, Reading
from agent.store import layout, segments
from agent.store.journal import Journal
from agent.store.merged import Merged

ROWS_PER_STEP = 512
FAILURES_MAX = 20_000  # a table that is noise to its end is given up
PAGE_SIZES = (1024, 4096, 2048, 8192, 512, 16384, 32768, 65536)

_T = TypeVar("_T")
_UNREADABLE = (sqlite3.Error, zlib.error, struct.error, ValueError, IndexError, KeyError, TypeError)


@dataclass
class Findings:
    """Counted while `salvaged` runs. `lost_parts` are stretches that could not be read."""

    readings: int = 0
    lost_parts: int = 0
    reason: str = ""

    def lose(self, error: Exception) -> None:
        """One stretch less."""
        self.lost_parts += 1
        self.reason = self.reason or str(error)


def copy_of(file: Path, folder: Path, template: Callable[[Path, int], None]) -> Path:
    """A copy of `file` with its write-ahead log and journal in `folder`, that SQLite opens.

    `template(file, page_bytes)` makes an empty store: its first page, which every store has alike, stands in
    for one that is damaged. OSError if there is no room.
    """
    copy = folder / "salvage.db"
    for suffix in ("", "-wal"):
        if (each := file.with_name(file.name + suffix)).exists():
            shutil.copyfile(each, copy.with_name(copy.name + suffix))
    if (journal := file.with_suffix(".journal")).exists():
        shutil.copyfile(journal, copy.with_suffix(".journal"))
    if not _opens(copy):
        copy.with_name(copy.name + "-wal").unlink(missing_ok=True)
    if not _opens(copy):
        _mend_head(copy, folder, template)
    return copy


def _opens(file: Path) -> bool:
    """Whether its head can be read, and the groups from one of their two tables."""
    with closing(sqlite3.connect(file)) as db:
        for table in ("point_group", "point_group_again"):
            try:
                db.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608
            except sqlite3.Error:
                continue
            return True
    return False


def _mend_head(copy: Path, folder: Path, template: Callable[[Path, int], None]) -> None:
    """Put an empty store's first page in the place of a damaged one, or all pages that hold its schema."""
    damaged = copy.read_bytes()[: 1 << 16]
    for page_bytes in PAGE_SIZES:
        fresh = folder / f"fresh-{page_bytes}.db"
        template(fresh, page_bytes)
        whole = bytearray(fresh.read_bytes())
        struct.pack_into(">I", whole, 28, copy.stat().st_size // page_bytes)  # pages
        struct.pack_into(">II", whole, 32, 0, 0)  # the list of free pages: none
        for pages in ([0], _schema_pages(fresh, page_bytes)):
            with copy.open("r+b") as file:
                for page in pages:
                    file.seek(page * page_bytes)
                    file.write(whole[page * page_bytes : (page + 1) * page_bytes])
            if _opens(copy):
                return
            with copy.open("r+b") as file:
                file.write(damaged)


def _schema_pages(fresh: Path, page_bytes: int) -> list[int]:
    """In an empty store every page that is no table's root is the schema's; counted from 0, within what
    `_mend_head` can put back."""
    with closing(sqlite3.connect(fresh)) as db:
        roots = {root - 1 for (root,) in db.execute("SELECT rootpage FROM sqlite_schema")}
    count = min(fresh.stat().st_size, 1 << 16) // page_bytes
    return [page for page in range(count) if page not in roots]


def salvaged(copy: Path, findings: Findings) -> Iterator[list[Reading]]:
    """What `copy` holds, in steps: what was sealed, the log, the journal."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        groups = _groups(db, findings)
        yield from _sealed(db, groups, findings)
        yield from _log(db, groups, findings)
        yield from _journal(db, copy, groups, findings)


def _groups(db: sqlite3.Connection, findings: Findings) -> dict[int, Group]:
    """From both tables; where they differ, a page was lost and the first that can be read is as good."""
    found: dict[int, Group] = {}
    for table in ("point_group", "point_group_again"):
        sql = f"SELECT id, device, name, layout FROM {table} WHERE id BETWEEN ? AND ?"  # noqa: S608
        for rows in _ranges(lambda *span: db.execute(sql, span).fetchall(), 1, 1 << 16, findings):  # noqa: B023
            for key, *described in rows:
                group = _try(findings, layout.decode, *described)
                if group is not None:
                    found.setdefault(key, group)
    return found


def _log(db: sqlite3.Connection, groups: dict[int, Group], findings: Findings) -> Iterator[list[Reading]]:
    sql = "SELECT group_id, time_ms, quality, packed FROM reading WHERE seq BETWEEN ? AND ?"
    first, last = _bounds(db, findings)
    for rows in _ranges(lambda *span: db.execute(sql, span).fetchall(), first, last, findings):
        step = [each for row in rows if (each := _try(findings, _reading, groups, *row))]
        findings.readings += len(step)
        yield step


def _bounds(db: sqlite3.Connection, findings: Findings) -> tuple[int, int]:
    """Between which numbers to look; generous where the file does not say."""
    ends = []
    for sql in ("SELECT min(seq) FROM reading", "SELECT max(seq) FROM reading"):
        rows = _try(findings, _fetched, db, sql)
        ends.append(rows[0][0] if rows and rows[0][0] is not None else None)
    known = _try(findings, _fetched, db, "SELECT max(seq) FROM sqlite_sequence")
    last = max(ends[1] or 0, (known[0][0] or 0) if known else 0)
    return ends[0] or 1, last or 1 << 31


def _reading(groups: dict[int, Group], group_id: int, time_ms: int, quality: int, packed: bytes) -> Reading:
    group, values = groups[group_id], layout.unpack(packed)
    if len(values) != len(group.points):
        raise ValueError(f"a reading of {len(group.points)} values has {len(values)}")
    return Reading(group, int(time_ms), values, Quality(quality))


def _sealed(db: sqlite3.Connection, groups: dict[int, Group], findings: Findings) -> Iterator[list[Reading]]:
    find = "SELECT id FROM segment WHERE id BETWEEN ? AND ?"
    tables = _try(findings, _fetched, db, "SELECT max(id) FROM segment")
    last = (tables[0][0] or 0) if tables else 1 << 20
    for rows in _ranges(lambda *span: db.execute(find, span).fetchall(), 1, last, findings):
        for (key,) in rows:
            step = _try(findings, _segment, db, key, groups) or []
            findings.readings += len(step)
            yield step


def _segment(db: sqlite3.Connection, key: int, groups: dict[int, Group]) -> list[Reading]:
    read = "SELECT id, group_id, readings, seqs, times, quality FROM segment WHERE id = ?"
    stored = segments.Stored(*db.execute(read, (key,)).fetchone())
    block = segments.decode(db, stored)
    if block.values.shape[1] != len(groups[stored.group_id].points):
        raise ValueError("a sealed segment lacks a column")
    merged = Merged([block], "seqs")
    return [_reading(groups, *row[1:]) for row in merged.rows(0, len(merged))]


def _journal(
    db: sqlite3.Connection, copy: Path, groups: dict[int, Group], findings: Findings
) -> Iterator[list[Reading]]:
    if not copy.with_suffix(".journal").exists():
        return
    _, last = _bounds(db, findings)
    journal = Journal(copy.with_suffix(".journal"))
    journal.open()
    with closing(journal):
        step = [_try(findings, _reading, groups, *row[1:]) for row in journal.records(last)]
    found = [reading for reading in step if reading]
    findings.readings += len(found)
    yield found


def _ranges(
    fetch: Callable[[int, int], list[Any]], first: int, last: int, findings: Findings
) -> Iterator[list[Any]]:
    """The rows from `first` to `last`, whatever of them can be read."""
    open_: list[tuple[int, int]] = []
    start, failures = first, 0
    while start <= last or open_:
        if not open_:
            open_, start = [(start, min(last, start + ROWS_PER_STEP - 1))], start + ROWS_PER_STEP
        begin, end = open_.pop()
        try:
            rows = fetch(begin, end)
        except _UNREADABLE as error:
            failures += 1
            if failures > FAILURES_MAX:
                findings.lose(error)
                return
            if begin == end:
                findings.lose(error)
            else:
                middle = (begin + end) // 2
                open_ += [(middle + 1, end), (begin, middle)]
            continue
        if rows:
            yield rows


def _fetched(db: sqlite3.Connection, sql: str) -> list[Any]:
    return db.execute(sql).fetchall()


def _try(findings: Findings, work: Callable[..., _T], *given: Any) -> _T | None:
    try:
        return work(*given)
    except _UNREADABLE as error:
        findings.lose(error)
        return None
