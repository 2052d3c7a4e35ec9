"""Readings stamped by a clock that nobody vouched for: the table `epoch`, and their new times."""

from __future__ import annotations

from typing import NamedTuple

from agent.store import ledger
from agent.store.disk import Disk

LAST_SEQ = 2**62
EPOCHS_MAX = 1024
STAMPS_LOOKED_AT = 4096


_FORGET = """DELETE FROM epoch WHERE trusted AND first_seq <=
    (SELECT first_seq FROM epoch ORDER BY first_seq DESC LIMIT 1 OFFSET ?)"""
_NEWEST = """SELECT max(time_ms) FROM (
    SELECT time_ms FROM (SELECT time_ms FROM reading WHERE seq < ? ORDER BY seq DESC LIMIT ?)
    UNION ALL
    SELECT to_ms FROM (SELECT to_ms FROM chunk ORDER BY first_seq DESC LIMIT 1)
) WHERE time_ms <= ?"""


class Stamps(NamedTuple):
    """Of the runs before: the last believable stamp and that of the last reading, Unix ms, and since boot the
    first that is held back. None: there is none."""

    last_ms: int | None
    of_last_reading_ms: int | None
    held_since_boot_ms: int | None


class Epoch(NamedTuple):
    """Readings from `first_seq` on, stamped in this boot, `offset_ms` ahead of its time since boot."""

    first_seq: int
    boot_id: str
    offset_ms: int


async def held_epoch(disk: Disk) -> Epoch | None:
    """The one since which readings are held back; None if none are."""
    held = "SELECT first_seq, boot_id, offset_ms FROM epoch WHERE NOT trusted ORDER BY first_seq LIMIT 1"
    async with disk.transaction() as db:
        rows = list(await db.execute_fetchall(held))
    return Epoch(*rows[0]) if rows else None


async def stamps(disk: Disk, boot_id: str, until_ms: int, journal_ms: int = 0) -> Stamps:
    """What earlier runs stamped; nothing later than `until_ms` is believed, nor what is held back.

    `journal_ms`: the newest that the journal knows, also of a database that is not here any more; 0: none.
    """
    held = (
        "SELECT first_seq, offset_ms FROM epoch WHERE NOT trusted AND boot_id = ? ORDER BY first_seq LIMIT 1"
    )
    async with disk.transaction() as db:
        epochs = list(await db.execute_fetchall(held, (boot_id,)))
        first, offset_ms = epochs[0] if epochs else (LAST_SEQ, 0)
        ((last_ms,),) = await db.execute_fetchall(_NEWEST, (first, STAMPS_LOOKED_AT, until_ms))
        newest = "SELECT max(time_ms) FROM (SELECT time_ms FROM reading ORDER BY seq DESC LIMIT 1)"
        ((newest_ms,),) = await db.execute_fetchall(newest)
        ((held_ms,),) = await db.execute_fetchall("SELECT min(time_ms) FROM reading WHERE seq >= ?", (first,))
    if 0 < journal_ms <= until_ms:
        last_ms = max(last_ms or 0, journal_ms)
    return Stamps(last_ms, newest_ms, None if held_ms is None else held_ms - offset_ms)


async def begin_epoch(
    disk: Disk, first: int, boot_id: str, offset_ms: int, *, trusted: bool
) -> tuple[int | None, int]:
    """A new epoch from `first` on; the first reading held back (None: none), and what its time lacks.

    What an earlier boot left untrusted can not be known better any more: it is let go.
    """
    async with disk.transaction() as db:
        await db.execute("UPDATE epoch SET trusted = 1 WHERE boot_id <> ?", (boot_id,))
        held = "SELECT first_seq, offset_ms FROM epoch WHERE NOT trusted ORDER BY first_seq LIMIT 1"
        earlier = list(await db.execute_fetchall(held))
        # With an earlier start's readings this epoch is shifted too, to `offset_ms`.
        known_ms = earlier[0][1] if earlier and not trusted else offset_ms
        row = (first, boot_id, known_ms, trusted)
        await db.execute("INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?)", row)
        await db.execute(_FORGET, (EPOCHS_MAX,))
    if earlier:
        return earlier[0][0], offset_ms - earlier[0][1]
    return (None if trusted else first), 0


async def restamp(disk: Disk, first: int, shift_ms: int) -> None:
    """Shift the times of the readings from `first` on, and the offset of their epochs, and what the
    ledger says of them; all or nothing."""
    async with disk.transaction() as db:
        await disk.enter(await _moved_hours(disk, first, shift_ms))
        await db.execute("UPDATE reading SET time_ms = time_ms + ? WHERE seq >= ?", (shift_ms, first))
        await db.execute("UPDATE epoch SET offset_ms = offset_ms + ? WHERE NOT trusted", (shift_ms,))


async def _moved_hours(disk: Disk, first: int, shift_ms: int) -> ledger.Deltas:
    """What a shift of the readings from `first` on moves in the ledger."""
    before = await disk.counted(first, LAST_SEQ, "acquired")
    after = await disk.counted(first, LAST_SEQ, "acquired", shift_ms)
    return {key: after.get(key, 0) - before.get(key, 0) for key in before | after}


async def trust_epochs(disk: Disk) -> None:
    """Nothing is held back any more."""
    async with disk.transaction() as db:
        await db.execute("UPDATE epoch SET trusted = 1")
