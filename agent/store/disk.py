"""The log's file: all of its SQL, and nothing else. The store decides what is done when.

One connection writes, one reads, each in a thread of its own. Errors are sqlite3's.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import aiosqlite

from agent.model import Group, Quality, Reading
from agent.store import layout, ledger, outbox
from agent.store.journal import Record
from agent.store.schema import migrate

WAL_BYTES_MAX = 16 * 1024 * 1024
ROWS_PER_STEP = 500
LEDGER_HOURS_CACHED = 4
SET_COUNTER = "INSERT OR REPLACE INTO counter VALUES (?, ?)"
FORGET_HOURS = (
    "DELETE FROM ledger WHERE hour IN (SELECT hour FROM ledger ORDER BY hour DESC LIMIT -1 OFFSET ?)"
)
INSERT_READING = "INSERT INTO reading VALUES (?, ?, ?, ?, ?)"

Numbered = tuple[int, Reading]


class Kept(NamedTuple):
    """What a file holds when it is opened."""

    last_seq: int
    standings: dict[str, outbox.Standing]
    counters: dict[str, int]


class Disk:
    """The open file. RuntimeError if it belongs to a newer agent, OSError if it cannot be had."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ids: dict[Group, int] = {}
        self._groups: dict[int, Group] = {}
        self._hours: dict[int, ledger.Counts] = {}  # of the ledger, as they are on disk

    async def __aenter__(self) -> Self:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.open("ab").close()  # what is wrong with the place is said better here than by SQLite
            self._db = await aiosqlite.connect(self._file)
        except (sqlite3.Error, OSError) as error:
            raise OSError(f"{self._file}: cannot be made: {error}") from error
        try:
            await self._open()
        except sqlite3.Error as error:
            await self._db.close()
            raise OSError(
                f"{self._file}: cannot be opened: {error}; is the disk full or read-only? "
                "If the file is broken, move it aside and a new one is made"
            ) from error
        except BaseException:
            await self._db.close()
            raise
        return self

    async def _open(self) -> None:
        await self._db.execute("PRAGMA journal_mode = WAL")
        await self._db.execute("PRAGMA synchronous = FULL")
        await self._db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
        await migrate(self._db)
        self._reader = await self._open_reader()
        await self._load_groups()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.close()
        await self._db.close()

    async def _open_reader(self) -> aiosqlite.Connection:
        return await aiosqlite.connect(f"{self._file.resolve().as_uri()}?mode=ro", uri=True)

    async def _load_groups(self) -> None:
        rows = await self._db.execute_fetchall("SELECT id, device, name, layout FROM point_group")
        self._groups = {key: layout.decode(device, name, shape) for key, device, name, shape in rows}

    @property
    def ids(self) -> Mapping[Group, int]:
        """The row of each group that was written or registered in this run."""
        return self._ids

    async def register(self, groups: Iterable[Group]) -> None:
        """Give each group its row before its first reading."""
        for group in groups:
            self._ids[group] = await self._group_id(group)
        await self._db.commit()

    async def recover(self, records: Sequence[Record]) -> None:
        """Write what a journal kept, in one transaction; of groups that this file knows."""
        known = [record for record in records if record.group_id in self._groups]
        await self._db.executemany(INSERT_READING, known)
        acquired: ledger.Deltas = {}
        for record in known:
            device = self._groups[record.group_id].device.name
            key = (record.time_ms // ledger.HOUR_MS, device, "acquired")
            acquired[key] = acquired.get(key, 0) + 1
        await self._enter(acquired)
        await self._db.commit()

    async def kept(self) -> Kept:
        """Where an earlier run stopped."""
        counters = await self._db.execute_fetchall("SELECT name, count FROM counter")
        last = await self._number("SELECT max(seq) FROM sqlite_sequence WHERE name = 'reading'")
        return Kept(last, await outbox.load(self._db), dict(map(tuple, counters)))

    async def _number(self, sql: str) -> int:
        ((value,),) = await self._db.execute_fetchall(sql)
        return int(value or 0)

    async def size_bytes(self) -> int:
        """What the file holds; pages that were freed and wait for use do not count."""
        pages = await self._number("PRAGMA page_count") - await self._number("PRAGMA freelist_count")
        return pages * await self._number("PRAGMA page_size")

    # ---------------------------------------------------------------- in

    async def write(
        self,
        first: int,
        batch: Sequence[Reading],
        out: outbox.Changes,
        counters: Mapping[str, int],
        deltas: ledger.Deltas,
    ) -> None:
        """`batch`, numbered from `first` on, what the uplinks have done, counters and what the ledger has
        to add, in one transaction."""
        try:
            for group in {reading.group for reading in batch} - self._ids.keys():
                self._ids[group] = await self._group_id(group)
            await self._db.executemany(INSERT_READING, self._rows(first, batch))
            await outbox.write(self._db, out)
            await self._many(SET_COUNTER, list(counters.items()))
            await self._enter(deltas)
            await self._db.commit()
        except sqlite3.Error:
            self._ids.clear()  # those given out in the lost transaction are not on disk
            await self._roll_back()
            raise

    async def _many(self, sql: str, rows: Collection[tuple[object, ...]]) -> None:
        if rows:  # each call is a hop to the thread and back
            await self._db.executemany(sql, rows)

    async def _enter(self, deltas: ledger.Deltas) -> None:
        """Add to the ledger, in the transaction under way."""
        hours = ledger.by_hour(deltas)
        for hour, changes in sorted(hours.items()):
            if hour not in self._hours:
                found = await self._db.execute_fetchall("SELECT counts FROM ledger WHERE hour = ?", (hour,))
                self._hours[hour] = next((ledger.unpack(packed) for (packed,) in found), {})
            self._hours[hour] = ledger.merged(self._hours[hour], changes)
        rows = [(hour, ledger.pack(self._hours[hour])) for hour in hours]
        await self._many("INSERT OR REPLACE INTO ledger VALUES (?, ?)", rows)
        for hour in sorted(self._hours)[:-LEDGER_HOURS_CACHED]:
            del self._hours[hour]

    async def ledger_rows(self, first: int, end: int) -> Iterable[tuple[int, bytes]]:
        """The packed counts of each hour with `first` <= hour < `end`."""
        sql = "SELECT hour, counts FROM ledger WHERE hour >= ? AND hour < ?"
        return [(row[0], row[1]) for row in await self._reader.execute_fetchall(sql, (first, end))]

    async def forget_ledger(self, hours_max: int = ledger.HOURS_MAX) -> None:
        """Keep the newest `hours_max` hours."""
        await self._db.execute(FORGET_HOURS, (hours_max,))
        await self._db.commit()

    async def _roll_back(self) -> None:
        self._hours.clear()
        with contextlib.suppress(sqlite3.Error):
            await self._db.rollback()

    async def _group_id(self, group: Group) -> int:
        row = layout.encode(group)
        insert = "INSERT OR IGNORE INTO point_group (device, name, layout) VALUES (?, ?, ?)"
        await self._db.execute(insert, row)
        find = "SELECT id FROM point_group WHERE (device, name, layout) = (?, ?, ?)"
        ((key,),) = await self._db.execute_fetchall(find, row)
        self._groups[key] = group
        return int(key)

    def _rows(self, first: int, batch: Sequence[Reading]) -> Iterator[tuple[int, int, int, int, bytes]]:
        ids = self._ids
        for seq, (group, time_ms, values, quality) in enumerate(batch, first):
            yield seq, ids[group], time_ms, int(quality), layout.packer(len(values)).pack(*values)

    async def oldest_seq(self) -> int:
        return await self._number("SELECT min(seq) FROM reading")

    async def counted(self, first: int, last: int, account: str) -> ledger.Deltas:
        """The readings from `first` to `last`, as counts of `account`."""
        sql = "SELECT group_id, time_ms / ?, count(*) FROM reading WHERE seq BETWEEN ? AND ? GROUP BY 1, 2"
        deltas: ledger.Deltas = {}
        for group_id, hour, count in await self._db.execute_fetchall(sql, (ledger.HOUR_MS, first, last)):
            key = (hour, self._groups[group_id].device.name, account)
            deltas[key] = deltas.get(key, 0) + count
        return deltas

    async def discard(self, until: int, counters: Mapping[str, int], deltas: ledger.Deltas) -> None:
        """Forget the readings up to `until`, and remember the counters, in one transaction."""
        try:
            await self._db.execute("DELETE FROM reading WHERE seq <= ?", (until,))
            await self._many(SET_COUNTER, list(counters.items()))
            await self._enter(deltas)
            await self._db.commit()
        except sqlite3.Error:
            await self._roll_back()
            raise

    # ---------------------------------------------------------------- epochs

    async def begin_epoch(
        self, first: int, boot_id: str, offset_ms: int, *, trusted: bool
    ) -> tuple[int | None, int]:
        """A new epoch from `first` on; the first reading held back (None: none), and what its time lacks.

        What an earlier boot left untrusted can not be known better any more: it is let go.
        """
        await self._db.execute("UPDATE epoch SET trusted = 1 WHERE boot_id <> ?", (boot_id,))
        held = "SELECT first_seq, offset_ms FROM epoch WHERE NOT trusted ORDER BY first_seq LIMIT 1"
        earlier = list(await self._db.execute_fetchall(held))
        # With an earlier start's readings this epoch is shifted too, to `offset_ms`.
        known_ms = earlier[0][1] if earlier and not trusted else offset_ms
        row = (first, boot_id, known_ms, trusted)
        await self._db.execute("INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?)", row)
        await self._db.commit()
        if earlier:
            return earlier[0][0], offset_ms - earlier[0][1]
        return (None if trusted else first), 0

    async def shifted_hours(self, first: int, shift_ms: int) -> ledger.Deltas:
        """What a shift of the readings from `first` on moves in the ledger."""
        sql = (
            "SELECT group_id, time_ms / ?, (time_ms + ?) / ?, count(*) FROM reading"
            " WHERE seq >= ? GROUP BY 1, 2, 3"
        )
        given = (ledger.HOUR_MS, shift_ms, ledger.HOUR_MS, first)
        deltas: ledger.Deltas = {}
        for group_id, before, after, count in await self._db.execute_fetchall(sql, given):
            device = self._groups[group_id].device.name
            for hour, change in ((before, -count), (after, count)):
                key = (hour, device, "acquired")
                deltas[key] = deltas.get(key, 0) + change
        return deltas

    async def restamp(self, first: int, shift_ms: int) -> None:
        """Shift the times of the readings from `first` on, and the offset of their epochs, and what the
        ledger says of them; all or nothing."""
        shift = "UPDATE reading SET time_ms = time_ms + ? WHERE seq >= ?"
        offset = "UPDATE epoch SET offset_ms = offset_ms + ? WHERE NOT trusted"
        try:
            await self._enter(await self.shifted_hours(first, shift_ms))
            await self._db.execute(shift, (shift_ms, first))
            await self._db.execute(offset, (shift_ms,))
            await self._db.commit()
        except sqlite3.Error:
            await self._roll_back()
            raise

    async def trust_epochs(self) -> None:
        await self._db.execute("UPDATE epoch SET trusted = 1")
        await self._db.commit()

    # ---------------------------------------------------------------- out

    async def read(self, after: int, before: int, limit: int) -> list[Numbered]:
        """Up to `limit` readings with `after` < seq < `before`."""
        sql = (
            "SELECT seq, group_id, time_ms, quality, packed FROM reading"
            " WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?"
        )
        rows = await self._reader.execute_fetchall(sql, (after, before, limit))
        return [(row[0], self._reading(*row[1:])) for row in rows]

    def _reading(self, group_id: int, time_ms: int, quality: int, packed: bytes) -> Reading:
        return Reading(self._groups[group_id], time_ms, layout.unpack(packed), Quality(quality))

    @contextlib.asynccontextmanager
    async def history_reader(self) -> AsyncGenerator[aiosqlite.Connection, None]:
        """A connection of its own, so that a long read holds nobody up."""
        reader = await self._open_reader()
        try:
            yield reader
        finally:
            await reader.close()

    @property
    def groups(self) -> set[Group]:
        """Every group that has readings or will, of this run and of earlier ones."""
        return set(self._groups.values()) | self._ids.keys()

    async def history(
        self,
        reader: aiosqlite.Connection,
        between: tuple[int, int],
        groups: Collection[Group],
        period_ms: tuple[int, int],
    ) -> AsyncGenerator[list[Reading], None]:
        """Readings of `groups`, after < seq <= until, from <= time < to; a few at a time."""
        sql = (
            "SELECT seq, group_id, time_ms, quality, packed FROM reading"
            " WHERE seq > ? AND seq <= ? AND group_id IN (SELECT value FROM json_each(?))"
            " AND time_ms >= ? AND time_ms < ? ORDER BY seq LIMIT ?"
        )
        keys = json.dumps([key for key, group in self._groups.items() if group in groups])
        after, until = between
        while True:
            given = (after, until, keys, *period_ms, ROWS_PER_STEP)
            rows = list(await reader.execute_fetchall(sql, given))
            if rows:
                yield [self._reading(*row[1:]) for row in rows]
            if len(rows) < ROWS_PER_STEP:
                return
            after = rows[-1][0]
