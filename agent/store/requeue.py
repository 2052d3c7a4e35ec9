"""Readings that were delivered and are to be delivered again: from times to numbers of the log.

What is sent again is a span of the log, with whatever lies between (a centre takes equal times as the
same value). The ledger takes back that it was delivered, in the transaction that takes back the progress:
it waits again until it is delivered again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np

from agent.store import segments
from agent.store.columns import Ints
from agent.store.disk import Disk
from agent.store.ledger import HOUR_MS, Deltas, Ledger
from agent.store.outbox import Outbox
from agent.store.progress import Span
from agent.store.rescue import decoding
from agent.store.segments import Chunk
from agent.store.store import Store

APART_MAX = 20_000  # numbers further apart than this are spans of their own


async def requeue(store: Store, uplink: str, device: str, from_ms: int, to_ms: int) -> int:
    """Have `uplink` deliver what `device` read in `from_ms` <= time < `to_ms` again, as far as it is on
    disk; how many readings go again with it. OSError if the disk cannot be read."""
    await store.commit()
    try:
        return await send_again(store.disk, store.outbox, store.ledger, uplink, (device, from_ms, to_ms))
    except sqlite3.Error as error:
        raise OSError(f"store: cannot read back: {error}") from error
    finally:
        await store.commit()


async def send_again(
    disk: Disk, outbox: Outbox, ledger: Ledger, uplink: str, what: tuple[str, int, int]
) -> int:
    """See `requeue`; `what` is device, from and to."""
    spans = await asyncio.to_thread(_found, disk, *what)
    passed = [part for span in spans for part in outbox.progress(uplink).passed_of(*span)]
    counts = await asyncio.to_thread(_delivered, disk, passed, f"delivered/{uplink}")
    for span in passed:
        for name in (uplink, *outbox.under(f"{uplink}/")):  # a device that is held back has its own
            outbox.again(name, *span)
    ledger.add(counts)
    return -sum(counts.values())


def _found(disk: Disk, device: str, from_ms: int, to_ms: int) -> list[Span]:
    """The numbers of a device's readings in a period, as spans."""
    keys = [key for key, group in disk.groups.items() if group.device.name == device]
    period_ms = (from_ms, to_ms)
    marks = ",".join("?" * len(keys))
    sql = f"SELECT seq FROM reading WHERE group_id IN ({marks}) AND time_ms >= ? AND time_ms < ?"  # noqa: S608
    with closing(disk.sealed.connect()) as db, decoding():
        found = [np.array([seq for (seq,) in db.execute(sql, (*keys, *period_ms))], np.int64)]
        for chunk in _chunks(db, 0, period_ms):
            found += [block.seqs for block in segments.blocks_of(db, chunk, keys, period_ms, ())]
    return list(_spans(np.unique(np.concatenate(found))))


def _chunks(db: sqlite3.Connection, after: int, period_ms: tuple[int, int]) -> Iterator[Chunk]:
    while chunks := segments.chunks(db, after, period_ms, 1):
        yield chunks[0]
        after = chunks[0].last_seq


def _spans(seqs: Ints) -> Iterator[Span]:
    for part in np.split(seqs, np.flatnonzero(np.diff(seqs) > APART_MAX) + 1):
        if len(part):
            yield int(part[0]), int(part[-1])


def _delivered(disk: Disk, spans: Iterable[Span], account: str) -> Deltas:
    """All readings of `spans`, as so many less in `account`."""
    counts: Deltas = {}
    sql = "SELECT group_id, time_ms / ?, count(*) FROM reading WHERE seq BETWEEN ? AND ? GROUP BY 1, 2"
    with closing(disk.sealed.connect()) as db, decoding():
        for first, last in spans:
            rows = db.execute(sql, (HOUR_MS, first, last)).fetchall()
            for chunk in _chunks(db, first - 1, (-(2**62), 2**62)):
                if chunk.first_seq > last:
                    break
                for block in segments.blocks_of(db, chunk, points=()):
                    inside = (block.seqs >= first) & (block.seqs <= last)
                    rows += [(block.group_id, *hour) for hour in block.hours(inside).items()]
            for group_id, hour, count in rows:
                key = (hour, disk.device(group_id), account)
                counts[key] = counts.get(key, 0) - count
    return counts
