"""A small database of the agent's: one connection, one writer at a time, every change whole or not at all.

Its schema is a folder of numbered files; `PRAGMA user_version` says which of them a file has had. Another
process (`uicps-agent user ...`) may write to the same file while the agent runs: `version` tells of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiosqlite

from agent.supervise import to_its_end

log = logging.getLogger(__name__)
# At DEBUG it says the parameters of every statement: hashes of passwords, secrets of second factors.
logging.getLogger("aiosqlite").setLevel(logging.INFO)

COMPANIONS = ("-wal", "-shm", "")
ASIDE_MAX = 3  # files of a small database, moved aside for one reason, that are kept: the newest
MODE = 0o600
CACHE_KB = 128  # of SQLite's own 2 MB for each connection: what is asked often is kept by who asks

_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

Statement = tuple[str, Sequence[object]]


def is_broken(error: sqlite3.Error) -> bool:
    """Whether `error` says that the file itself is damaged; a full or read-only disk is not that."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _BROKEN or code == sqlite3.SQLITE_IOERR_SHORT_READ


def move_aside(
    file: Path,
    why: str = "broken",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    *,
    journal: bool = False,
    keep: int = ASIDE_MAX,
) -> str:
    """Rename `file` and its companions, with `journal` that too; the new name. OSError if that fails.

    Of those moved aside before for the same reason only the newest stay, `keep` with this one.
    """
    stem = f"{file.stem}.{why}-{now():%Y%m%dT%H%M%SZ}"
    aside = next(
        path
        for at in range(1000)
        if not (path := file.with_name(f"{stem}{f'-{at}' if at else ''}{file.suffix}")).exists()
    )
    moves = [(file.with_name(file.name + each), aside.with_name(aside.name + each)) for each in COMPANIONS]
    if journal:
        moves.insert(0, (file.with_suffix(".journal"), aside.with_suffix(".journal")))
    for old, new in moves:
        if old.exists():
            old.rename(new)
    _forget_old(file, why, keep)
    return aside.name


def too_new(version: int, schema: str) -> str | None:
    """Why an agent with the package `schema` cannot work with a database at `version`; None if it can."""
    if version <= (known := len(_files(schema))):
        return None
    return (
        f"the database has schema {version}, this agent knows {known}: "
        "install the newer agent again, or restore a backup made by this one"
    )


def _files(schema: str) -> list[Traversable]:
    files = (file for file in resources.files(schema).iterdir() if file.name.endswith(".sql"))
    return sorted(files, key=lambda file: file.name)


async def migrate(db: aiosqlite.Connection, schema: str) -> None:
    """Apply the files of the package `schema` that `db` has not had, in order, each whole or not at all.

    RuntimeError if the database is newer than this agent.
    """
    (version,) = next(iter(await db.execute_fetchall("PRAGMA user_version")))
    if (reason := too_new(version, schema)) is not None:
        raise RuntimeError(reason)
    for number, file in enumerate(_files(schema)[version:], version + 1):
        script = file.read_text(encoding="utf-8")
        await db.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


class Database:
    """Entered to open `file`, which only we may read. sqlite3.Error when the disk fails later on.

    `anew`: what to say when a broken file is moved aside and a new one begun; without it a broken file is an
    error, for what must not vanish. `erase`: what is deleted is overwritten.
    """

    def __init__(self, file: Path, schema: str, *, anew: str = "", erase: bool = False) -> None:
        self.file = file
        self._schema, self._anew, self._erase = schema, anew, erase
        self._writing = asyncio.Lock()
        self._writes = 0

    async def __aenter__(self) -> Self:
        """Open or make the file. OSError if it cannot be, RuntimeError if a newer agent made it."""
        try:
            await self._open()
        except sqlite3.Error as error:
            if not (self._anew and is_broken(error)):
                raise OSError(f"{self.file}: cannot be opened: {error}{_way_out(error)}") from error
            await self._begin_anew(error)
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

    async def write_many(self, *statements: tuple[str, Sequence[Sequence[object]]]) -> None:
        """Do each of `statements` for each of its rows, all in one transaction."""

        async def all_of_them(db: aiosqlite.Connection) -> None:
            for sql, rows in statements:
                await db.executemany(sql, rows)

        await self.transact(all_of_them)

    async def transact(self, work: Callable[[aiosqlite.Connection], Awaitable[None]]) -> None:
        """Do `work` in one transaction, which nobody else's writing comes into."""
        async with self._writing:
            await to_its_end(self._whole(work))

    async def version(self) -> tuple[int, int]:
        """Differs from the last time if this or another process has written since."""
        ((outside,),) = await self._db.execute_fetchall("PRAGMA data_version")
        return self._writes, outside

    async def _open(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        _make_private(self.file)
        self._db = await aiosqlite.connect(self.file)
        try:
            await self._db.execute("PRAGMA journal_mode = WAL")
            await self._db.execute("PRAGMA synchronous = FULL")
            await self._db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            await self._db.execute(f"PRAGMA secure_delete = {'ON' if self._erase else 'OFF'}")
            await migrate(self._db, self._schema)
        except BaseException:
            await self._db.close()
            raise

    async def _begin_anew(self, error: sqlite3.Error) -> None:
        aside = move_aside(self.file)
        log.critical("%s: broken (%s): moved aside as %s; %s", self.file, error, aside, self._anew)
        try:
            await self._open()
        except sqlite3.Error as again:
            raise OSError(f"{self.file}: cannot be made: {again}{_way_out(again)}") from again

    async def _whole(self, work: Callable[[aiosqlite.Connection], Awaitable[None]]) -> None:
        await self._db.execute("BEGIN IMMEDIATE")
        try:
            await work(self._db)
            await self._db.commit()
            self._writes += 1
        except BaseException:
            await self._db.rollback()  # or the file stays locked for everyone
            raise


def _way_out(error: sqlite3.Error) -> str:
    if is_broken(error):
        return "; put a backup of it in its place, or move it away to begin anew"
    return "; is the disk full or read-only?"


def _make_private(file: Path) -> None:
    """Make an empty `file` of mode 0600 if there is none. OSError if the folder forbids it."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, MODE)
    try:
        # `sudo uicps-agent user add` before the first start must not lock the service out.
        if os.geteuid() == 0:
            owner = file.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)


def _forget_old(file: Path, why: str, keep: int) -> None:
    """Let go of files moved aside beyond the newest `keep`: nothing grows for ever."""
    found = file.parent.glob(f"{file.stem}.{why}-*{file.suffix}")
    for old in sorted(found, key=lambda each: each.stat().st_ctime_ns)[:-keep]:
        log.warning("%s: deleted, of files moved aside only the newest %d are kept", old, keep)
        for each in COMPANIONS:
            old.with_name(old.name + each).unlink(missing_ok=True)
        old.with_suffix(".journal").unlink(missing_ok=True)
