"""A store that another process may be writing, as of its last commit: read only, for the command line."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from agent.store.disk import Disk
from agent.store.history import History, ReadingSteps
from agent.store.ledger import LedgerRow
from agent.store.ledger_file import check_there, read_ledger


class SeenLedger:
    """The ledger on disk. OSError if it cannot be read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def rows(self, from_ms: int, to_ms: int) -> list[LedgerRow]:
        """As `Ledger.rows`."""
        return await asyncio.to_thread(read_ledger, self._file, from_ms, to_ms)


class SeenStore:
    """`ledger` and `history` as those of a `Store`."""

    def __init__(self, file: Path, disk: Disk, last_seq: int) -> None:
        self.ledger = SeenLedger(file)
        self._history = History(disk, _nothing, lambda: last_seq, lambda _: [], lambda _: None)

    def history(self, points: Collection[str], from_ms: int, to_ms: int) -> ReadingSteps:
        """As `Store.history`, of what is committed."""
        return self._history.readings(set(points), (from_ms, to_ms))


async def _nothing() -> None:
    """There is nothing of ours to commit."""


@asynccontextmanager
async def look(file: Path) -> AsyncIterator[SeenStore]:
    """Look at the store of `file`. OSError if there is none, or it cannot be read."""
    check_there(file)
    disk = Disk(file)
    try:
        last_seq = await disk.look()
    except sqlite3.Error as error:
        raise OSError(f"{file}: cannot be read: {error}") from error
    try:
        yield SeenStore(file, disk, last_seq)
    finally:
        await disk.close()
