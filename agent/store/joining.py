"""The readings of a file brought into a store that is at work: numbered anew, with what became of each.

Doing it again does no harm: what the target has already is neither added nor counted twice. Only what is
counted of readings that the file has no more comes at the end, in one commit.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agent.model import Reading
from agent.store import ledger
from agent.store.epochs import Epoch, held_epoch
from agent.store.options import StoreOptions
from agent.store.outbox import Outbox
from agent.store.progress import Span
from agent.store.sealed import Numbered
from agent.store.store import Store

READINGS_PER_STEP = 2000  # live readings are taken and committed between two steps
Spans = Mapping[str, Sequence[Span]]


async def join(source: Path, target: Store, options: StoreOptions) -> int:
    """Add the readings of the file `source`, which is not open, to `target`; how many were new.

    What `source` holds back of this boot is dated like what `target` stamps, and held back with it. OSError
    if the target takes no more; `source` stays as it is, so that it can be tried again.
    """
    try:
        async with Store(source, options) as old:
            return await _join(old, target, begun=_mark(source.with_suffix(".joining")))
    except sqlite3.Error as error:
        raise OSError(f"the readings of {source} cannot be added: {error}") from error


def _mark(mark: Path) -> bool:
    """Whether `mark` was there; it is now."""
    there = mark.exists()
    mark.touch()
    return there


async def _join(old: Store, new: Store, *, begun: bool) -> int:
    """Only if it was `begun` before, the target may have some of it: looking takes longest."""
    added, seq, in_log = 0, 0, Counter[ledger.Key]()
    held = await held_epoch(old.disk)
    done = _delivered(old.outbox, old.last_seq)
    while step := await old.read_after(seq, READINGS_PER_STEP):
        seq = step[-1][0]
        in_log.update(_accounts(step, done))
        fresh = await _unknown_of(new, step) if begun else step
        await _add(new, fresh, done, held)
        added += len(fresh)
        await new.upkeep.once()
    new.ledger.add(_of_gone(await _counted(old), in_log))
    new.discarded_elsewhere(old.state)
    await _commit(new)
    return added


def _accounts(step: Sequence[Numbered], done: Spans) -> Iterator[ledger.Key]:
    """How a ledger counts `step`, of which `done` was delivered."""
    for _, reading in step:
        yield reading.time_ms // ledger.HOUR_MS, reading.group.device.name, "acquired"
    for name, spans in done.items():
        for reading in _within(step, spans):
            yield reading.time_ms // ledger.HOUR_MS, reading.group.device.name, f"delivered/{name}"


def _of_gone(counted: ledger.Deltas, in_log: Mapping[ledger.Key, int]) -> ledger.Deltas:
    """What `counted` says of readings that are not in the log any more. More than those cannot have been
    delivered: what was delivered and is to go again, since its device is held back, counts when it goes."""
    left = {}
    for key, count in counted.items():
        hour, device, account = key
        left[key] = count - in_log.get(key, 0)
        if account.startswith("delivered/"):
            acquired = hour, device, "acquired"
            went = counted.get(acquired, 0) - in_log.get(acquired, 0)
            left[key] = max(0, min(left[key], went))
    return left


async def _unknown_of(store: Store, step: Sequence[Numbered]) -> Sequence[Numbered]:
    fresh = set(map(id, await unknown(store, [reading for _, reading in step])))
    return [(seq, reading) for seq, reading in step if id(reading) in fresh]


async def _add(new: Store, wanted: Sequence[Numbered], done: Spans, held: Epoch | None) -> None:
    async with new.writing:  # nothing is shifted meanwhile
        shift_ms = new.epoch[1] - held.offset_ms if held and held.boot_id == new.epoch[0] else 0
        first_held = held.first_seq if held and shift_ms else wanted[-1][0] + 1 if wanted else 0
        first = new.last_seq + 1
        new.append(
            [
                reading._replace(time_ms=reading.time_ms + shift_ms) if seq >= first_held else reading
                for seq, reading in wanted
            ]
        )
        for name, spans in done.items():
            new.outbox.progress(name)
            for start, end in _numbered_anew([seq for seq, _ in wanted], spans, first):
                new.outbox.passed(name, start, end)
            new.ledger.delivered(name, _within(wanted, spans))
    await _commit(new)


async def _commit(store: Store) -> None:
    await store.commit()
    if store.state.failing:
        raise OSError("the disk takes no more")


def _delivered(outbox: Outbox, last: int) -> dict[str, list[Span]]:
    """What each uplink has delivered up to `last`; a device that is held back counts for all of them, since
    twice is better than never."""
    done = {}
    for name in [each for each in outbox.under("") if "/" not in each]:
        progress = outbox.progress(name)
        for part in outbox.under(f"{name}/"):
            for span in outbox.progress(part).spans(last):
                progress = progress.again(*span)
        done[name] = progress.passed_of(1, last)
    return done


def _within(step: Sequence[Numbered], spans: Sequence[Span]) -> Iterator[Reading]:
    """The readings of `step` whose numbers are in `spans`."""
    seqs = [seq for seq, _ in step]
    for start, end in spans:
        for _, reading in step[bisect_left(seqs, start) : bisect_right(seqs, end)]:
            yield reading


def _numbered_anew(seqs: Sequence[int], spans: Sequence[Span], first: int) -> Iterator[Span]:
    """Where `spans` are, once `seqs` are numbered from `first` on."""
    for start, end in spans:
        at, beyond = bisect_left(seqs, start), bisect_right(seqs, end)
        if at < beyond:
            yield first + at, first + beyond - 1


async def _counted(store: Store) -> ledger.Deltas:
    """The whole ledger of `store`."""
    await _commit(store)
    return {
        (hour, device, account): count
        for hour, packed in await store.disk.ledger_rows(0, 2**40)
        for device, accounts in ledger.unpack(packed).items()
        for account, count in accounts.items()
    }


async def unknown(store: Store, readings: Sequence[Reading]) -> list[Reading]:
    """Those of `readings` that the store has not got."""
    times: dict[str, set[int]] = {}
    for reading in readings:
        ids = reading.group.point_ids
        times.setdefault(ids[0] if ids else "", set()).add(reading.time_ms)
    known: set[tuple[str, int]] = set()
    for point, wanted in times.items():
        async for part in store.columns([point], min(wanted), max(wanted) + 1):
            known |= {(point, time_ms) for time_ms in part.time_ms.tolist() if time_ms in wanted}
    return [each for each in readings if (next(iter(each.group.point_ids), ""), each.time_ms) not in known]
