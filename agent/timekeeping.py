"""Between clock, hub and store: what is stamped while the clock may be wrong is marked, held, put right.

Until the clock is trusted every reading is UNCERTAIN at best and stays on the box. When it is, all of
them are shifted by what the clock was off, in the store and in the image, and the uplinks may have them.

An epoch of the store says what the time since boot lacks to our time. It is true to EPOCH_S at every reading
(EPOCH_SLEWING_S while our time runs slow): whenever more is missing, after a jump say, a new one begins.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
from collections.abc import Sequence

from agent.clock import BEHIND_S_MAX, Clock, boot_id
from agent.hub import Hub
from agent.model import Quality, Reading
from agent.store import Store
from agent.supervise import Episode

log = logging.getLogger(__name__)

CHECK_S = 1.0
SAME_MS = 5  # closer than any module samples
IN_FLIGHT_S = 120.0  # longer than any driver takes between stamp and publish

EPOCH_S, EPOCH_SLEWING_S = 0.1, 60.0

WAY_OUT = (
    "the clock of this box is not synchronised: readings are kept here and not forwarded until it is; "
    'if it is right all the same (a battery-backed clock, say), set [agent] trust_clock = "always"'
)

BACK_IN_TIME = (
    "the clock is %.0f s behind the last reading of the run before: more than a day, so that stamp is taken"
    " for the mistake and the clock is believed; if the clock is wrong, set it and start the agent again"
)
LAST_MS = 2**62


class Timekeeper:
    """Drivers publish through it; `begin` before they do, `run` beside them."""

    def __init__(self, clock: Clock, store: Store, hub: Hub) -> None:
        self._clock, self._store, self._hub = clock, store, hub
        self._episode = Episode(log, "clock")
        self._last_shift_ms = 0
        self._shifted_s = 0.0
        self._owed_ms = 0
        self._epoch_ms = 0

    async def begin(self, *, go_on: bool = True) -> None:
        """Tell the store which boot stamps from here on; `go_on` after what the store has, unless that was
        stamped by this very clock."""
        if go_on:
            await self._go_on()
        await self._begin_epoch()
        if not self._clock.trusted:
            self._episode.failed(WAY_OUT)

    async def _go_on(self) -> None:
        clock = self._clock
        until_ms = round((clock.now_s() + BEHIND_S_MAX) * 1000)
        # A clock that is not trusted may be any time behind: what stands is judged when it is.
        known = await self._store.stamps(boot_id(), until_ms if clock.trusted else LAST_MS)
        if known.last_ms is not None:
            held_ms = known.held_since_boot_ms
            clock.stay_after(known.last_ms / 1000, math.inf if held_ms is None else held_ms / 1000)
        if clock.trusted and (known.of_last_reading_ms or 0) > until_ms:
            log.critical(BACK_IN_TIME, (known.of_last_reading_ms or 0) / 1000 - clock.now_s())

    async def _begin_epoch(self) -> None:
        offset_ms = self._clock.offset_ms
        await self._store.begin_epoch(boot_id(), offset_ms, trusted=self._clock.trusted)
        self._epoch_ms = offset_ms

    def publish(self, readings: Sequence[Reading]) -> None:
        """To the hub; marked and, if stamped just before a shift, shifted. No two readings of a group have
        one stamp: where a line catches up after a stall, two polls fit into a millisecond."""
        if not self._clock.certain:
            readings = [r._replace(quality=min(r.quality, Quality.UNCERTAIN)) for r in readings]
        if self._last_shift_ms:
            readings = [self._late(reading) for reading in readings]
        latest = self._hub.latest
        for at, reading in enumerate(readings):
            newest = latest.get(reading.group)
            if newest is not None and 0 <= newest.time_ms - reading.time_ms < SAME_MS:
                readings = list(readings)
                readings[at] = reading._replace(time_ms=newest.time_ms + 1)
        self._hub.publish(readings)

    def _late(self, reading: Reading) -> Reading:
        """A reading that was under way when the clock was put right."""
        now_s = self._clock.now_s()
        if now_s - self._shifted_s > IN_FLIGHT_S:
            self._last_shift_ms = 0
        shifted_ms = reading.time_ms + self._last_shift_ms
        now_ms = now_s * 1000
        nearer = abs(shifted_ms - now_ms) < abs(reading.time_ms - now_ms)
        return reading._replace(time_ms=shifted_ms) if nearer else reading

    async def run(self) -> None:
        """Watch the clock for ever."""
        while True:
            await asyncio.sleep(CHECK_S)
            shift_ms = self._clock.check()
            if shift_ms:
                self._hub.restamp(shift_ms)
                self._last_shift_ms, self._shifted_s = shift_ms, self._clock.now_s()
                self._owed_ms += shift_ms
            await self._settle()

    async def _settle(self) -> None:
        """Bring the store up to what the clock knows; what a disk refuses is tried again."""
        try:
            if self._owed_ms:
                await self._store.restamp(self._owed_ms)
                self._epoch_ms += self._owed_ms
                self._owed_ms = 0
            if self._clock.trusted:
                await self._store.release()
                await self._follow_jumps()
                self._episode.ended()
        except sqlite3.Error as error:
            self._episode.failed(f"cannot date the kept readings, trying again: {error}")

    async def _follow_jumps(self) -> None:
        """A new epoch if the time since boot no longer gives our time."""
        off_s = abs(self._clock.offset_ms - self._epoch_ms) / 1000
        if off_s > (EPOCH_SLEWING_S if self._clock.is_slewing else EPOCH_S):
            await self._begin_epoch()
