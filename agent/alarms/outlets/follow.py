"""Telling the world: an outlet is a cursor over the journal, as an uplink is over the store.

Rules.
1. `deliver` gets events in order, oldest first, and is asked again with the same ones after an OSError:
   at least once, and who receives tells by the event's number what he had.
2. An outlet is told how many events were cut off before it could tell them.
3. Shelved and suppressed alarms ask for nobody; when that ends and they are still there, it is as if raised.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from agent.alarms.alarm import Change, Event
from agent.alarms.journal import Journal
from agent.alarms.outlets.options import OutletOptions
from agent.supervise import Episode

log = logging.getLogger(__name__)

RETRY_S_MAX = 300.0
AS_IF_RAISED = (Change.UNSHELVED, Change.UNSUPPRESSED)
ABOUT_ITSELF = (Change.LOST,)


class Outlet(Protocol):
    """A way out. `deliver` raises OSError if it did not get out; `batch_max` events at a time."""

    batch_max: int

    async def deliver(self, events: Sequence[Event], lost: int) -> None: ...


def wants(options: OutletOptions, event: Event) -> bool:
    """Whether an outlet with `options` tells of `event`."""
    alarm, change = event.alarm, event.change
    if change in ABOUT_ITSELF:
        return True
    if not alarm.priority.at_least(options.priority):
        return False
    if change in AS_IF_RAISED:
        return Change.RAISED in options.changes and alarm.raised and not alarm.hidden
    about_people = change in (Change.SHELVED, Change.SUPPRESSED)
    return change in options.changes and (about_people or not alarm.hidden)


class Follower:
    """Tells `outlet` what `options` want of `journal`; `run` is entered again after every OSError.

    After a first event `gather_s` more are waited for, after a delivery it rests for `pause_s`.
    """

    def __init__(
        self,
        options: OutletOptions,
        outlet: Outlet,
        journal: Journal,
        *,
        gather_s: float = 0.0,
        pause_s: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name, self.retry_s_max = options.name, RETRY_S_MAX
        self.episode = Episode(log, f"outlet {options.name}")
        self._options, self._outlet, self._journal = options, outlet, journal
        self._gather_s, self._pause_s, self._sleep = gather_s, pause_s, sleep
        self.delivered = 0

    async def run(self) -> None:
        """Deliver for ever; OSError when it cannot."""
        try:
            cursor = await self._journal.cursor(self.name)
            while True:
                await self._journal.wait_beyond(cursor)
                await self._sleep(self._gather_s)
                before = self.delivered
                cursor = await self._step(cursor)
                self.episode.ended()
                await self._sleep(self._pause_s if self.delivered > before else 0.0)
        except sqlite3.Error as error:
            raise OSError(f"the journal of alarms cannot be used: {error}") from error

    async def _step(self, cursor: int) -> int:
        until = self._journal.last_number
        events = await self._journal.read_after(cursor, self._outlet.batch_max)
        # Numbers have no gaps but where the journal was cut off from the front.
        lost = (events[0].number if events else until + 1) - cursor - 1
        wanted = [event for event in events if wants(self._options, event)]
        if wanted or lost:
            await self._outlet.deliver(wanted, lost)
        self.delivered += len(wanted)
        cursor = events[-1].number if events else until
        await self._journal.advance(self.name, cursor)
        return cursor
