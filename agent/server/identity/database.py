"""identity.db: one connection, one writer at a time, every change whole or not at all.

Another process (`uicps-agent user ...`) may write to the same file while the agent runs: `version` says
whether anything has changed, whoever did it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiosqlite

from agent.private import make_private
from agent.store.schema import migrate
from agent.supervise import to_its_end

SCHEMA = "agent.server.identity.schema"

Statement = tuple[str, Sequence[object]]


class Database:
    """Entered to open `file`. sqlite3.Error when the disk fails later on."""

    def __init__(self, file: Path, schema: str = SCHEMA) -> None:
        self._file, self._schema = file, schema
        self._writing = asyncio.Lock()
        self._writes = 0

    async def __aenter__(self) -> Self:
        """Open or make the file. OSError if it cannot be, RuntimeError if a newer agent made it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        make_private(self._file)
        self._db = await aiosqlite.connect(self._file)
        try:
            await self._db.execute("PRAGMA journal_mode = WAL")
            await self._db.execute("PRAGMA synchronous = FULL")
            await self._db.execute("PRAGMA secure_delete = ON")
            await migrate(self._db, self._schema)
        except sqlite3.Error as error:
            await self._db.close()
            raise OSError(f"{self._file}: cannot be opened: {error}") from error
        except BaseException:
            await self._db.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._db.close()

    async def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """What `sql` selects, as tuples."""
        return list(await self._db.execute_fetchall(sql, values))

    async def write(self, *statements: Statement) -> list[int]:
        """Do all of `statements` in one transaction; how many rows each of them changed."""
        counts: list[int] = []

        async def all_of_them(db: aiosqlite.Connection) -> None:
            for sql, values in statements:
                counts.append((await db.execute(sql, values)).rowcount)

        await self.transact(all_of_them)
        return counts

    async def transact(self, work: Callable[[aiosqlite.Connection], Awaitable[None]]) -> None:
        """Do `work` in one transaction, which nobody else's writing comes into."""
        async with self._writing:
            await to_its_end(self._whole(work))

    async def version(self) -> tuple[int, int]:
        """Differs from the last time if this or another process has written since."""
        ((outside,),) = await self._db.execute_fetchall("PRAGMA data_version")
        return self._writes, outside

    async def _whole(self, work: Callable[[aiosqlite.Connection], Awaitable[None]]) -> None:
        await self._db.execute("BEGIN IMMEDIATE")
        try:
            await work(self._db)
            await self._db.commit()
            self._writes += 1
        except BaseException:
            await self._db.rollback()  # or the file stays locked for everyone
            raise
