"""The log: append in memory, commit every second, read from any place on.

Rules.
1. `append` is a plain call: it numbers the readings and keeps them in memory. Nothing waits for a disk.
2. `run` commits what has come, in one transaction a second at most (WAL, synchronous=FULL), together
   with the cursors: after a power cut the newest second may be missing, never a cursor ahead of its
   readings. The one writer is `run`.
3. The newest readings stay in memory, so that a reader that keeps up never touches the disk.
4. What is not committed is bounded too: a disk that refuses for long costs the oldest of it, counted.
5. Beyond `size_max_mb` the oldest readings go, and those that no uplink had sent are counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import aiosqlite

from agent.model import Group, Quality, Reading
from agent.store import layout
from agent.store.options import StoreOptions
from agent.store.schema import migrate
from agent.supervise import Episode, describe

log = logging.getLogger(__name__)

MEMORY_COMMITTED_READINGS = 4096
HISTORY_ROWS_PER_STEP = 500
TRIM_CHECK_S = 30.0
TRIM_SHARE = 0.05
WAL_BYTES_MAX = 16 * 1024 * 1024

Numbered = tuple[int, Reading]


class StoreState(NamedTuple):
    """What the store holds. `discarded_*` count readings that were given up since the file was made."""

    last_seq: int
    committed_seq: int
    file_bytes: int
    discarded_sent: int
    discarded_unsent: int
    commits: int
    failing: bool


class Store:
    """See the module. Enter it, `append` from the hub, keep `run` running, leave it last."""

    def __init__(self, file: Path, options: StoreOptions | None = None) -> None:
        self._file, self._options = file, options or StoreOptions()
        self._episode = Episode(log, f"store {file}")
        self._recent: list[Reading] = []  # the newest readings, without a gap
        self._recent_first = 1  # the seq of _recent[0]
        self._committed = 0
        self._cursors: dict[str, int] = {}
        self._cursors_kept: dict[str, int] = {}
        self._ids: dict[Group, int] = {}
        self._groups: dict[int, Group] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._discarded = {"sent": 0, "unsent": 0}
        self._file_bytes = 0
        self._commits = 0
        self._committing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open or make the file. RuntimeError if it belongs to a newer agent."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._db = await aiosqlite.connect(self._file)
        try:
            await self._db.execute("PRAGMA journal_mode = WAL")
            await self._db.execute("PRAGMA synchronous = FULL")
            await self._db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
            await migrate(self._db)
            self._reader = await self.open_reader()
            await self._load()
        except BaseException:
            await self._db.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The last commit, then close."""
        try:
            await self.commit()
        finally:
            await self._reader.close()
            await self._db.close()

    async def open_reader(self) -> aiosqlite.Connection:
        """A connection of its own for long reads; the caller closes it."""
        return await aiosqlite.connect(f"file:{self._file}?mode=ro", uri=True)

    async def _load(self) -> None:
        for key, device, name, shape in await self._db.execute_fetchall(
            "SELECT id, device, name, layout FROM point_group"
        ):
            self._groups[key] = layout.decode(device, name, shape)
        rows = await self._db.execute_fetchall("SELECT name, seq FROM cursor")
        self._cursors = {str(name): int(seq) for name, seq in rows}
        self._cursors_kept = dict(self._cursors)
        for name, count in await self._db.execute_fetchall("SELECT name, count FROM counter"):
            self._discarded[name.removeprefix("discarded_")] = count
        last = await self._number("SELECT max(seq) FROM sqlite_sequence WHERE name = 'reading'")
        self._committed = max(last, *self._cursors.values(), 0)
        self._recent_first = self._committed + 1
        await self._measure()

    async def _number(self, sql: str) -> int:
        ((value,),) = await self._db.execute_fetchall(sql)
        return int(value or 0)

    # ---------------------------------------------------------------- in

    def append(self, readings: Sequence[Reading]) -> None:
        """Number and keep `readings`; they are on disk after the next commit."""
        self._recent.extend(readings)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    @property
    def last_seq(self) -> int:
        """The number of the newest reading."""
        return self._recent_first + len(self._recent) - 1

    @property
    def state(self) -> StoreState:
        """What the store holds now."""
        return StoreState(
            self.last_seq,
            self._committed,
            self._file_bytes,
            self._discarded["sent"],
            self._discarded["unsent"],
            self._commits,
            self._episode.failures > 0,
        )

    async def run(self) -> None:
        """Commit for ever; keep the file within its bounds."""
        loop = asyncio.get_running_loop()
        trim_due_s = loop.time()
        while True:
            await asyncio.sleep(self._options.commit_interval_s)
            await self.commit()
            if loop.time() >= trim_due_s:
                trim_due_s = loop.time() + TRIM_CHECK_S
                await self._trim()

    async def commit(self) -> None:
        """Bring to disk what has come. A disk that refuses is said once; the readings stay in memory."""
        async with self._committing:
            first, last = self._committed + 1, self.last_seq
            cursors = dict(self._cursors)
            batch = self._recent[first - self._recent_first :]
            if not batch and cursors == self._cursors_kept:
                return
            try:
                await self._write(first, batch, cursors)
            except sqlite3.Error as error:
                self._episode.failed(f"cannot commit {len(batch)} readings, keeping them in memory: {error}")
                await self._rolled_back()
            else:
                self._committed, self._cursors_kept = last, cursors
                self._commits += 1
                self._episode.ended()
            self._forget()

    async def _write(self, first: int, batch: Sequence[Reading], cursors: dict[str, int]) -> None:
        for group in {reading.group for reading in batch} - self._ids.keys():
            self._ids[group] = await self._group_id(group)
        await self._db.executemany("INSERT INTO reading VALUES (?, ?, ?, ?, ?)", self._rows(first, batch))
        changed = [item for item in cursors.items() if self._cursors_kept.get(item[0]) != item[1]]
        await self._db.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?)", changed)
        await self._db.commit()

    async def _group_id(self, group: Group) -> int:
        row = layout.encode(group)
        await self._db.execute(
            "INSERT OR IGNORE INTO point_group (device, name, layout) VALUES (?, ?, ?)", row
        )
        ((key,),) = await self._db.execute_fetchall(
            "SELECT id FROM point_group WHERE (device, name, layout) = (?, ?, ?)", row
        )
        self._groups[key] = group
        return int(key)

    def _rows(self, first: int, batch: Iterable[Reading]) -> Iterator[tuple[int, int, int, int, bytes]]:
        ids = self._ids
        for seq, (group, time_ms, values, quality) in enumerate(batch, first):
            yield seq, ids[group], time_ms, int(quality), layout.packer(len(values)).pack(*values)

    async def _rolled_back(self) -> None:
        # Ids given out inside the lost transaction are not on disk.
        self._ids.clear()
        try:
            await self._db.rollback()
        except sqlite3.Error as error:
            log.debug("store: rollback: %s", describe(error))

    def _forget(self) -> None:
        """Let go of what is on disk and no longer new, and of what memory cannot hold."""
        surplus = self._committed - self._recent_first + 1 - MEMORY_COMMITTED_READINGS
        uncommitted = self.last_seq - self._committed
        if uncommitted > self._options.memory_readings_max:
            lost = uncommitted - self._options.memory_readings_max
            delivered = min(self._cursors.values(), default=0)
            unsent = max(0, self._committed + lost - max(delivered, self._committed))
            self._discarded["unsent"] += unsent
            self._discarded["sent"] += lost - unsent
            self._committed += lost
            surplus = self._committed - self._recent_first + 1
        self._forget_until(self._recent_first + surplus - 1)

    def _forget_until(self, seq: int) -> None:
        surplus = seq - self._recent_first + 1
        if surplus > 0:
            del self._recent[:surplus]
            self._recent_first += surplus

    # ---------------------------------------------------------------- bounds

    async def _measure(self) -> None:
        pages = await self._number("PRAGMA page_count") - await self._number("PRAGMA freelist_count")
        self._file_bytes = pages * await self._number("PRAGMA page_size")

    async def _trim(self) -> None:
        """Discard the oldest readings while the file is over its limit."""
        async with self._committing:
            try:
                await self._measure()
                if self._file_bytes > self._options.size_max_mb * 1_000_000:
                    await self._discard_oldest()
                    await self._measure()
            except sqlite3.Error as error:
                self._episode.failed(f"cannot keep within {self._options.size_max_mb} MB: {error}")
                await self._rolled_back()

    async def _discard_oldest(self) -> None:
        first = await self._number("SELECT min(seq) FROM reading")
        until = first + int((self._committed - first) * TRIM_SHARE)
        delivered = min(self._cursors.values(), default=self._committed)
        unsent = max(0, until - max(delivered, first - 1))
        self._discarded["unsent"] += unsent
        self._discarded["sent"] += until - first + 1 - unsent
        await self._db.execute("DELETE FROM reading WHERE seq <= ?", (until,))
        await self._db.executemany(
            "INSERT OR REPLACE INTO counter VALUES (?, ?)",
            [(f"discarded_{name}", count) for name, count in self._discarded.items()],
        )
        await self._db.commit()
        self._forget_until(until)
        level = logging.WARNING if unsent else logging.INFO
        log.log(
            level,
            "store: over %d MB, discarded the oldest %d readings, %d of them never delivered",
            self._options.size_max_mb,
            until - first + 1,
            unsent,
        )

    # ---------------------------------------------------------------- out

    def cursor(self, name: str) -> int:
        """The last `seq` that uplink `name` has delivered; a new uplink starts at the oldest reading."""
        return self._cursors.setdefault(name, 0)

    def delivered(self, name: str, seq: int) -> None:
        """Uplink `name` has delivered everything up to `seq`; kept with the next commit."""
        self._cursors[name] = seq

    def backlog(self, name: str) -> int:
        """How many readings uplink `name` has yet to deliver (those discarded since count as done)."""
        return self.last_seq - self._cursors.get(name, 0)

    async def wait_beyond(self, seq: int) -> None:
        """Return once there is a reading newer than `seq`."""
        while self.last_seq <= seq:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    async def read_after(self, seq: int, limit: int) -> list[Numbered]:
        """Up to `limit` readings that follow `seq`, oldest first, each with its number.

        OSError if they are on a disk that cannot be read.
        """
        if seq + 1 < self._recent_first:
            rows = await self._from_disk(seq, limit)
            if rows:
                return rows
        start = max(seq + 1, self._recent_first)
        at = start - self._recent_first
        return list(enumerate(self._recent[at : at + limit], start))

    async def _from_disk(self, seq: int, limit: int) -> list[Numbered]:
        sql = (
            "SELECT seq, group_id, time_ms, quality, packed FROM reading"
            " WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?"
        )
        try:
            rows = await self._reader.execute_fetchall(sql, (seq, self._recent_first, limit))
        except sqlite3.Error as error:
            raise OSError(f"store: cannot read back: {error}") from error
        return [(row[0], self._reading(*row[1:])) for row in rows]

    def _reading(self, group_id: int, time_ms: int, quality: int, packed: bytes) -> Reading:
        return Reading(self._groups[group_id], time_ms, layout.unpack(packed), Quality(quality))

    # ---------------------------------------------------------------- history

    async def history(
        self, points: Collection[str], from_ms: int, to_ms: int
    ) -> AsyncGenerator[list[Reading], None]:
        """Readings of the groups that hold any of `points` ("device.point"), `from_ms` <= time < `to_ms`.

        In the order they came (a module's late readings come late), in steps of bounded size; the
        newest, not yet committed ones last. OSError if the disk cannot be read.
        """
        wanted = set(points)
        await self.commit()
        try:
            reader = await self.open_reader()
            try:
                seq = 0
                # What is committed while we read may leave memory before we come to it: read on.
                while seq + 1 < self._recent_first:
                    until = self._committed
                    async for rows in _rows_between(reader, seq, until, self._keys(wanted), (from_ms, to_ms)):
                        yield [self._reading(*row[1:]) for row in rows]
                    seq = until
            finally:
                await reader.close()
        except sqlite3.Error as error:
            raise OSError(f"store: cannot read history: {error}") from error
        newest = [
            reading
            for reading in self._recent[seq + 1 - self._recent_first :]
            if from_ms <= reading.time_ms < to_ms and wanted & set(reading.group.point_ids)
        ]
        for at in range(0, len(newest), HISTORY_ROWS_PER_STEP):
            yield newest[at : at + HISTORY_ROWS_PER_STEP]

    def _keys(self, points: Collection[str]) -> str:
        """The ids of the groups that hold any of `points`, as JSON."""
        return json.dumps([key for key, group in self._groups.items() if set(points) & set(group.point_ids)])


async def _rows_between(
    reader: aiosqlite.Connection, seq: int, until: int, keys: str, period_ms: tuple[int, int]
) -> AsyncIterator[list[sqlite3.Row]]:
    sql = (
        "SELECT seq, group_id, time_ms, quality, packed FROM reading"
        " WHERE seq > ? AND seq <= ? AND group_id IN (SELECT value FROM json_each(?))"
        " AND time_ms >= ? AND time_ms < ? ORDER BY seq LIMIT ?"
    )
    while True:
        given = (seq, until, keys, *period_ms, HISTORY_ROWS_PER_STEP)
        rows = list(await reader.execute_fetchall(sql, given))
        if rows:
            yield rows
        if len(rows) < HISTORY_ROWS_PER_STEP:
            return
        seq = rows[-1][0]
