"""How much the store may take, and what goes when it would take more.

Rules.
1. What every uplink has delivered goes first, the oldest of it.
2. Then what the owner chose: `oldest` gives up the oldest, `thin` gives up every second reading of the
   oldest that was thinned least, `newest` takes nothing new until there is room again.
3. A site without uplinks keeps history only: its oldest goes, whatever was chosen.
4. Every reading that goes is counted per device and hour, in the transaction that gives it up.
5. What a chunk holds is counted by a child: a store that is full is the ordinary state of an old box.
6. Room that is freed stays in the file and is used again, so with too little free disk the file no
   longer grows; giving up more would not bring anything back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from agent.store import ledger
from agent.store.chunk_table import Chunk, Whole
from agent.store.disk import Disk
from agent.store.options import StoreOptions
from agent.store.progress import Span
from agent.store.room import MB

LIMIT_BYTES_MIN = 3 * MB
STEPS_MAX = 25  # chunks at a time
LOG_SHARE = 0.02
THINNED_MAX = 10  # one in a thousand is left: then the oldest goes
CHUNKS_MAX = 100_000
PRESSURE_S = 600.0  # it goes a chunk at a time: between two of them nothing is well again
HEADROOM = 0.98  # of the limit: the log grows between two looks

Unsent: TypeAlias = Callable[[int, int], Sequence[Span]]
Rule: TypeAlias = Literal["oldest", "thin", "newest"]
Pressure: TypeAlias = Literal["", "history", "unsent", "refusing"]


class Discarded(NamedTuple):
    """Readings that were given up since the file was made."""

    sent: int = 0
    unsent: int = 0

    def counters(self) -> dict[str, int]:
        """As rows."""
        return {"discarded_sent": self.sent, "discarded_unsent": self.unsent}


class Budget:
    """Keeps `disk` within its bounds. `unsent(first, last)`: the parts of a stretch of the log that an
    uplink still wants; `uplinks()`: whether there is any. Call it as the only writer."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        options: StoreOptions,
        unsent: Unsent,
        uplinks: Callable[[], bool],
        *,
        free_bytes: Callable[[Path], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._disk, self._folder, self._options = disk, folder, options
        self._unsent, self._uplinks = unsent, uplinks
        self._free_bytes, self._clock = free_bytes or free_disk_bytes, clock
        self._pressed_s = clock()
        self.discarded = Discarded()
        self.used_bytes = 0
        self.pressure: Pressure = ""
        self.gone_seq = 0  # up to here the disk has less than it was given: memory must not say otherwise

    async def prepare(self) -> None:
        """Before the writer is ours: `keep` would not wait for a process to start. OSError: there is none."""
        if not await self._fits():
            await self._disk.packer("worker:ready")

    async def keep(self) -> None:
        """Give up what must go, some steps at most. sqlite3.Error, OSError: try again."""
        pressure: Pressure = ""
        for _ in range(STEPS_MAX):
            if await self._fits():
                break
            step = await self._step()
            pressure = max(pressure, step, key=("", "history", "unsent", "refusing").index)
            if step in {"", "refusing"}:
                break
        if pressure:
            self._pressed_s = self._clock()
        elif self.pressure == "refusing" or self._clock() - self._pressed_s > PRESSURE_S:
            self.pressure = ""
        self.pressure = pressure or self.pressure

    async def _fits(self) -> bool:
        self.used_bytes, file_bytes = await self._disk.sizes_bytes()
        room = self._free_bytes(self._folder) - self._options.free_min_mb * MB
        grown = max(file_bytes + room, file_bytes - LIMIT_BYTES_MIN // 2)
        limit = max(LIMIT_BYTES_MIN, min(self._disk.room.file_bytes, grown))
        return self.used_bytes <= limit * HEADROOM

    async def _step(self) -> Pressure:
        chunks = await self._disk.sealed.chunks(0, CHUNKS_MAX)
        sent = next((chunk for chunk in chunks if not self._wanted(chunk.first_seq, chunk.last_seq)), None)
        if sent is not None:
            await self._drop(sent)
            return "history"
        if chunks and self._options.discard == "newest":
            return "refusing"
        least = min((chunk.thinned for chunk in chunks), default=THINNED_MAX)
        if self._options.discard == "thin" and least < THINNED_MAX:
            await self._thin(next(chunk for chunk in chunks if chunk.thinned == least))
            return "unsent"
        if chunks:
            await self._drop(chunks[0])
            return "unsent"
        return await self._drop_log()

    def _wanted(self, first: int, last: int) -> Sequence[Span]:
        return self._unsent(first, last) if self._uplinks() else ()

    async def _drop(self, chunk: Chunk) -> None:
        wanted = self._wanted(chunk.first_seq, chunk.last_seq)
        await self._give_up(chunk, await self._disk.packer("worker:counted", chunk, wanted), None, "oldest")

    async def _thin(self, chunk: Chunk) -> None:
        wanted = self._wanted(chunk.first_seq, chunk.last_seq)
        counts, thinner = await self._disk.packer("worker:thinned", chunk, wanted)
        await self._give_up(chunk, counts, thinner, "thin")

    async def _give_up(
        self, chunk: Chunk, counts: Mapping[tuple[int, int, bool], int], by: Whole | None, rule: Rule
    ) -> None:
        """`counts`: of what goes, by group, hour and whether an uplink wants it."""
        deltas: ledger.Deltas = {}
        for (group_id, hour, wanted), count in counts.items():
            account = ledger.discard_account(rule, sent=not wanted)
            key = (hour, self._disk.device(group_id), account)
            deltas[key] = deltas.get(key, 0) + count
        await self._count(deltas, lambda counters: self._disk.replace(chunk, by, counters, deltas))
        self.gone_seq = max(self.gone_seq, chunk.last_seq)

    async def _drop_log(self) -> Pressure:
        """Before anything is sealed, or what may not be sealed yet."""
        first = await self._disk.oldest_seq()
        if not first:
            return ""
        last = first + int((await self._disk.newest_seq() - first) * LOG_SHARE)
        wanted = self._wanted(first, last)
        if wanted and self._options.discard == "newest":
            return "refusing"
        deltas: ledger.Deltas = {}
        for spans, sent in ((wanted, False), (between(first, last, wanted), True)):
            account = ledger.discard_account("oldest", sent=sent)
            for span in spans:
                deltas |= added(deltas, await self._disk.counted(*span, account))
        await self._count(deltas, lambda counters: self._disk.discard(last, counters, deltas))
        self.gone_seq = max(self.gone_seq, last)
        return "unsent" if wanted else "history"

    async def _count(
        self, deltas: ledger.Deltas, write: Callable[[Mapping[str, int]], Awaitable[None]]
    ) -> None:
        unsent = sum(count for key, count in deltas.items() if key[2].endswith("/unsent"))
        now = Discarded(self.discarded.sent + sum(deltas.values()) - unsent, self.discarded.unsent + unsent)
        await write(now.counters())
        self.discarded = now


def between(first: int, last: int, spans: Iterable[Span]) -> list[Span]:
    """What of `first` to `last` is in none of `spans` (in order, apart from each other)."""
    free: list[Span] = []
    for start, end in (*spans, (last + 1, last + 1)):
        if start > first:
            free.append((first, start - 1))
        first = end + 1
    return free


def added(one: ledger.Deltas, other: ledger.Deltas) -> ledger.Deltas:
    """Both added up."""
    return {key: one.get(key, 0) + other.get(key, 0) for key in one | other}


def free_disk_bytes(folder: Path) -> int:
    """What of the disk under `folder` this process may still fill."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
