"""The log's file: all of its SQL, and nothing else. The store decides what is done when.

One connection writes, one reads, each in a thread of its own. Errors are sqlite3's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import aiosqlite

from agent.database import is_broken, migrate, move_aside
from agent.model import Group, Quality, Reading
from agent.store import chunk_table, layout, ledger, log_table, outbox
from agent.store.aside import Aside
from agent.store.checkpoint import WriteAheadLog
from agent.store.chunk_table import Chunk, Encoded, Whole
from agent.store.journal import hand_on
from agent.store.ledger_table import LedgerTable
from agent.store.read_only import CACHE_KB
from agent.store.rescue import WAY_OUT, decoding
from agent.store.room import room_of
from agent.store.sealed import Numbered, Sealed
from agent.store.writer import Writer

log = logging.getLogger(__name__)

CHECKPOINT_SHARE = 2 / 3
SCHEMA = "agent.store.schema"
ASIDE_MAX = (
    20  # broken files that are kept: what they hold may not be delivered, so only a dying card fills this
)
PAGE_BYTES = 1024  # a commit rewrites a few pages that it does not fill: small ones wear the card less
WRITER_CACHE_KB = 512  # a quarter of SQLite's own, and no slower (bench/store_bench.py)
PACKER_IDLE_S, PACKER_NICE = 2.0, 5  # one child for all that is due; the readings come first
PAGES = "SELECT * FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
_PACKED = itemgetter(4)
SET_COUNTER = "INSERT OR REPLACE INTO counter VALUES (?, ?)"
# The ids of a chunk's segments follow each other.
DELETE_COLUMNS = (
    "DELETE FROM segment_column WHERE id >= (SELECT min(id) FROM segment WHERE chunk = ?1) * 65536"
    " AND id < (SELECT max(id) + 1 FROM segment WHERE chunk = ?1) * 65536"
)


class Kept(NamedTuple):
    """What a file holds when it is opened."""

    last_seq: int
    standings: dict[str, outbox.Standing]
    counters: dict[str, int]


class Disk:
    """The open file. RuntimeError if it belongs to a newer agent, OSError if it cannot be had."""

    def __init__(self, file: Path, size_max_mb: int) -> None:
        self._file, self.room = file, room_of(size_max_mb)
        self._ids: dict[Group, int] = {}
        self._groups: dict[int, Group] = {}
        self._wal = WriteAheadLog(file)
        self._ledger = LedgerTable()
        self.log_readings = self.log_bytes = 0  # in the log; what was sealed is not in it
        self.moved_aside = ""
        self._is_open = False
        self.sealed = Sealed(file, self._groups)
        self.packer = Aside(file, PACKER_IDLE_S, PACKER_NICE)

    async def __aenter__(self) -> Self:
        """A broken file is moved aside, and a new one is made."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.open("ab").close()  # what is wrong with the place is said better here than by SQLite
            await self._open()
        except sqlite3.Error as error:
            if not is_broken(error):
                raise OSError(
                    f"{self._file}: cannot be opened: {error}; is the disk full or read-only?"
                ) from error
            self.moved_aside = await asyncio.to_thread(move_aside, self._file, journal=True, keep=ASIDE_MAX)
            aside = self._file.with_name(self.moved_aside).with_suffix(".journal")
            hand_on(aside, self._file.with_suffix(".journal"))
            text = "store: %s was broken (%s): moved aside as %s, a new one is made; %s"
            log.critical(text, self._file, error, self.moved_aside, WAY_OUT)
            await self._open()
        except OSError as error:
            raise OSError(f"{self._file}: cannot be made: {error}") from error
        return self

    async def start_over(self, last_seq: int) -> str:
        """Move the broken file aside and go on in a new one, after the number `last_seq`; the broken one's
        new name, "" if an earlier attempt had moved it."""
        known = dict(self._ids)
        if self._is_open:
            await self.close()
        aside = await asyncio.to_thread(move_aside, self._file, keep=ASIDE_MAX) if self._file.exists() else ""
        self._ids.clear()
        self._groups.clear()
        self._ledger.forget_cache()
        await self._open()
        self.moved_aside = aside or self.moved_aside
        async with self.transaction() as db:
            for group, key in known.items():  # the same ids: the journal has them too
                await db.execute("INSERT INTO point_group VALUES (?, ?, ?, ?)", (key, *layout.encode(group)))
                self._ids[group], self._groups[key] = key, group
            await db.execute("INSERT INTO sqlite_sequence VALUES ('reading', ?)", (last_seq,))
        return aside

    async def _open(self) -> None:
        """Both connections, or none."""
        async with contextlib.AsyncExitStack() as stack:
            self._writer = Writer(lambda: sqlite3.connect(self._file), iter_chunk_size=64)
            self._db = await self._writer
            stack.push_async_callback(self._db.close)
            await self._prepare()
            self._reader = await aiosqlite.connect(f"{self._file.resolve().as_uri()}?mode=ro", uri=True)
            await self._reader.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            stack.push_async_callback(self._reader.close)
            await self._load_groups()
            await self.measure_log()
            await asyncio.to_thread(self.sealed.open)
            stack.pop_all()
        self._is_open = True

    async def _prepare(self) -> None:
        await self._db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; an old one keeps its own
        await self._db.execute("PRAGMA journal_mode = WAL")
        await self._db.execute("PRAGMA synchronous = FULL")
        await self._db.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KB}")
        await self._db.execute(f"PRAGMA journal_size_limit = {self.room.wal_bytes}")
        # Debian's SQLite overwrites what it deletes: twice the writes for nothing.
        await self._db.execute("PRAGMA secure_delete = OFF")
        page_bytes = await self._number("PRAGMA page_size")
        await self._db.execute(f"PRAGMA wal_autocheckpoint = {self.room.wal_bytes // page_bytes}")
        await migrate(self._db, SCHEMA)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            await self.close()

    async def close(self) -> None:
        """Let go of the file."""
        self._is_open = False
        await self.sealed.close()
        await self.packer.close()
        await self._reader.close()
        await self._db.close()
        self._wal.close()

    async def _load_groups(self) -> None:
        rows = await self._db.execute_fetchall("SELECT id, device, name, layout FROM point_group")
        self._groups.clear()
        with decoding():
            self._groups.update((key, layout.decode(*described)) for key, *described in rows)

    @property
    def ids(self) -> Mapping[Group, int]:
        """The row of each group that was written or registered in this run."""
        return self._ids

    @property
    def groups(self) -> Mapping[int, Group]:
        """Each group that the file knows, by its row."""
        return self._groups

    async def register(self, groups: Iterable[Group]) -> None:
        """Give each group its row before its first reading."""
        new = [group for group in groups if group not in self._ids]
        try:
            async with self.transaction():
                for group in new:
                    self._ids[group] = await self._group_id(group)
        except sqlite3.Error:
            self._unlearn(new)
            raise

    def _unlearn(self, groups: Iterable[Group]) -> None:
        """What was given out in a lost transaction is not on disk."""
        for group in groups:
            self._ids.pop(group, None)

    async def kept(self) -> Kept:
        """Where an earlier run stopped."""
        counters = await self._db.execute_fetchall("SELECT name, count FROM counter")
        last = await self._number("SELECT max(seq) FROM sqlite_sequence WHERE name = 'reading'")
        return Kept(last, await outbox.load(self._db), dict(map(tuple, counters)))

    async def _number(self, sql: str) -> int:
        ((value,),) = await self._db.execute_fetchall(sql)
        return int(value or 0)

    def _check_open(self) -> None:
        if not self._is_open:
            raise sqlite3.OperationalError("no new file could be made yet")

    async def checkpoint(self) -> None:
        """Bring a long write-ahead log into the file, beside the commits."""
        if self._is_open:
            await asyncio.to_thread(self._wal.checkpoint, int(self.room.wal_bytes * CHECKPOINT_SHARE))

    async def sizes_bytes(self) -> tuple[int, int]:
        """What the file holds (pages that were freed and wait for use do not count), and how large it is."""
        ((pages, free, page_bytes),) = await self._db.execute_fetchall(PAGES)
        return (pages - free) * page_bytes, pages * page_bytes

    # ---------------------------------------------------------------- in

    async def write(
        self,
        first: int,
        batch: Sequence[Reading],
        out: outbox.Changes,
        counters: Mapping[str, int],
        deltas: ledger.Deltas,
        *,
        packed: Sequence[bytes] = (),
    ) -> None:
        """`batch`, numbered from `first` on (`packed`: the values of the first of it), what the uplinks have
        done, counters and what the ledger has to add, in one transaction."""
        new = {reading.group for reading in batch} - self._ids.keys()
        try:
            async with self.transaction(commits_itself=True):
                for group in new:
                    self._ids[group] = await self._group_id(group)
                rows = log_table.rows_of(first, batch, self._ids, packed)
                await self._writer.whole(self._write, rows, out, counters, deltas)
        except sqlite3.Error:
            self._unlearn(new)
            raise
        self.log_readings += len(batch)
        self.log_bytes += sum(map(len, map(_PACKED, rows)))

    def _write(
        self,
        db: sqlite3.Connection,
        rows: Sequence[log_table.Row],
        out: outbox.Changes,
        counters: Mapping[str, int],
        deltas: ledger.Deltas,
    ) -> None:
        """All of a commit at once."""
        log_table.insert(db, "reading", rows)
        outbox.write(db, out)
        if counters:
            db.executemany(SET_COUNTER, counters.items())
        self._ledger.enter(db, deltas)
        db.commit()

    @contextlib.asynccontextmanager
    async def transaction(
        self, *, commits_itself: bool = False
    ) -> AsyncGenerator[aiosqlite.Connection, None]:
        """What is done inside is on disk whole, or not at all and the sqlite3.Error goes on."""
        self._check_open()
        try:
            yield self._db
            if not commits_itself:
                await self._db.commit()
        except sqlite3.Error:
            self._ledger.forget_cache()
            with contextlib.suppress(sqlite3.Error):
                await self._db.rollback()
            raise

    async def enter(self, deltas: ledger.Deltas) -> None:
        """Add to the ledger, in the transaction under way."""
        await self._writer.whole(self._ledger.enter, deltas)

    async def ledger_rows(self, first: int, end: int) -> Iterable[tuple[int, bytes]]:
        """The packed counts of each hour with `first` <= hour < `end`."""
        self._check_open()
        return await self._ledger.rows(self._reader, first, end)

    async def forget_ledger(self, hours_max: int = ledger.HOURS_MAX) -> None:
        """Keep the newest `hours_max` hours."""
        async with self.transaction() as db:
            await self._ledger.forget(db, hours_max)

    async def _group_id(self, group: Group) -> int:
        row = layout.encode(group)
        insert = "INSERT OR IGNORE INTO point_group (device, name, layout) VALUES (?, ?, ?)"
        await self._db.execute(insert, row)
        find = "SELECT id FROM point_group WHERE (device, name, layout) = (?, ?, ?)"
        ((key,),) = await self._db.execute_fetchall(find, row)
        self._groups[key] = group
        return int(key)

    async def oldest_seq(self) -> int:
        return await self._number("SELECT min(seq) FROM reading")

    async def newest_seq(self) -> int:
        return await self._number("SELECT max(seq) FROM reading")

    async def counted(self, first: int, last: int, account: str, shift_ms: int = 0) -> ledger.Deltas:
        """The readings of the log from `first` to `last`, their times shifted, as counts of `account`."""
        hour = "(time_ms + ?) / ?"
        sql = f"SELECT group_id, {hour}, count(*) FROM reading WHERE seq BETWEEN ? AND ? GROUP BY 1, 2"  # noqa: S608
        given = (shift_ms, ledger.HOUR_MS, first, last)
        deltas: ledger.Deltas = {}
        for group_id, hour, count in await self._db.execute_fetchall(sql, given):
            key = (hour, self.device(group_id), account)
            deltas[key] = deltas.get(key, 0) + count
        return deltas

    def device(self, group_id: int) -> str:
        """Whose readings the rows of `group_id` are."""
        return self._groups[group_id].device.name

    async def discard(self, until: int, counters: Mapping[str, int], deltas: ledger.Deltas) -> None:
        """Forget the log up to `until`, and remember what that cost, in one transaction."""
        async with self.transaction() as db:
            await db.execute("DELETE FROM reading WHERE seq <= ?", (until,))
            await self.remember(counters, deltas)
        await self.measure_log()

    async def seal(self, chunk: Chunk, encoded: Sequence[Encoded]) -> None:
        """Take `chunk` out of the log, in one transaction."""
        async with self.transaction() as db:
            # First, so that what is written takes the room that is freed.
            between = (chunk.first_seq, chunk.last_seq)
            await db.execute("DELETE FROM reading WHERE seq BETWEEN ? AND ?", between)
            await self._insert(chunk, encoded)
        await self.measure_log()

    async def _insert(self, chunk: Chunk, encoded: Sequence[Encoded]) -> None:
        first_id = await self._number("SELECT max(id) FROM segment") + 1
        await self._db.execute("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)", chunk)
        rows = list(chunk_table.segment_rows(chunk, encoded, first_id))
        await self._writer.whole(log_table.insert, "segment", rows)
        columns = list(chunk_table.column_rows(encoded, first_id))
        await self._writer.whole(log_table.insert, "segment_column", columns)

    async def replace(
        self,
        chunk: Chunk,
        by: Whole | None,
        counters: Mapping[str, int],
        deltas: ledger.Deltas,
    ) -> None:
        """Give up `chunk`, or have less of it, and remember what that cost, in one transaction."""
        async with self.transaction() as db:
            await db.execute(DELETE_COLUMNS, (chunk.first_seq,))
            await db.execute("DELETE FROM segment WHERE chunk = ?", (chunk.first_seq,))
            await db.execute("DELETE FROM chunk WHERE first_seq = ?", (chunk.first_seq,))
            if by is not None:
                await self._insert(*by)
            await self.remember(counters, deltas)

    async def remember(self, counters: Mapping[str, int], deltas: ledger.Deltas) -> None:
        """Counters and ledger, in the transaction under way."""
        await self._db.executemany(SET_COUNTER, list(counters.items()))
        await self.enter(deltas)

    async def measure_log(self) -> None:
        """How much waits to be sealed."""
        sql = "SELECT count(*), coalesce(sum(length(packed)), 0) FROM reading"
        ((self.log_readings, self.log_bytes),) = await self._db.execute_fetchall(sql)

    # ---------------------------------------------------------------- out

    async def read(self, after: int, before: int, limit: int) -> list[Numbered]:
        """Up to `limit` readings with `after` < seq < `before`, from the log or what was sealed of it."""
        sql = (
            "SELECT seq, group_id, time_ms, quality, packed FROM reading"
            " WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?"
        )
        rows = list(await self._reader.execute_fetchall(sql, (after, before, limit)))
        # Rows only move from the log to what is sealed: what we did not see there is here by now.
        sealed = await self.sealed.read(after, rows[0][0] if rows else before, limit)
        return [(row[0], self.reading(*row[1:])) for row in sealed or rows]

    def reading(self, group_id: int, time_ms: int, quality: int, packed: bytes) -> Reading:
        """A row of the log."""
        with decoding():
            return Reading(self._groups[group_id], time_ms, layout.unpack(packed), Quality(quality))
