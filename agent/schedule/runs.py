"""jobs.db: what each job was last due for, its last runs, and what a person wants of it. All of its SQL.

The command line writes wishes into the same file while the agent is at work; `version` tells of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from agent.database import Database
from agent.schedule.job import Result

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
        self._database = Database(file, SCHEMA, anew="jobs begin anew")

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._database.__aexit__(kind, error, trace)

    async def cut_off(self, ended_ms: int) -> None:
        """Runs that were under way when the agent was killed are over."""
        sql = "UPDATE run SET ended_ms = max(started_ms, ?), result = ? WHERE ended_ms IS NULL"
        await self._database.write_many((sql, [(ended_ms, Result.INTERRUPTED)]))

    async def standings(self) -> dict[str, Standing]:
        """Every job that was ever here."""
        rows = await self._database.rows("SELECT name, words, last_due_ms, paused FROM job")
        return {name: Standing(words, last, bool(paused)) for name, words, last, paused in rows}

    async def last_id(self) -> int:
        """The number of the newest run."""
        ((newest,),) = await self._database.rows("SELECT coalesce(max(id), 0) FROM run")
        return int(newest)

    async def history(self, job: str = "", limit: int = 50, before: int | None = None) -> list[Run]:
        """The newest runs (of `job`) first, at most RUNS_PER_JOB_MAX; `before` a number: older than that."""
        rows = await self._database.rows(
            "SELECT * FROM run WHERE (? = '' OR job = ?) AND id < ? ORDER BY id DESC LIMIT ?",
            (job, job, 2**62 if before is None else before, min(limit, RUNS_PER_JOB_MAX)),
        )
        return [Run(*row) for row in rows]

    async def last(self, job: str) -> Run | None:
        """The newest run that was not skipped."""
        rows = await self._database.rows(
            "SELECT * FROM run WHERE job = ? AND result != ? ORDER BY id DESC LIMIT 1",
            (job, Result.SKIPPED),
        )
        return Run(*rows[0]) if rows else None

    async def keep(self, standings: dict[str, Standing], runs: Sequence[Run]) -> None:
        """Write down what has changed, and let go of the oldest runs of each job."""
        jobs = {(run.job, run.job, RUNS_PER_JOB_MAX) for run in runs}
        await self._database.write_many(
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
        _, outside = await self._database.version()
        return outside

    async def wish(self, job: str, what: str) -> None:
        """Ask the agent at work for something. OSError if too much is asked already."""
        ((waiting,),) = await self._database.rows("SELECT count(*) FROM wish")
        if waiting >= WISHES_MAX:
            raise OSError(f"{self._database.file}: {waiting} wishes wait already: is the agent at work?")
        await self._database.write_many(("INSERT INTO wish (job, what) VALUES (?, ?)", [(job, what)]))

    async def take_wishes(self) -> list[tuple[str, str]]:
        """What was asked for, oldest first, once."""
        rows = await self._database.rows("SELECT id, job, what FROM wish ORDER BY id")
        if rows:
            await self._database.write_many(("DELETE FROM wish WHERE id = ?", [(row[0],) for row in rows]))
        return [(job, what) for _, job, what in rows]
