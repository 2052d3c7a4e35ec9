"""Readings that were delivered and are to be delivered again: from times to numbers of the log.

What is sent again is a span of the log, with whatever lies between (a centre takes equal times as the
same value). The ledger takes back that it was delivered, in the transaction that takes back the progress:
it waits again until it is delivered again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

from agent.store.chunk_table import EVER, Chunk, chunks
from agent.store.disk import Disk
from agent.store.ledger import HOUR_MS, Deltas, Ledger
from agent.store.moment import Period
from agent.store.outbox import Outbox
from agent.store.progress import Span
from agent.store.read_only import one_moment
from agent.store.rescue import decoding
from agent.store.store import Store

CHUNKS_MAX = 100_000
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
    spans = await _found(disk, *what)
    passed = [part for span in spans for part in outbox.progress(uplink).passed_of(*span)]
    counts = await _delivered(disk, passed, f"delivered/{uplink}")
    for span in passed:
        for name in (uplink, *outbox.under(f"{uplink}/")):  # a device that is held back has its own
            outbox.again(name, *span)
    ledger.add(counts)
    return -sum(counts.values())


async def _found(disk: Disk, device: str, from_ms: int, to_ms: int) -> list[Span]:
    """The numbers of a device's readings in a period, as spans."""
    keys = [key for key, group in disk.groups.items() if group.device.name == device]
    period_ms = (from_ms, to_ms)
    marks = ",".join("?" * len(keys))
    sql = f"SELECT seq, seq FROM reading WHERE group_id IN ({marks}) AND time_ms >= ? AND time_ms < ?"  # noqa: S608
    found, chunks = await asyncio.to_thread(_looked, disk, sql, (*keys, *period_ms), 0, period_ms)
    for chunk in chunks:
        found += await disk.sealed.reader("worker:numbers", chunk, keys, period_ms, APART_MAX)
    return list(_spans(sorted(found)))


def _looked(
    disk: Disk, sql: str, given: Sequence[object], after: int, period_ms: Period
) -> tuple[list[Any], list[Chunk]]:
    """What `sql` says of the log, and the chunks that hold the rest, as of one moment."""
    with closing(disk.sealed.connect()) as db, decoding(), one_moment(db):
        return db.execute(sql, given).fetchall(), chunks(db, after, period_ms, CHUNKS_MAX)


def _spans(parts: Iterable[Span]) -> Iterator[Span]:
    """`parts`, in order; those near to each other as one."""
    begun: Span | None = None
    for first, last in parts:
        if begun is None or first - begun[1] > APART_MAX:
            if begun is not None:
                yield begun
            begun = (first, last)
        begun = (begun[0], max(begun[1], last))
    if begun is not None:
        yield begun


async def _delivered(disk: Disk, spans: Iterable[Span], account: str) -> Deltas:
    """All readings of `spans`, as so many less in `account`."""
    counts: Deltas = {}
    sql = "SELECT group_id, time_ms / ?, count(*) FROM reading WHERE seq BETWEEN ? AND ? GROUP BY 1, 2"
    for span in spans:
        rows, found = await asyncio.to_thread(_looked, disk, sql, (HOUR_MS, *span), span[0] - 1, EVER)
        for chunk in found:
            if chunk.first_seq <= span[1]:
                held = await disk.sealed.reader("worker:counted", chunk, [span])
                rows += [
                    (group_id, hour, count) for (group_id, hour, within), count in held.items() if within
                ]
        for group_id, hour, count in rows:
            key = (hour, disk.device(group_id), account)
            counts[key] = counts.get(key, 0) - count
    return counts
