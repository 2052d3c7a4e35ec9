"""The log: append in memory, commit every second, read from any place on.

Rules.
1. `append` is a plain call: it numbers the readings and keeps them in memory. Nothing waits for a disk.
2. `run` commits what has come, in one transaction a second at most (WAL, synchronous=FULL), together
   with the cursors: after a power cut the newest second may be missing, never a cursor ahead of its
   readings. The one writer is `run`. What is not committed is in a journal that outlives the process.
3. The newest readings stay in memory, so that a reader that keeps up never touches the disk.
4. What is not committed is bounded too: a disk that refuses for long costs the oldest of it, counted.
5. Old readings are sealed, and given up where there is no more room (`upkeep.py`, `budget.py`), counted.
6. What was stamped while the clock was not trusted stays here: an uplink sees up to `released_seq`.
   `restamp` shifts it when the clock is known better, `release` lets it go.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agent.database import is_broken
from agent.model import Group, Reading
from agent.store.budget import Budget, Discarded, between
from agent.store.chunk_table import ChunkSize
from agent.store.disk import Disk
from agent.store.epochs import Stamps, begin_epoch, restamp, stamps, trust_epochs
from agent.store.journal import Journal
from agent.store.ledger import Ledger
from agent.store.moment import Moment, Period
from agent.store.options import StoreOptions
from agent.store.outbox import Outbox
from agent.store.past import Past
from agent.store.readable import Readable
from agent.store.recovery import recover
from agent.store.rescue import WAY_OUT
from agent.store.sealed import Numbered
from agent.store.sealing import chunk_size_of
from agent.store.state import StoreState
from agent.store.tail import Tail
from agent.store.upkeep import Upkeep, UpkeepNews
from agent.supervise import Episode, to_its_end

if TYPE_CHECKING:
    from agent.store.history import History

log = logging.getLogger(__name__)

MEMORY_COMMITTED_READINGS = 1024  # an uplink that keeps up never touches the disk; 20 s of 50 devices


class Store(Readable):
    """See the module. Enter it, `append` from the hub, keep `run` running, leave it last."""

    def __init__(
        self,
        file: Path,
        options: StoreOptions | None = None,
        chunk_size: ChunkSize | None = None,
        *,
        in_memory: str = "",
    ) -> None:
        self.file, self._in_memory = file, in_memory
        self._options = options = options or StoreOptions()
        self._disk = self.disk = Disk(file, options.size_max_mb)
        self.outbox = Outbox()
        self._budget = Budget(
            self._disk, file.parent, options, self.outbox.unsent, lambda: self.outbox.has_uplinks
        )
        self._journal = Journal(file.with_suffix(".journal"), self.disk.room.journal_sizes_bytes)
        self._episode = Episode(log, f"store {file}")
        self._tail = Tail()
        self._committed = self._commits = self._lost_by_kill = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._discarded_kept = Discarded()
        self._discarding = Episode(log, f"store {file}")
        self._held_from: int | None = None
        self.epoch: tuple[str, int] = ("", 0)  # the boot that stamps, and by how many ms it is ahead
        self._broken: sqlite3.Error | None = None
        self.writing = asyncio.Lock()
        news = UpkeepNews(self._sealable, self.note, self._tail.forget)
        size = chunk_size or chunk_size_of(options.size_max_mb)
        self.upkeep = Upkeep(self._disk, self._budget, size, self.writing, news)
        self._past = Past(self._disk.sealed, self.commit, self._beyond, self.note)
        self.ledger = Ledger(self._disk.ledger_rows, self.writing)

    async def __aenter__(self) -> Self:
        """Open or make the file. RuntimeError if it belongs to a newer agent, OSError if it cannot be had."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._disk)
            await self._recover(stack)
            kept = await self._disk.kept()
            self.outbox.load(kept.standings)
            counters = (kept.counters.get(f"discarded_{name}", 0) for name in Discarded._fields)
            self._budget.discarded = self._discarded_kept = Discarded(*counters)
            self._committed = max(kept.last_seq, self.outbox.last_seq)
            self._tail.first = self._committed + 1
            self._journal_anew()
            self._budget.used_bytes, _ = await self._disk.sizes_bytes()
            stack.push_async_callback(self._last_commit)
            self._closing = stack.pop_all()
        return self

    async def _last_commit(self) -> None:
        await self.commit()
        if lost := self.last_seq - self._committed:
            log.warning("store: the disk refuses to the end, %d readings are only in the journal", lost)

    async def _recover(self, stack: AsyncExitStack) -> None:
        """Bring in what an earlier run had not committed when it was killed, and count what it took along."""
        try:
            await asyncio.to_thread(self._journal.open)
        except OSError as error:
            log.warning("store: no journal (%s): if the agent is killed, up to a second is lost", error)
            return
        stack.callback(self._journal.close)
        self._lost_by_kill = await recover(self._disk, self._journal)

    async def register(self, groups: Iterable[Group]) -> None:
        """Say which groups will come, so that even their first readings outlive a kill."""
        try:
            await self._disk.register(groups)
        except sqlite3.Error as error:  # the next commit says so
            self.note(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The last commit, then close."""
        await self._closing.aclose()

    # ---------------------------------------------------------------- in

    def append(self, readings: Sequence[Reading]) -> None:
        """Number and keep `readings`; they are on disk after the next commit."""
        self._journal.add(self.last_seq + 1, readings, self._disk.ids)
        if readings and self._held_from is None:
            self._journal.stamped(readings[-1].time_ms)
        self._tail.extend(readings)
        self.ledger.acquired(readings)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    @property
    def last_seq(self) -> int:
        """The number of the newest reading."""
        return self._tail.last

    @property
    def state(self) -> StoreState:
        """What the store holds now."""
        return StoreState(
            self.last_seq,
            self._committed,
            self._budget.used_bytes,
            *self._budget.discarded,
            self.last_seq - self.released_seq,
            self._commits,
            self._episode.failures > 0 or bool(self._in_memory),
            self._budget.pressure,
            self._disk.moved_aside,
            self._in_memory,
            self._lost_by_kill,
        )

    def discarded_elsewhere(self, other: StoreState) -> None:
        """Count as given up what `other` gave up."""
        sent, unsent = self._budget.discarded
        self._budget.discarded = Discarded(sent + other.discarded_sent, unsent + other.discarded_unsent)

    async def run(self) -> None:
        """Commit for ever; seal what is old and keep the file within its bounds beside it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._commit_for_ever())
            tasks.create_task(self.upkeep.run())

    async def _commit_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._options.commit_interval_s)
            await self.commit()

    def part(self) -> None:
        """When it is to be left, and children that are at work would keep it."""
        self._disk.packer.interrupt()
        self._disk.sealed.reader.interrupt()

    async def commit(self) -> None:
        """Bring to disk what has come. A disk that refuses is said once; the readings stay in memory."""
        await to_its_end(self._commit())

    async def _commit(self) -> None:
        async with self.writing:
            if self._broken is not None:
                await self._start_over(self._broken)
            if self._budget.pressure == "refusing" and self.last_seq > self._committed:
                self._give_up(self.last_seq, "newest")
            try:
                await self._write()
            except (sqlite3.Error, OSError) as error:
                self._episode.failed(f"cannot commit, keeping the readings in memory: {error}")
                self.note(error)
                self._give_up_surplus()
            else:
                self._episode.ended()
                self._discarding.ended()
            if self._journal.first != self._committed + 1:
                self._journal_anew()
            self._tail.forget(self._committed - MEMORY_COMMITTED_READINGS)

    async def _write(self) -> None:
        """What has come since the last commit, in one transaction."""
        first, last = self._committed + 1, self.last_seq
        out, discarded = self.outbox.changes(), self._budget.discarded
        batch = self._tail.since(first)
        counters = discarded.counters() if discarded != self._discarded_kept else {}
        deltas = self.ledger.take()
        if not (batch or out or deltas or counters):
            return
        try:
            await self._disk.write(first, batch, out, counters, deltas, packed=self._journal.packed(first))
        except BaseException:
            self.ledger.add(deltas)
            raise
        self._committed, self._discarded_kept = last, discarded
        self.outbox.committed(out)
        self._commits += 1

    def _journal_anew(self) -> None:
        first = self._committed + 1
        self._journal.restart(first, self._tail.since(first), self._disk.ids)

    def _give_up_surplus(self) -> None:
        """Give up the oldest readings that neither disk nor memory can hold."""
        surplus = self.last_seq - self._committed - self._options.memory_readings_max
        if surplus > 0:
            unsent = self._give_up(self._committed + surplus, "memory")
            text = f"memory is full too, giving up the oldest: {surplus} now, {unsent} never delivered"
            self._discarding.failed(text)

    def _give_up(self, until: int, rule: str) -> int:
        """Count what is not committed up to `until` as given up, and forget it; how many nobody had."""
        first = self._committed + 1
        wanted = self.outbox.unsent(first, until)
        unsent = 0
        for spans, sent in ((wanted, False), (between(first, until, wanted), True)):
            for start, end in spans:
                lost = self._tail.between(start, end)
                self.ledger.discarded(rule, lost, sent=sent)
                unsent += 0 if sent else len(lost)
        count = until - first + 1
        before = self._budget.discarded
        self._budget.discarded = Discarded(before.sent + count - unsent, before.unsent + unsent)
        self._committed = until
        self._tail.forget(until)
        return unsent

    # ---------------------------------------------------------------- a broken file

    def note(self, error: Exception) -> None:
        """If `error` says that the file itself is damaged, the next commit starts a new one."""
        if isinstance(error, sqlite3.Error) and is_broken(error):
            self._broken = error

    async def _start_over(self, reason: sqlite3.Error) -> None:
        """Move the broken file aside and go on in a new one, beginning with all that memory has."""
        kept = self._tail.first - 1
        held = self._held_from is not None
        try:
            aside = await self._disk.start_over(kept)
            if self._held_from is not None:
                self._held_from = max(self._held_from, self._tail.first)
                await begin_epoch(self._disk, self._held_from, *self.epoch, trusted=not held)
        except (sqlite3.Error, OSError) as error:
            self._episode.failed(f"broken ({reason}), and no new one can be made: {error}")
            return
        if aside:
            log.critical("store: broken (%s), moved aside as %s; %s", reason, aside, WAY_OUT)
        self._broken = None
        again = self._tail.between(kept + 1, self._committed)
        self.ledger.acquired(again)  # the new file's ledger has never heard of them
        self._committed, self._discarded_kept = kept, Discarded()
        self.outbox.lost()

    # ---------------------------------------------------------------- time

    async def stamps(self, boot_id: str, until_ms: int) -> Stamps:
        """What earlier runs stamped; nothing later than `until_ms` is believed."""
        return await stamps(self._disk, boot_id, until_ms, self._journal.newest_ms)

    async def begin_epoch(self, boot_id: str, offset_ms: int, *, trusted: bool) -> None:
        """From here on readings are stamped in this boot, `offset_ms` ahead of its time since boot.

        What an earlier start in the same boot stamped without trust is shifted to the same offset.
        """
        first = self.last_seq + 1
        self.epoch = (boot_id, offset_ms)
        self._held_from, lacking_ms = await begin_epoch(
            self._disk, first, boot_id, offset_ms, trusted=trusted
        )
        if lacking_ms:
            await self.restamp(lacking_ms)
        if trusted:
            await self.release()

    async def restamp(self, shift_ms: int) -> None:
        """Shift the times of all readings that are held back. sqlite3.Error: nothing was shifted."""
        await to_its_end(self._restamp(shift_ms))

    async def _restamp(self, shift_ms: int) -> None:
        async with self.writing:
            if self._held_from is None:
                return
            end = self.last_seq  # what comes while the disk works is stamped right
            await restamp(self._disk, self._held_from, shift_ms)
            pending = max(self._held_from, self._committed + 1)
            self.ledger.shifted(self._tail.between(pending, end), shift_ms)
            self._tail.shift(self._held_from, end, shift_ms)
            self.epoch = (self.epoch[0], self.epoch[1] + shift_ms)
            self._journal_anew()

    async def release(self) -> None:
        """The clock is trusted: nothing is held back any more."""
        if self._held_from is not None:
            await to_its_end(trust_epochs(self._disk))
            self._held_from = None
            self._wake()

    @property
    def released_seq(self) -> int:
        """The last reading that an uplink may have."""
        return self.last_seq if self._held_from is None else self._held_from - 1

    # ---------------------------------------------------------------- out

    async def wait_beyond(self, seq: int) -> None:
        """Return once there is a reading newer than `seq` to deliver."""
        while self.released_seq <= seq:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    async def read_after(self, seq: int, limit: int) -> list[Numbered]:
        """Up to `limit` readings to deliver that follow `seq`, oldest first, each with its number; fewer does
        not mean that no more follow, none does.

        OSError if they are on a disk that cannot be read.
        """
        before = self.released_seq + 1
        while seq + 1 < (first := self._tail.first):
            try:
                rows = await self._disk.read(seq, min(first, before), limit)
            except sqlite3.Error as error:
                self.note(error)
                raise OSError(f"store: cannot read back: {error}") from error
            # What was committed and left memory while we read the disk is there now: look again.
            if rows or first == self._tail.first:
                if rows:
                    return rows
                break
        return self._tail.numbered(seq, limit, self.released_seq)

    def told(
        self, how: str, points: Collection[str], period_ms: Period, step_ms: int, *given: object
    ) -> AsyncGenerator[Any, None]:
        """`points` in a period, read by a child: what its function `how` ("agent.module:function") makes of
        the `Columns` (with a step: `Steps`) and of what is `given`, piece by piece. OSError, also later."""
        return self._past.told(how, points, period_ms, step_ms, *given)

    @property
    def _history(self) -> History:
        from agent.store.history import History  # noqa: PLC0415 - numpy

        return History(self._disk.sealed, self.commit, self._beyond, self.note)

    async def moment(self, points: Collection[str], period_ms: Period) -> Moment:
        """What there is now, for a process that reads `file`. OSError as ever."""
        return await self._past.moment(points, period_ms)

    def _sealable(self) -> int:
        return 0 if self._broken else min(self._committed, self.released_seq)

    def _beyond(self, seq: int) -> list[Numbered]:
        """What memory holds beyond `seq`."""
        return self._tail.numbered(seq, sys.maxsize, self.last_seq)
