"""A store that another process may be writing, seen from outside: for commands and child processes.

It never writes. What it sees is as of the last commit: a second at most behind the agent.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agent.model import Group
from agent.store.history import History
from agent.store.ledger import HOUR_MS, LedgerRow, row_of, unpack
from agent.store.news import News, news
from agent.store.readable import Readable
from agent.store.rescue import decoding
from agent.store.sealed import Sealed
from agent.store.series import groups_of


class Onlooker(Readable):
    """The readings in `file`, asked like a `Store`: `history`, `columns`, `downsample`, `span_ms`, `ledger`.

    `groups` and `points` ("device.point") are all that were ever stored; the points of one device may be in
    several groups, one for each configuration it had. Nothing is kept open between calls. OSError, also
    later: there are no readings, or they cannot be read.
    """

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file; has the agent run with this configuration?")
        groups: dict[int, Group] = {}
        self._sealed = Sealed(file, groups)
        with _readable(file), closing(self._sealed.connect()) as db, decoding():
            groups.update(groups_of(db))
        self._file, self._keyed = file, groups
        self.groups = list(groups.values())
        self.points = {name for group in self.groups for name in group.point_ids}
        self.ledger = SeenLedger(file, self._sealed)

    @property
    def _history(self) -> History:
        return History(self._sealed, _nothing, lambda seq: [], lambda error: None)

    def news(self, after: int) -> News:
        """What came after the reading numbered `after`."""
        with _readable(self._file), closing(self._sealed.connect()) as db:
            last_seq, from_ms = news(db, after)
        # A group that is younger than this onlooker is the next one's.
        return News(last_seq, {self._keyed[key]: at for key, at in from_ms.items() if key in self._keyed})

    async def span_ms(self) -> tuple[int, int] | None:
        """The times of the oldest and of the newest reading; None: there is none."""
        return await self._history.span_ms()


class SeenLedger:
    """What became of every reading, as of the last commit."""

    def __init__(self, file: Path, sealed: Sealed) -> None:
        self._file, self._sealed = file, sealed

    async def rows(self, from_ms: int, to_ms: int) -> list[LedgerRow]:
        """As `Ledger.rows`. OSError if they cannot be read."""
        return await asyncio.to_thread(self.read, from_ms, to_ms)

    def read(self, from_ms: int, to_ms: int) -> list[LedgerRow]:
        """The same, without an event loop."""
        sql = "SELECT hour, counts FROM ledger WHERE hour >= ? AND hour < ? ORDER BY hour"
        hours = (-(-from_ms // HOUR_MS), -(-to_ms // HOUR_MS))
        with _readable(self._file), closing(self._sealed.connect()) as db, decoding():
            return [
                row_of(hour, device, counts)
                for hour, packed in db.execute(sql, hours)
                for device, counts in sorted(unpack(packed).items())
            ]


async def _nothing() -> None:
    """There is nothing of ours to commit."""


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"{file}: cannot be read: {error}") from error
