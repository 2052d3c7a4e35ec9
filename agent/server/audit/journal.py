"""The audit log: audit.db, appended to, never changed.

Rules.
1. `note` is a plain function: it never waits and never fails. What is noted is on disk a moment later;
   `kill -9` may cost that moment.
2. While the disk refuses, WAITING_MAX entries wait; how many were lost is itself an entry.
3. The oldest go beyond a number of entries or of days (only while the clock is trusted: a wrong one
   would empty the log).
4. Each entry's SHA-256 covers the entry before it. That shows a change in the middle; it does not stop
   someone who may write the file and computes all hashes anew.
5. No password, code, key or token is ever noted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiosqlite
import orjson

from agent.database import Database
from agent.supervise import Episode, to_its_end

log = logging.getLogger(__name__)

AUDIT_FILE = "audit.db"
SCHEMA = "agent.server.audit.schema"
WAITING_MAX = 5000
BATCH_MAX = 500
TEXT_CHARS_MAX = 200
WHAT_BYTES_MAX = 4096
RETRY_S = 5.0
PAGE_MAX = 1000

_COLUMNS = "number, time_ms, kind, who, peer, what, hash"


class Entry(NamedTuple):
    """One thing that happened. `kind` is `noun.verb`, `who` a user or key, `peer` an address."""

    number: int
    time_ms: int
    kind: str
    who: str
    peer: str
    what: dict[str, Any]


class Query(NamedTuple):
    """Which entries: numbers below `before`, times in [from_ms, to_ms), `kind` as a prefix."""

    before: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    kind: str = ""
    who: str = ""


class Audit:
    """Entered to open `file` and to write. `clock` is Unix time in seconds, `certain` whether to trust it."""

    def __init__(
        self,
        file: Path,
        *,
        entries_max: int = 100_000,
        days_max: int = 365,
        clock: Callable[[], float] = time.time,
        certain: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database = Database(file, SCHEMA, anew="the audit log begins anew")
        self._entries_max, self._days_max, self._clock, self._certain = entries_max, days_max, clock, certain
        self._waiting: deque[tuple[int, str, str, str, str]] = deque()
        self._lost = 0
        self._noted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._episode = Episode(log, "audit log")

    async def __aenter__(self) -> Self:
        """Open the file. OSError if it cannot be."""
        await self._database.__aenter__()
        self._writer = asyncio.create_task(self._write(), name="audit")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        try:
            while self._waiting:
                await self._commit()
        except sqlite3.Error as fault:
            log.warning("audit log: %d entries lost at the end: %s", len(self._waiting), fault)
        await self._database.__aexit__(kind, error, trace)

    def note(self, kind: str, *, who: str = "", peer: str | None = "", **what: object) -> None:
        """File an entry. `what` is for JSON: say what was before and after where something changed."""
        if len(self._waiting) >= WAITING_MAX:
            self._lost += 1
            return
        text = _json(what)
        if len(text) > WHAT_BYTES_MAX:
            text = _json({"cut": text[: WHAT_BYTES_MAX // 2]})
        now_ms = int(self._clock() * 1000)
        self._waiting.append((now_ms, kind, _plain(who), _plain(peer or ""), text))
        self._idle.clear()
        self._noted.set()

    async def settled(self) -> None:
        """Wait until all that was noted is on disk."""
        await self._idle.wait()

    async def find(self, query: Query, limit: int = 100) -> list[Entry]:
        """The newest entries of `query`, newest first, at most PAGE_MAX."""
        terms, values = _terms(query)
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM entry WHERE {terms} ORDER BY number DESC LIMIT ?",  # noqa: S608
            (*values, min(limit, PAGE_MAX)),
        )
        return [_entry(row) for row in rows]

    async def all(self, query: Query) -> AsyncIterator[list[Entry]]:
        """All entries of `query`, newest first, a page at a time."""
        while entries := await self.find(query, PAGE_MAX):
            yield entries
            query = query._replace(before=entries[-1].number)

    async def broken_at(self) -> int | None:
        """The first entry whose hash does not follow from the one before it; None: the chain is whole."""
        ((first,),) = await self._database.rows("SELECT coalesce(min(number), 1) FROM entry")
        number, last_hash = first - 1, b""
        sql = f"SELECT {_COLUMNS} FROM entry WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608
        while rows := await self._database.rows(sql, (number, PAGE_MAX)):
            for row in rows:
                expected = _hash(last_hash, row[:6])
                if row[0] != number + 1 or (row[6] != expected and row[0] != first):
                    return int(row[0])
                number, last_hash = row[0], row[6]
        ((newest,),) = await self._database.rows("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")
        return None if newest in (number, 0) else number + 1

    # ---------------------------------------------------------------- writing

    async def _write(self) -> None:
        while True:
            await self._noted.wait()
            try:
                await to_its_end(self._commit())  # cut in half, it would be written again
                self._episode.ended()
            except sqlite3.Error as error:
                self._episode.failed(error)
                await asyncio.sleep(RETRY_S)
            if not self._waiting:
                self._noted.clear()
                self._idle.set()

    async def _commit(self) -> None:
        if self._lost:
            text = orjson.dumps({"lost": self._lost}).decode()
            self._waiting.append((int(self._clock() * 1000), "audit.overflow", "", "", text))
            self._lost = 0
        batch = [self._waiting[at] for at in range(min(BATCH_MAX, len(self._waiting)))]

        async def append(db: aiosqlite.Connection) -> None:
            await self._append(db, batch)

        await self._database.transact(append)
        for _ in batch:
            self._waiting.popleft()

    async def _append(self, db: aiosqlite.Connection, batch: list[tuple[int, str, str, str, str]]) -> None:
        newest = await db.execute_fetchall("SELECT number, hash FROM entry ORDER BY number DESC LIMIT 1")
        number, last_hash = next(iter(newest), (0, b""))
        rows = []
        for entry in batch:
            number += 1
            last_hash = _hash(last_hash, (number, *entry))
            rows.append((number, *entry, last_hash))
        await db.executemany(f"INSERT INTO entry ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608
        await db.execute("DELETE FROM entry WHERE number <= ?", (number - self._entries_max,))
        if self._certain():
            oldest_ms = int(self._clock() * 1000) - self._days_max * 86_400_000
            # From the front only: an entry of a wrong time in the middle must not open a gap.
            first_kept = "SELECT coalesce(min(number), 0) FROM entry WHERE time_ms >= ?"
            await db.execute(f"DELETE FROM entry WHERE number < ({first_kept})", (oldest_ms,))  # noqa: S608


def _json(what: dict[str, object]) -> str:
    try:
        return orjson.dumps(what, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a character, in what a stranger sent
        return orjson.dumps({"text": _plain(repr(what))}).decode()


def _plain(text: str) -> str:
    return text[:TEXT_CHARS_MAX].encode("utf-8", "replace").decode()


def _terms(query: Query) -> tuple[str, list[object]]:
    given: list[tuple[str, object]] = [
        ("number < ?", query.before),
        ("time_ms >= ?", query.from_ms),
        ("time_ms < ?", query.to_ms),
        ("substr(kind, 1, length(?1)) = ?1", query.kind or None),
        ("who = ? COLLATE NOCASE", query.who or None),
    ]
    given = [(term, value) for term, value in given if value is not None]
    terms = [term.replace("?1", "?") for term, _ in given]
    values = [value for term, value in given for _ in range(term.count("?"))]
    return " AND ".join(terms) or "1", values


def _entry(row: Any) -> Entry:
    number, time_ms, kind, who, peer, what, _ = row
    return Entry(number, time_ms, kind, who, peer, orjson.loads(what))


def _hash(before: bytes, row: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(before + orjson.dumps(list(row))).digest()
