"""Beside the commits: old readings are sealed, the file is kept within its bounds, old counts go."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from agent.store.budget import Budget
from agent.store.chunk_table import ChunkSize
from agent.store.disk import Disk
from agent.store.sealing import seal_oldest
from agent.supervise import Episode, to_its_end

log = logging.getLogger(__name__)

CHECK_S = 5.0
SEAL_PAUSE_S = 0.5
LEDGER_CHECK_S = 3600.0


class UpkeepNews(NamedTuple):
    """`sealable()` is the newest number that may be sealed, 0 if none; `note` is told every error of the
    disk, `gone` up to where nothing is left."""

    sealable: Callable[[], int]
    note: Callable[[Exception], None]
    gone: Callable[[int], None]


class Upkeep:
    """`writer` is held while it writes."""

    def __init__(
        self, disk: Disk, budget: Budget, chunk_size: ChunkSize, writer: asyncio.Lock, news: UpkeepNews
    ) -> None:
        self._disk, self._budget, self._size, self._writer = disk, budget, chunk_size, writer
        self._sealable, self._note, self._gone = news
        self._sealing = Episode(log, "store: old readings")
        self._room = Episode(log, "store: room")

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        ledger_due_s = loop.time()
        while True:
            await asyncio.sleep(CHECK_S)
            await self.once(SEAL_PAUSE_S)
            if loop.time() >= ledger_due_s:
                ledger_due_s = loop.time() + LEDGER_CHECK_S
                await self._tried("forget old counts", self._forget)

    async def once(self, pause_s: float = 0.0) -> None:
        """Seal all that is due, keep within bounds, bring in the write-ahead log."""
        await self.trim()
        while await self.seal():
            await self._checkpoint()
            await asyncio.sleep(pause_s)
            await self.trim()
        await self._checkpoint()

    async def _checkpoint(self) -> None:
        try:
            await to_its_end(self._disk.checkpoint())
        except (sqlite3.Error, OSError) as error:
            self._note(error)  # a commit does it, too, when it must

    async def seal(self) -> bool:
        """Seal the oldest chunk; False if there is not enough for one, or it could not be done."""
        last = self._sealable()
        log_is_long = self._disk.log_readings >= self._size.readings
        if not last or not (log_is_long or self._disk.log_bytes >= self._size.packed_bytes):
            return False
        done = False

        async def whole() -> None:
            nonlocal done
            done = await seal_oldest(self._disk, last, self._size, self._writer)

        try:
            await to_its_end(whole())
        except (sqlite3.Error, OSError) as error:
            self._sealing.failed(f"cannot be sealed, trying again: {error}")
            self._note(error)
        else:
            self._sealing.ended()
        return done

    async def trim(self) -> None:
        """Give up what must go while the file is over its bounds."""
        before = self._budget.discarded
        done = await self._tried("keep within bounds", self._keep)
        self._gone(self._budget.gone_seq)
        sent, unsent = (now - then for now, then in zip(self._budget.discarded, before, strict=True))
        if self._budget.pressure in {"unsent", "refusing"}:
            self._room.failed(f"none for what no uplink has delivered yet, gave up {unsent} readings of it")
        elif done and not self._budget.pressure:
            self._room.ended()
        if sent:
            log.info("store: out of room, gave up the oldest %d readings of the history", sent)

    async def _keep(self) -> None:
        await self._budget.prepare()
        async with self._writer:
            await self._budget.keep()

    async def _forget(self) -> None:
        async with self._writer:
            await self._disk.forget_ledger()

    async def _tried(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        try:
            await to_its_end(work())
        except (sqlite3.Error, OSError) as error:
            self._room.failed(f"cannot {what}, trying again: {error}")
            self._note(error)
            return False
        return True
