"""Between the loop and its record: what is written each cycle, and what the next process begins with.

Rules: writing is in a thread. What the disk refuses is lost for replay, not for control: a stretch with a
hole cannot be run again, so what comes after it begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agent.control.history import History
from agent.control.loop import Loop
from agent.control.room import Decision, Observed, Outlook
from agent.control.site.record import Cycle, Record, row_bytes
from agent.control.site.site_load import SiteLoad
from agent.control.site.timed import Outcome
from agent.supervise import Episode

log = logging.getLogger(__name__)

TRIM_S = 3600.0

Kept = tuple[dict[str, Any], dict[str, History]]


@dataclass(frozen=True, slots=True)
class Made:
    """What a cycle was made of, and what came of it. `solved`: what came of each question to the planner."""

    now_ms: int
    observed: Observed
    outlook: Mapping[str, Outlook]
    decisions: tuple[Decision, ...]
    solved: tuple[Outcome, ...]


class Keeper:
    """Call `begin` before and `keep` after each cycle; `clock` is monotonic."""

    def __init__(self, record: Record, clock: Callable[[], float]) -> None:
        self._record, self._clock = record, clock
        self._episode = Episode(log, "record of control")
        self._began = 0
        self._trim_s = -math.inf
        self._numbers: dict[str, int] = {}

    async def open(self) -> Kept | None:
        """What an earlier run left, and the histories; None if the disk refuses."""
        try:
            memory, histories = await asyncio.to_thread(self._opened)
        except (sqlite3.Error, OSError) as error:
            self._episode.failed(f"{error}; control begins from scratch and goes on without it")
            return None
        self._numbers = {name: history.last for name, history in histories.items()}
        return memory, histories

    def _opened(self) -> Kept:
        try:
            memory = self._record.open().memory()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            log.warning("record of control: %s; it is set aside, control begins anew", error)
            self._record.set_aside()
            memory = self._record.open().memory()
        return memory, self._record.histories(memory.get("lasts", {}))

    async def close(self) -> None:
        await asyncio.to_thread(self._record.close)

    def anew(self) -> None:
        """From the next cycle on something else holds: rooms, parameters."""
        self._began = 0

    async def begin(self, now_ms: int, loop: Loop) -> None:
        """Say in the record what holds now, if it does not yet."""
        if self._began:
            return
        try:
            self._began = await asyncio.to_thread(self._begin, now_ms, loop)
        except (sqlite3.Error, OSError) as error:
            self._episode.failed(error)

    def _begin(self, now_ms: int, loop: Loop) -> int:
        if not self._record.is_open:
            self._record.open()
        data = _memory(loop) | {"rooms": [asdict(room) for room in loop.rooms]}
        return self._record.begin(now_ms, data)

    async def keep(self, made: Made, loop: Loop, load: SiteLoad, learned_day: int) -> None:
        """Record the cycle."""
        if not self._began:
            return
        more = {"site": load.to_json(), "learned_day": learned_day}
        try:
            await asyncio.to_thread(self._keep, made, loop, more)
        except (sqlite3.Error, OSError) as error:
            self._began = 0
            self._episode.failed(f"{error}; decisions are not recorded, control goes on")
        else:
            self._episode.ended()

    def _keep(self, made: Made, loop: Loop, more: Mapping[str, Any]) -> None:
        cycle = Cycle(
            made.now_ms,
            self._began,
            asdict(made.observed),
            {name: asdict(each) for name, each in made.outlook.items()},
            [asdict(each) for each in made.decisions],
            made.solved,
        )
        quarters = self._new_quarters(loop)
        self._record.add(cycle, {**_memory(loop), **more}, quarters)
        self._numbers |= {name: number for name, number, _ in quarters}
        if self._clock() - self._trim_s > TRIM_S:
            self._trim_s = self._clock()
            self._record.trim(made.now_ms)

    def _new_quarters(self, loop: Loop) -> list[tuple[str, int, bytes]]:
        found = []
        for name, history in loop.history.items():
            first = max(self._numbers.get(name, -1) + 1, history.last - len(history) + 1)
            found += [(name, each, row_bytes(history, each)) for each in range(first, history.last + 1)]
        return found


def _memory(loop: Loop) -> dict[str, Any]:
    lasts = {name: history.last for name, history in loop.history.items()}
    return {"loop": loop.to_json(), "lasts": lasts}
