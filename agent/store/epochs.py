"""Readings stamped by a clock that nobody vouched for: the table `epoch`, and their new times."""

from __future__ import annotations

from agent.store import ledger
from agent.store.disk import Disk

LAST_SEQ = 2**62


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
