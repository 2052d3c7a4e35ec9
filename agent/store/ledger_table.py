"""The ledger's table: its SQL. The newest hours stay in memory, since every commit adds to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import aiosqlite

from agent.store.ledger import Counts, Deltas, add_to, by_hour, pack, unpack

HOURS_CACHED = 4


class LedgerTable:
    """What is done in a transaction that fails must be followed by `forget_cache`."""

    def __init__(self) -> None:
        self._hours: dict[int, Counts] = {}  # as they are on disk

    def forget_cache(self) -> None:
        """Look at the disk again."""
        self._hours.clear()

    def enter(self, db: sqlite3.Connection, deltas: Deltas) -> None:
        """Add `deltas`, in the transaction under way."""
        if not deltas:
            return
        hours = by_hour(deltas)
        for hour, changes in hours.items():
            if hour not in self._hours:
                found = db.execute("SELECT counts FROM ledger WHERE hour = ?", (hour,)).fetchall()
                self._hours[hour] = next((unpack(packed) for (packed,) in found), {})
            add_to(self._hours[hour], changes)
        rows = [(hour, pack(self._hours[hour])) for hour in hours]
        db.executemany("INSERT OR REPLACE INTO ledger VALUES (?, ?)", rows)
        for hour in sorted(self._hours)[:-HOURS_CACHED]:
            del self._hours[hour]

    async def rows(self, db: aiosqlite.Connection, first: int, end: int) -> Iterable[tuple[int, bytes]]:
        """The packed counts of each hour with `first` <= hour < `end`."""
        sql = "SELECT hour, counts FROM ledger WHERE hour >= ? AND hour < ?"
        return [(row[0], row[1]) for row in await db.execute_fetchall(sql, (first, end))]

    async def forget(self, db: aiosqlite.Connection, hours_max: int) -> None:
        """Keep the newest `hours_max` hours."""
        surplus = "SELECT hour FROM ledger ORDER BY hour DESC LIMIT -1 OFFSET ?"
        sql = f"DELETE FROM ledger WHERE hour IN ({surplus})"  # noqa: S608 - nothing from outside
        await db.execute(sql, (hours_max,))
        self.forget_cache()
