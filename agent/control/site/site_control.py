"""The running loop: every cycle it freezes what is seen, decides in a thread, commands, publishes, records.

Rules.
1. The event loop never waits for it: deciding, learning and the file are in threads; a solver that hangs is
   left behind (`timed`).
2. A cycle that has begun is finished before the next; what holds (rooms, tariff, parameters) changes only
   between cycles.
3. What the record cannot take is lost for replay, not for control.
4. `leave` is for a clean stop: in occupied hours no unit of ours stays off.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo

import numpy as np

from agent.control.history import History
from agent.control.linear import solver
from agent.control.loop import Loop, learned
from agent.control.options import ControlOptions, RoomOptions, TariffOptions
from agent.control.plan import Solve
from agent.control.room import Decision, Observed, Outlook, OwnWish, Rung
from agent.control.site.orders import Orders
from agent.control.site.outlooks import Outlooks
from agent.control.site.points import RUNGS, groups_of, readings_of
from agent.control.site.record import Cycle, Record, row_bytes
from agent.control.site.remotes import Remotes
from agent.control.site.rests import Rests
from agent.control.site.sight import Powered, Sight, observed_of, points_of
from agent.control.site.site_load import SiteLoad
from agent.control.site.timed import Timed
from agent.control.site.wanted import Wanted
from agent.control.wishes import opens_in_s
from agent.dispatch import Dispatch
from agent.localtime import DAY_MS, HOUR_MS, local_ms
from agent.model import Group, Reading
from agent.supervise import Episode
from agent.tariff.options import HolidayOptions

log = logging.getLogger(__name__)

RECORD_FILE = "control.db"
NIGHT_H = 2
NIGHT_CHECK_S = 60.0
TRIM_S = 3600.0
STUCK_CYCLES = 5
FIRST_SIGHT_S, FIRST_LOOK_S = 30.0, 0.2
AHEAD_S = 5400.0


def _none(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Doors:
    """What the service hands in: the door for commands, the image, the clocks. `monotonic` is Dispatch's."""

    dispatch: Dispatch
    groups: Sequence[Group]
    latest: Mapping[Group, Reading]
    publish: Callable[[Sequence[Reading]], None] = _none
    now_s: Callable[[], float] = time.time
    certain: Callable[[], bool] = lambda: True
    since_boot_s: Callable[[], float] = lambda: 1e9
    monotonic: Callable[[], float] = time.monotonic
    rests: Rests | None = None


@dataclass
class _Now:
    """The last cycle, for whoever asks."""

    time_ms: int = 0
    done_s: float = -np.inf
    decisions: tuple[Decision, ...] = ()
    outlook: Mapping[str, Outlook] = field(default_factory=dict)
    manual: frozenset[str] = frozenset()


class SiteControl:
    """`async with` it, then `run`; `leave` before Dispatch stops."""

    def __init__(
        self,
        control: ControlOptions,
        rooms: Sequence[RoomOptions],
        tariff: TariffOptions,
        *,
        timezone: str,
        data_dir: Path,
        doors: Doors,
        tariff_folders: Sequence[Path] = (),
        solve: Solve | None = None,
    ) -> None:
        self._options, self._rooms, self._doors = control, rooms, doors
        self._zone = ZoneInfo(timezone)
        self._wanted = Wanted(rooms, control, tariff, tariff_folders)
        free = HolidayOptions(state=control.holiday_state, extra=control.holidays_extra)
        self._outlooks = Outlooks(self._wanted.terms(), self._zone, free)
        self._solver = Timed(solve or solver())
        self._loop = Loop(self._wanted.rooms(), self._solver, learns=False)
        self._groups = groups_of(rooms, control.cycle_s)
        self._sight = Sight(doors.groups, doors.latest, points_of(rooms, control))
        self._remotes = Remotes(rooms, doors.dispatch, control.remote_hold_min * 60.0)
        self._orders = Orders(rooms, doors.dispatch, control.cycle_s, doors.monotonic)
        self._powered = Powered(doors.since_boot_s(), doors.monotonic())
        self._record = Record(data_dir / RECORD_FILE, control.record_days, control.record_mb_max)
        self._record_episode = Episode(log, "record of control")
        self._alarms = {
            (room.id, unit.id): Episode(log, _name(room.id, unit.id)) for room in rooms for unit in room.unit
        }
        self._now, self._began = _Now(), 0
        self._revision, self._learned_day, self._trim_s = 0, -1, -np.inf
        self._numbers: dict[str, int] = {}
        self._turn = asyncio.Lock()

    # ---------------------------------------------------------------- from outside

    @property
    def groups(self) -> Sequence[Group]:
        """What is published, a group for each room."""
        return list(self._groups.values())

    @property
    def settings(self) -> Mapping[str, Callable[[Any], None]]:
        """What the centre may set, by its name: called with the value, or None when it is set no more."""
        return self._wanted.settings

    def status(self) -> Mapping[str, Any]:
        """What each room is doing and why, for people."""
        return {
            "last_ms": self._now.time_ms,
            "rooms": [asdict(decision) for decision in self._now.decisions],
            "learned": dict(self._loop.verdicts),
        }

    def troubles(self) -> list[str]:
        """Why control is not well, in words; none if it is."""
        late_s = self._doors.monotonic() - self._now.done_s
        stuck = np.isfinite(late_s) and late_s > STUCK_CYCLES * self._options.cycle_s + 30
        return [f"control has not decided for {late_s:.0f} s"] if stuck else []

    # ---------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        try:
            memory = await asyncio.to_thread(self._opened)
        except sqlite3.Error as error:
            self._record_episode.failed(f"{error}; control begins from scratch and goes on without it")
        else:
            self._remember(memory)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._turn:
            await asyncio.to_thread(self._record.close)

    def _opened(self) -> tuple[dict[str, Any], dict[str, History]]:
        try:
            memory = self._record.open().memory()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self._record.set_aside(round(self._doors.now_s()))
            memory = self._record.open().memory()
        lasts = memory.get("lasts", {})
        return memory, self._record.histories(lasts)

    def _remember(self, kept: tuple[dict[str, Any], dict[str, History]]) -> None:
        memory, histories = kept
        if "loop" not in memory:
            return
        try:
            self._loop.restore(memory["loop"], histories)
            self._outlooks.load = SiteLoad.from_json(memory["site"])
            self._learned_day = int(memory["learned_day"])
        except (KeyError, TypeError, ValueError) as error:
            log.warning("control: what an earlier version kept cannot be used (%r): it learns anew", error)
            self._loop = Loop(self._loop.rooms, self._solver, learns=False)
            return
        self._numbers = {name: history.last for name, history in histories.items()}
        self._tell_rests(round(self._doors.now_s() * 1000))

    def _tell_rests(self, now_ms: int) -> None:
        for room in self._rooms:
            state = self._loop.state.rooms.get(room.id)
            for unit in room.unit if state else ():
                told = state.units.get(unit.id) if state else None
                if self._doors.rests and told and told.on is not None:
                    self._doors.rests.remember(unit.on_point, told.on, (now_ms - told.since_ms) / 1000)

    async def run(self) -> None:
        """Decide every cycle and learn every night, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._cycles(), name="control cycles")
            tasks.create_task(self._nights(), name="control learning")

    async def _cycles(self) -> None:
        await self._first_sight()
        due_s = self._doors.monotonic()
        while True:
            await self.cycle()
            due_s = max(due_s + self._options.cycle_s, self._doors.monotonic())
            await asyncio.sleep(due_s - self._doors.monotonic())

    async def _first_sight(self) -> None:
        """Wait a little for the first readings: a decision without any would cost half an hour of caution."""
        wanted = {room.temperature_point for room in self._rooms} | {
            unit.on_point for room in self._rooms for unit in room.unit
        }
        until_s = self._doors.monotonic() + FIRST_SIGHT_S
        while self._doors.monotonic() < until_s:
            now_ms = round(self._doors.now_s() * 1000)
            if wanted <= set(self._sight.look(now_ms, self._doors.monotonic())):
                return
            await asyncio.sleep(FIRST_LOOK_S)

    # ---------------------------------------------------------------- one cycle

    async def cycle(self) -> tuple[Decision, ...]:
        """See, decide, command, publish, record."""
        async with self._turn:
            return await self._cycle()

    async def _cycle(self) -> tuple[Decision, ...]:
        now_ms, now_s = round(self._doors.now_s() * 1000), self._doors.monotonic()
        observed = await self._see(now_ms, now_s)
        begin = await self._begin(now_ms)
        outlook, decisions = await asyncio.to_thread(self._think, now_ms, observed)
        self._orders.give(decisions)
        self._say(decisions)
        manual = frozenset(name for name, seen in observed.rooms.items() if seen.manual)
        self._now = _Now(now_ms, self._doors.monotonic(), decisions, outlook, manual)
        self._doors.publish(readings_of(self._rooms, self._groups, decisions, outlook, now_ms))
        if begin:
            await self._keep(now_ms, begin, observed, outlook)
        return decisions

    async def _see(self, now_ms: int, now_s: float) -> Observed:
        seen = self._sight.look(now_ms, now_s)
        for unit in self._remotes.notice(seen, now_s):
            log.info("control of %s: set by hand, left alone for %d min", unit, self._options.remote_hold_min)
        unit_points = [unit.on_point for room in self._rooms for unit in room.unit]
        observed = observed_of(
            self._rooms,
            self._options,
            seen,
            manual=self._remotes.manual(now_s),
            own=await self._own_wishes(),
            certain=self._doors.certain(),
            powered_s=self._powered.powered_s(seen, unit_points, now_s),
        )
        self._note_site(now_ms, observed)
        return observed

    async def _own_wishes(self) -> Mapping[str, OwnWish]:
        return {}

    def _note_site(self, now_ms: int, observed: Observed) -> None:
        site = observed.site_w
        if site is None or site.age_s > 120 or not observed.clock_trusted:
            return
        powers = [room.power_w for room in observed.rooms.values()]
        rooms_w = sum(each.value for each in powers if each is not None and each.age_s <= 120)
        self._outlooks.sample(now_ms, site.value, rooms_w)

    def _think(self, now_ms: int, observed: Observed) -> tuple[dict[str, Outlook], tuple[Decision, ...]]:
        """In a thread: numpy and the solver take as long as they take."""
        outlook = self._outlooks.at(now_ms)
        self._solver.reset()
        return outlook, self._loop.cycle(now_ms, observed, outlook)

    def _say(self, decisions: Sequence[Decision]) -> None:
        before = {(each.room, each.unit): each.rung for each in self._now.decisions}
        for each in decisions:
            key = (each.room, each.unit)
            if before.get(key, each.rung) != each.rung:
                log.info("control of %s: %s now: %s", each.room, RUNGS[each.rung], each.reason)
            if each.alarm:
                self._alarms[key].failed(each.alarm)
            elif each.rung < Rung.HANDS_OFF:
                self._alarms[key].ended()

    # ---------------------------------------------------------------- the record

    async def _begin(self, now_ms: int) -> int:
        """Take over what has changed since the last cycle; the record's row that says what holds now."""
        if self._revision != self._wanted.revision:
            self._revision, self._began = self._wanted.revision, 0
            self._loop.rooms, self._outlooks.terms = self._wanted.rooms(), self._wanted.terms()
        if not self._began:
            try:
                self._began = await asyncio.to_thread(self._write_begin, now_ms)
            except (sqlite3.Error, OSError) as error:
                self._record_episode.failed(error)
        return self._began

    def _write_begin(self, now_ms: int) -> int:
        if not self._record.is_open:
            self._record.open()
        data = self._memory() | {"rooms": [asdict(room) for room in self._loop.rooms]}
        return self._record.begin(now_ms, data)

    async def _keep(
        self, now_ms: int, begin: int, observed: Observed, outlook: Mapping[str, Outlook]
    ) -> None:
        try:
            await asyncio.to_thread(self._write, now_ms, begin, observed, outlook)
        except (sqlite3.Error, OSError) as error:
            # A stretch with a hole cannot be run again: what comes after it begins anew.
            self._began = 0
            self._record_episode.failed(f"{error}; decisions are not recorded, control goes on")
        else:
            self._record_episode.ended()

    def _write(self, now_ms: int, begin: int, observed: Observed, outlook: Mapping[str, Outlook]) -> None:
        """In a thread: the cycle as JSON, and what the next process needs."""
        cycle = Cycle(
            now_ms,
            begin,
            asdict(observed),
            {name: asdict(each) for name, each in outlook.items()},
            [asdict(each) for each in self._now.decisions],
            tuple(self._solver.outcomes),
        )
        quarters = self._new_quarters()
        memory = self._memory() | {"site": self._outlooks.load.to_json(), "learned_day": self._learned_day}
        self._record.add(cycle, memory, quarters)
        self._numbers |= {name: number for name, number, _ in quarters}
        if self._doors.monotonic() - self._trim_s > TRIM_S:
            self._trim_s = self._doors.monotonic()
            self._record.trim(now_ms)

    def _memory(self) -> dict[str, Any]:
        lasts = {name: history.last for name, history in self._loop.history.items()}
        return {"loop": self._loop.to_json(), "lasts": lasts}

    def _new_quarters(self) -> list[tuple[str, int, bytes]]:
        found = []
        for name, history in self._loop.history.items():
            first = max(self._numbers.get(name, -1) + 1, history.last - len(history.rows) + 1)
            found += [(name, each, row_bytes(history, each)) for each in range(first, history.last + 1)]
        return found

    # ---------------------------------------------------------------- by night

    async def _nights(self) -> None:
        while True:
            await asyncio.sleep(NIGHT_CHECK_S)
            now_ms = round(self._doors.now_s() * 1000)
            day = self._night_of(now_ms)
            if self._doors.certain() and day != self._learned_day:
                await self.learn(now_ms)
                self._learned_day = day

    def _night_of(self, now_ms: int) -> int:
        """The number of the local day that begins at two in the morning."""
        local = int(local_ms(np.array([now_ms]), self._zone)[0])
        return (local - NIGHT_H * HOUR_MS) // DAY_MS

    async def learn(self, now_ms: int) -> None:
        """Fit every room, one after the other, beside the cycles; what is accepted holds from the next one
        on."""
        for room in self._loop.rooms:
            histories = self._loop.histories()
            parameters, verdicts = await asyncio.to_thread(
                learned, (room,), histories, self._loop.parameters, now_ms
            )
            async with self._turn:
                self._loop.verdicts |= verdicts
                self._loop.parameters, self._began = parameters, 0
            for name, verdict in verdicts.items():
                log.info("control of %s: learned by night: %s", name, verdict)

    # ---------------------------------------------------------------- the end

    async def leave(self) -> None:
        """Before a clean stop: what units keep without us."""
        async with self._turn:
            await self._orders.leave(self._parting())

    def _parting(self) -> dict[tuple[str, str], tuple[bool, float]]:
        parting = {}
        for room in self._wanted.rooms():
            outlook = self._now.outlook.get(room.id)
            if outlook is None or room.id in self._now.manual:
                continue
            opens_s = opens_in_s(outlook, self._now.time_ms)
            needed = room.hard_max_c is not None or (opens_s is not None and opens_s <= AHEAD_S)
            safe_c = min(room.safe_c, room.band_c[1] - 1.0)
            for decision in self._now.decisions:
                if decision.room == room.id and decision.on is not None:
                    parting[room.id, decision.unit] = (needed, safe_c)
        return parting


def _name(room: str, unit: str) -> str:
    return f"control of {room}, {unit}"
