"""After a kill: what the journal kept comes into the log, what it had no room for is missed by count."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import aiosqlite

from agent.store import ledger
from agent.store.disk import Disk
from agent.store.journal import Journal, Record

log = logging.getLogger(__name__)

NOBODY = "?"  # in the ledger: readings of which only the number is known
LOST = (
    "store: %d readings are missing from the log: the disk did not take them, or lost them again, and the"
    " journal had no room for them when the agent was ended; what a centre had of them it has, the ledger"
    " counts all of them as given up ('killed')"
)
COUNT = "INSERT INTO counter VALUES ('discarded_unsent', ?1) ON CONFLICT DO UPDATE SET count = count + ?1"


async def recover(disk: Disk, journal: Journal) -> int:
    """Write what `journal` kept, in one transaction, of groups that the file knows; how many are missing.

    The numbers of what is missing are never given out again: an uplink may have passed them.
    """
    after = (await disk.kept()).last_seq
    records = list(journal.records(after))
    known = [record for record in records if record.group_id in disk.groups]
    last = max(journal.beyond, records[-1].seq if records else 0)
    lost = max(0, last - after - len(known)) if after or known else 0  # a new file misses nothing
    if known or lost:
        async with disk.transaction() as db:
            await db.executemany("INSERT INTO reading VALUES (?, ?, ?, ?, ?)", known)
            await db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'reading'", (last,))
            await disk.enter(_acquired(disk, known))
            if lost:
                await _count_lost(disk, db, lost)
    if known:
        log.info("store: %d readings of the last moments before a kill were saved", len(known))
    if lost:
        log.critical(LOST, lost)
    return lost


def _acquired(disk: Disk, records: Sequence[Record]) -> ledger.Deltas:
    counts: ledger.Deltas = {}
    for record in records:
        key = (record.time_ms // ledger.HOUR_MS, disk.device(record.group_id), "acquired")
        counts[key] = counts.get(key, 0) + 1
    return counts


async def _count_lost(disk: Disk, db: aiosqlite.Connection, count: int) -> None:
    """Nobody can say whose they were, nor whether they were delivered."""
    ((newest_ms,),) = await db.execute_fetchall("SELECT coalesce(max(time_ms), 0) FROM reading")
    given_up = ledger.discard_account("killed", sent=False)
    accounts = ("acquired", given_up)
    await disk.enter({(newest_ms // ledger.HOUR_MS, NOBODY, account): count for account in accounts})
    await db.execute(COUNT, (count,))
