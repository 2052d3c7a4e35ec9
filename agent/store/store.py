"""The log: append in memory, commit every second, read from any place on.

Rules.
1. `append` is a plain call: it numbers the readings and keeps them in memory. Nothing waits for a disk.
2. `run` commits what has come, in one transaction a second at most (WAL, synchronous=FULL), together
   with the cursors: after a power cut the newest second may be missing, never a cursor ahead of its
   readings. The one writer is `run`. What is not committed is in a journal that outlives the process.
3. The newest readings stay in memory, so that a reader that keeps up never touches the disk.
4. What is not committed is bounded too: a disk that refuses for long costs the oldest of it, counted.
5. Beyond `size_max_mb` the oldest readings go, and those that no uplink had sent are counted.
6. What was stamped while the clock was not trusted stays here: an uplink sees up to `released_seq`.
   `restamp` shifts it when the clock is known better, `release` lets it go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.model import Group, Reading
from agent.store.disk import ROWS_PER_STEP, Disk, Numbered
from agent.store.journal import Journal
from agent.store.ledger import Ledger, discard_account
from agent.store.options import StoreOptions
from agent.store.outbox import Outbox
from agent.store.state import StoreState
from agent.supervise import Episode, to_its_end

log = logging.getLogger(__name__)

MEMORY_COMMITTED_READINGS = 4096
TRIM_CHECK_S = 5.0
LEDGER_CHECK_S = 3600.0
TRIM_SHARE = 0.02
TRIM_STEPS_MAX = 25  # half of the file at a time


class Store:
    """See the module. Enter it, `append` from the hub, keep `run` running, leave it last."""

    def __init__(self, file: Path, options: StoreOptions | None = None) -> None:
        self._disk, self._options = Disk(file), options or StoreOptions()
        self._journal = Journal(file.with_suffix(".journal"))
        self._episode = Episode(log, f"store {file}")
        self._recent: list[Reading] = []  # the newest readings, without a gap
        self._recent_first = 1  # the seq of _recent[0]
        self._committed = 0
        self.outbox = Outbox()
        self._waiting: list[asyncio.Future[None]] = []
        self._discarded = {"sent": 0, "unsent": 0}
        self._discarded_kept = dict(self._discarded)
        self._discarding = Episode(log, f"store {file}")
        self._held_from: int | None = None
        self._file_bytes = 0
        self._commits = 0
        self._committing = asyncio.Lock()
        self.ledger = Ledger(self._disk.ledger_rows, self._committing)

    async def __aenter__(self) -> Self:
        """Open or make the file. RuntimeError if it belongs to a newer agent, OSError if it cannot be had."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._disk)
            await self._recover(stack)
            kept = await self._disk.kept()
            self.outbox.load(kept.standings)
            for name in self._discarded:
                self._discarded[name] = kept.counters.get(f"discarded_{name}", 0)
            self._discarded_kept = dict(self._discarded)
            self._committed = max(kept.last_seq, self.outbox.last_seq)
            self._recent_first = self._committed + 1
            self._file_bytes = await self._disk.size_bytes()
            stack.push_async_callback(self._last_commit)
            self._closing = stack.pop_all()
        return self

    async def _last_commit(self) -> None:
        await self.commit()
        if lost := self.last_seq - self._committed:
            log.warning(
                "store: the disk refuses to the end, the newest %d readings are only in the journal", lost
            )

    async def _recover(self, stack: AsyncExitStack) -> None:
        """Bring in what an earlier run had not committed when it was killed."""
        try:
            await asyncio.to_thread(self._journal.open)
        except OSError as error:
            log.warning("store: no journal (%s): if the agent is killed, up to a second is lost", error)
            return
        stack.callback(self._journal.close)
        records = list(self._journal.records((await self._disk.kept()).last_seq))
        if records:
            await self._disk.recover(records)
            log.info("store: %d readings of the last moments before a kill were saved", len(records))
        self._journal.restart(0, (), {})

    async def register(self, groups: Iterable[Group]) -> None:
        """Say which groups will come, so that even their first readings outlive a kill."""
        await self._disk.register(groups)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The last commit, then close."""
        await self._closing.aclose()

    # ---------------------------------------------------------------- in

    def append(self, readings: Sequence[Reading]) -> None:
        """Number and keep `readings`; they are on disk after the next commit."""
        self._journal.add(self.last_seq + 1, readings, self._disk.ids)
        self._recent.extend(readings)
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
        return self._recent_first + len(self._recent) - 1

    @property
    def state(self) -> StoreState:
        """What the store holds now."""
        return StoreState(
            self.last_seq,
            self._committed,
            self._file_bytes,
            self._discarded["sent"],
            self._discarded["unsent"],
            self.last_seq - self.released_seq,
            self._commits,
            self._episode.failures > 0,
        )

    async def run(self) -> None:
        """Commit for ever; keep the file within its bounds."""
        loop = asyncio.get_running_loop()
        trim_due_s = ledger_due_s = loop.time()
        while True:
            await asyncio.sleep(self._options.commit_interval_s)
            await self.commit()
            if loop.time() >= ledger_due_s:
                ledger_due_s = loop.time() + LEDGER_CHECK_S
                await self._forget_ledger()
            if loop.time() >= trim_due_s:
                trim_due_s = loop.time() + TRIM_CHECK_S
                await self._trim()

    async def commit(self) -> None:
        """Bring to disk what has come. A disk that refuses is said once; the readings stay in memory."""
        await to_its_end(self._commit())

    async def _commit(self) -> None:
        async with self._committing:
            first, last = self._committed + 1, self.last_seq
            out, discarded = self.outbox.changes(), dict(self._discarded)
            batch = self._recent[first - self._recent_first :]
            deltas = self.ledger.take()
            if not (batch or out or deltas or discarded != self._discarded_kept):
                return
            counters = {
                f"discarded_{name}": count
                for name, count in discarded.items()
                if count != self._discarded_kept[name]
            }
            try:
                await self._disk.write(first, batch, out, counters, deltas)
            except sqlite3.Error as error:
                self.ledger.add(deltas)
                self._episode.failed(f"cannot commit {len(batch)} readings, keeping them in memory: {error}")
                self._give_up_surplus()
            else:
                self._committed, self._discarded_kept = last, discarded
                self.outbox.committed(out)
                self._commits += 1
                self._episode.ended()
                self._discarding.ended()
            self._journal_anew()
            self._forget(self._committed - MEMORY_COMMITTED_READINGS)

    def _journal_anew(self) -> None:
        first = self._committed + 1
        self._journal.restart(first, self._recent[first - self._recent_first :], self._disk.ids)

    def _give_up_surplus(self) -> None:
        """Give up the oldest readings that neither disk nor memory can hold."""
        surplus = self.last_seq - self._committed - self._options.memory_readings_max
        if surplus > 0:
            first, last = self._committed + 1, self._committed + surplus
            unsent = self._count_discarded(first, last)
            lost = self._recent[first - self._recent_first : last - self._recent_first + 1]
            is_unsent = self.outbox.is_unsent(last)
            for seq, reading in enumerate(lost, first):
                sent = not is_unsent(seq, reading.group.device.name)
                self.ledger.discarded("memory", (reading,), sent=sent)
            self._discarding.failed(
                f"memory is full too, giving up the oldest readings: {surplus} now, {unsent} never delivered"
            )
            self._committed += surplus
            self._forget(self._committed)

    def _forget(self, until: int) -> None:
        """Let go of what memory holds up to `until`."""
        surplus = until - self._recent_first + 1
        if surplus > 0:
            del self._recent[:surplus]
            self._recent_first += surplus

    def _count_discarded(self, first: int, last: int) -> int:
        """Count the readings from `first` to `last` as given up; how many of them no uplink had sent."""
        waiting = [(max(a, first), b) for a, b in self.outbox.unsent(last) if b >= first]
        unsent = sum(b - a + 1 for a, b in waiting)
        self._discarded["unsent"] += unsent
        self._discarded["sent"] += last - first + 1 - unsent
        return unsent

    # ---------------------------------------------------------------- bounds

    async def _forget_ledger(self) -> None:
        async with self._committing:
            with contextlib.suppress(sqlite3.Error):  # the next hour tries again
                await to_its_end(self._disk.forget_ledger())

    async def _trim(self) -> None:
        """Discard the oldest readings while the file is over its limit."""
        await to_its_end(self._trim_whole())

    async def _trim_whole(self) -> None:
        async with self._committing:
            try:
                self._file_bytes = await self._disk.size_bytes()
                for _ in range(TRIM_STEPS_MAX):
                    if self._file_bytes <= self._options.size_max_mb * 1_000_000:
                        return
                    await self._discard_oldest()
                    self._file_bytes = await self._disk.size_bytes()
            except sqlite3.Error as error:
                self._episode.failed(f"cannot keep within {self._options.size_max_mb} MB: {error}")

    async def _discard_oldest(self) -> None:
        first = await self._disk.oldest_seq()
        until = first + int((self._committed - first) * TRIM_SHARE)
        before = dict(self._discarded)
        unsent = self._count_discarded(first, until)
        try:
            deltas = await self._disk.counted(first, until - unsent, discard_account("oldest", sent=True))
            deltas |= await self._disk.counted(
                until - unsent + 1, until, discard_account("oldest", sent=False)
            )
            counters = {f"discarded_{name}": count for name, count in self._discarded.items()}
            await self._disk.discard(until, counters, deltas)
        except sqlite3.Error:
            self._discarded = before
            raise
        self._discarded_kept = dict(self._discarded)
        self._forget(until)
        log.log(
            logging.WARNING if unsent else logging.INFO,
            "store: over %d MB, discarded the oldest %d readings, %d of them never delivered",
            self._options.size_max_mb,
            until - first + 1,
            unsent,
        )

    # ---------------------------------------------------------------- time

    async def begin_epoch(self, boot_id: str, offset_ms: int, *, trusted: bool) -> None:
        """From here on readings are stamped in this boot, `offset_ms` ahead of its time since boot.

        What an earlier start in the same boot stamped without trust is shifted to the same offset.
        """
        first = self.last_seq + 1
        self._held_from, lacking_ms = await self._disk.begin_epoch(first, boot_id, offset_ms, trusted=trusted)
        if lacking_ms:
            await self.restamp(lacking_ms)
        if trusted:
            await self.release()

    async def restamp(self, shift_ms: int) -> None:
        """Shift the times of all readings that are held back. sqlite3.Error: nothing was shifted."""
        await to_its_end(self._restamp(shift_ms))

    async def _restamp(self, shift_ms: int) -> None:
        async with self._committing:
            if self._held_from is None:
                return
            end = len(self._recent)  # what comes while the disk works is stamped right
            await self._disk.restamp(self._held_from, shift_ms)
            pending = max(self._held_from, self._committed + 1) - self._recent_first
            self.ledger.shifted(self._recent[pending:end], shift_ms)
            at = max(0, self._held_from - self._recent_first)
            self._recent[at:end] = [
                reading._replace(time_ms=reading.time_ms + shift_ms) for reading in self._recent[at:end]
            ]
            self._journal_anew()

    async def release(self) -> None:
        """The clock is trusted: nothing is held back any more."""
        if self._held_from is not None:
            await to_its_end(self._disk.trust_epochs())
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
        """Up to `limit` readings to deliver that follow `seq`, oldest first, each with its number.

        OSError if they are on a disk that cannot be read.
        """
        before = self.released_seq + 1
        while seq + 1 < (first := self._recent_first):
            try:
                rows = await self._disk.read(seq, min(first, before), limit)
            except sqlite3.Error as error:
                raise OSError(f"store: cannot read back: {error}") from error
            # What was committed and left memory while we read the disk is there now: look again.
            if rows or first == self._recent_first:
                if rows:
                    return rows
                break
        start = max(seq + 1, self._recent_first)
        end = min(start + limit, before)
        at = start - self._recent_first
        return list(enumerate(self._recent[at : at + max(0, end - start)], start))

    async def history(
        self, points: Collection[str], from_ms: int, to_ms: int
    ) -> AsyncGenerator[list[Reading], None]:
        """Readings of the groups that hold any of `points` ("device.point"), `from_ms` <= time < `to_ms`.

        In the order they came (a module's late readings come late), in steps of bounded size; the
        newest, not yet committed ones last. OSError if the disk cannot be read.
        """
        await self.commit()
        wanted = set(points)
        groups = {group for group in self._disk.groups if not wanted.isdisjoint(group.point_ids)}
        seq = 0
        try:
            async with self._disk.history_reader() as reader:
                # What is committed while we read may leave memory before we come to it: read on.
                while seq + 1 < self._recent_first:
                    until = self._committed
                    steps = self._disk.history(reader, (seq, until), groups, (from_ms, to_ms))
                    async for step in steps:
                        yield step
                    seq = until
        except sqlite3.Error as error:
            raise OSError(f"store: cannot read history: {error}") from error
        newest = [
            reading
            for reading in self._recent[seq + 1 - self._recent_first :]
            if from_ms <= reading.time_ms < to_ms and reading.group in groups
        ]
        for at in range(0, len(newest), ROWS_PER_STEP):
            yield newest[at : at + ROWS_PER_STEP]
