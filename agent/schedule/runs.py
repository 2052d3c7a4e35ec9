"""jobs.db: what each job was last due for, its last runs, and what a person wants of it. All of its SQL.

The command line writes wishes into the same file while the agent is at work; `version` tells of them.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiosqlite

from agent.schedule.job import Result
from agent.store.schema import migrate
from agent.supervise import to_its_end

log = logging.getLogger(__name__)

JOBS_FILE = "jobs.db"
SCHEMA = "agent.schedule.schema"
RUNS_PER_JOB_MAX = 200
WISHES_MAX = 100
WISHES = ("run", "pause", "resume")


class Standing(NamedTuple):
    """What is kept of a job."""

    words: str
    last_due_ms: int
    paused: bool


class Run(NamedTuple):
    """One run; `ended_ms` None: under way. `progress` 0 to 1; None where something is not known."""

    id: int
    job: str
    due_ms: int
    started_ms: int
    ended_ms: int | None
    result: str
    text: str = ""
    progress: float | None = None
    cpu_s: float | None = None
    memory_mb: float | None = None


class Runs:
    """Entered to open `file`; a broken one is moved aside. OSError if there can be none, sqlite3.Error when
    the disk fails later on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._writing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except sqlite3.OperationalError as error:
            text = f"{self._file}: cannot be opened: {error}; is the disk full or read-only?"
            raise OSError(text) from error
        except sqlite3.DatabaseError as error:
            aside = self._file.with_name(f"{self._file.name}.broken-{int(time.time())}")
            log.warning("%s: %s: moved to %s, jobs begin anew", self._file, error, aside.name)
            self._file.rename(aside)
            for suffix in ("-wal", "-shm"):
                self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
            await self._open()
        return self

    async def _open(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._db = await aiosqlite.connect(self._file)
        try:
            await self._db.execute("PRAGMA journal_mode = WAL")
            await self._db.execute("PRAGMA synchronous = FULL")
            await migrate(self._db, SCHEMA)
        except BaseException:
            await self._db.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._db.close()

    async def _rows(self, sql: str, *values: object) -> list[Any]:
        return list(await self._db.execute_fetchall(sql, values))

    async def _write(self, *statements: tuple[str, Sequence[Sequence[object]]]) -> None:
        """All of it in one transaction."""
        async with self._writing:
            await to_its_end(self._whole(statements))

    async def _whole(self, statements: Sequence[tuple[str, Sequence[Sequence[object]]]]) -> None:
        await self._db.execute("BEGIN IMMEDIATE")
        try:
            for sql, rows in statements:
                await self._db.executemany(sql, rows)
            await self._db.commit()
        except BaseException:
            await self._db.rollback()
            raise

    async def cut_off(self, ended_ms: int) -> None:
        """Runs that were under way when the agent was killed are over."""
        sql = "UPDATE run SET ended_ms = max(started_ms, ?), result = ? WHERE ended_ms IS NULL"
        await self._write((sql, [(ended_ms, Result.INTERRUPTED)]))

    async def standings(self) -> dict[str, Standing]:
        """Every job that was ever here."""
        rows = await self._rows("SELECT name, words, last_due_ms, paused FROM job")
        return {name: Standing(words, last, bool(paused)) for name, words, last, paused in rows}

    async def last_id(self) -> int:
        """The number of the newest run."""
        ((newest,),) = await self._rows("SELECT coalesce(max(id), 0) FROM run")
        return int(newest)

    async def history(self, job: str = "", limit: int = 50, before: int | None = None) -> list[Run]:
        """The newest runs (of `job`) first, at most RUNS_PER_JOB_MAX; `before` a number: older than that."""
        rows = await self._rows(
            "SELECT * FROM run WHERE (? = '' OR job = ?) AND id < ? ORDER BY id DESC LIMIT ?",
            *(job, job, 2**62 if before is None else before, min(limit, RUNS_PER_JOB_MAX)),
        )
        return [Run(*row) for row in rows]

    async def last(self, job: str) -> Run | None:
        """The newest run that was not skipped."""
        rows = await self._rows(
            "SELECT * FROM run WHERE job = ? AND result != ? ORDER BY id DESC LIMIT 1", job, Result.SKIPPED
        )
        return Run(*rows[0]) if rows else None

    async def keep(self, standings: dict[str, Standing], runs: Sequence[Run]) -> None:
        """Write down what has changed, and let go of the oldest runs of each job."""
        jobs = {(run.job, run.job, RUNS_PER_JOB_MAX) for run in runs}
        await self._write(
            ("INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?)", [(n, *s) for n, s in standings.items()]),
            (f"INSERT OR REPLACE INTO run VALUES ({', '.join('?' * len(Run._fields))})", runs),  # noqa: S608
            (
                "DELETE FROM run WHERE job = ? AND id <="
                " (SELECT id FROM run WHERE job = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                list(jobs),
            ),
        )

    # ---------------------------------------------------------------- wishes

    async def version(self) -> int:
        """Another number when another process has written."""
        ((outside,),) = await self._rows("PRAGMA data_version")
        return int(outside)

    async def wish(self, job: str, what: str) -> None:
        """Ask the agent at work for something. OSError if too much is asked already."""
        ((waiting,),) = await self._rows("SELECT count(*) FROM wish")
        if waiting >= WISHES_MAX:
            raise OSError(f"{self._file}: {waiting} wishes wait already: is the agent at work?")
        await self._write(("INSERT INTO wish (job, what) VALUES (?, ?)", [(job, what)]))

    async def take_wishes(self) -> list[tuple[str, str]]:
        """What was asked for, oldest first, once."""
        rows = await self._rows("SELECT id, job, what FROM wish ORDER BY id")
        if rows:
            await self._write(("DELETE FROM wish WHERE id = ?", [(row[0],) for row in rows]))
        return [(job, what) for _, job, what in rows]
