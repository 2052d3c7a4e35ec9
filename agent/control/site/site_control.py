"""The running loop: every cycle it freezes what is seen, decides in a thread, commands, publishes, records.

Rules.
1. The event loop never waits for it: deciding and the file are in threads, what needs numpy is in a child
   (plans and the almanac `aside`, learning by night); a planner that hangs is left behind (`timed`).
2. A cycle that has begun is finished before the next; what holds (rooms, tariff, parameters) changes only
   between cycles.
3. What the record cannot take is lost for replay, not for control.
4. `leave` is for a clean stop: in occupied hours no unit of ours stays off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo

from agent.apart import Apart
from agent.control.history import History
from agent.control.loop import Loop
from agent.control.options import ControlOptions, RoomOptions, TariffOptions
from agent.control.planner import Planner
from agent.control.room import Decision, Observed, Outlook, Room, Rung
from agent.control.site.aside import Aside
from agent.control.site.doors import Doors
from agent.control.site.keeper import Keeper, Made
from agent.control.site.orders import Orders
from agent.control.site.outlooks import Outlooks
from agent.control.site.own import OwnController
from agent.control.site.plainly import parting, plainly
from agent.control.site.points import RUNGS, groups_of, readings_of
from agent.control.site.record import Record
from agent.control.site.remotes import Remotes
from agent.control.site.sight import Powered, Sight, observed_of, points_of
from agent.control.site.site_load import SiteLoad
from agent.control.site.timed import Timed
from agent.control.site.wanted import Wanted
from agent.model import Group
from agent.supervise import Episode

log = logging.getLogger(__name__)

RECORD_FILE = "control.db"
NIGHT_H = 2
NIGHT_CHECK_S = 60.0
STUCK_CYCLES = 5
PLANS_S_MAX = 35.0  # with the start of the process that makes them
LEARN_S_MAX, LEARN_NICE = 600.0, 5
LEARNED = "agent.control.learn:learned"
LEARNING_FAILED = "control: learning failed: %s: %s; what was accepted before holds"
FIRST_SIGHT_S, FIRST_LOOK_S = 30.0, 0.2
FAILURES_BORNE = 1


@dataclass
class _Now:
    """The last cycle, for whoever asks."""

    time_ms: int = 0
    done_s: float = -math.inf
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
        planner: Planner | None = None,
    ) -> None:
        self._options, self._rooms, self._doors = control, rooms, doors
        self._zone = ZoneInfo(timezone)
        self._wanted = Wanted(rooms, control, tariff, timezone, tariff_folders)
        self._aside, self._nightly = Aside(), Apart(LEARN_S_MAX, nice=LEARN_NICE)
        self._outlooks = Outlooks(self._wanted.terms(), self._aside.almanac)
        self._planner = Timed(planner) if planner else Timed(self._aside.plan, PLANS_S_MAX)
        self._loop = Loop(self._wanted.rooms(), self._planner, learns=False)
        self._groups = groups_of(rooms, control.cycle_s)
        self._sight = Sight(doors.groups, doors.latest, points_of(rooms, control))
        self._remotes = Remotes(rooms, doors.dispatch, control.remote_hold_min * 60.0)
        self._orders = Orders(rooms, doors.dispatch, control.cycle_s, doors.monotonic)
        self._powered = Powered(doors.since_boot_s(), doors.monotonic())
        record = Record(data_dir / RECORD_FILE, control.record_days, control.record_mb_max)
        self._keeper = Keeper(record, doors.monotonic)
        self._alarms = {
            (room.id, unit.id): Episode(log, _name(room.id, unit.id)) for room in rooms for unit in room.unit
        }
        self._own = {
            room.id: OwnController(room.id, room.controller_file, room.controller_class, doors.monotonic)
            for room in rooms
            if room.controller_file is not None
        }
        self._now, self._began_s = _Now(), math.inf
        self._failing = Episode(log, "control")
        self._revision, self._learned_day = 0, -1
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
        """What each unit of each room shall do and why, for people; what was learned of each room."""
        modes = {room.id: room.mode for room in self._rooms}
        return {
            "last_ms": self._now.time_ms,
            "decisions": [asdict(each) | {"mode": modes[each.room]} for each in self._now.decisions],
            "learned": dict(self._loop.verdicts),
        }

    def troubles(self) -> list[str]:
        """Why control is not well, in words; none if it is."""
        late_s = self._doors.monotonic() - max(self._now.done_s, self._began_s)
        stuck = late_s > STUCK_CYCLES * self._options.cycle_s + 30
        return [f"control has not decided for {late_s:.0f} s"] if stuck else []

    def lifeless(self) -> str:
        """What a restart may mend, for the watchdog: it decided and does so no more. One that has not decided
        since the start was restarted already, as far as that helps."""
        return "; ".join(self.troubles()) if math.isfinite(self._now.done_s) else ""

    # ---------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        kept = await self._keeper.open()
        if kept is not None and "loop" in kept[0]:
            self._remember(*kept)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nightly.rest()
        self._aside.rest()  # whoever waits for them sees their end
        for own in self._own.values():
            await own.close()
        async with self._turn:
            await self._keeper.close()

    def _remember(self, memory: Mapping[str, Any], histories: dict[str, History]) -> None:
        try:
            self._loop.restore(memory["loop"], histories)
            self._outlooks.load = SiteLoad.from_json(memory["site"])
            self._learned_day = int(memory["learned_day"])
        except (KeyError, TypeError, ValueError) as error:
            log.warning("control: what an earlier version kept cannot be used (%r): it learns anew", error)
            self._loop = Loop(self._loop.rooms, self._planner, learns=False)
            return
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
        self._began_s = self._doors.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._cycles(), name="control cycles")
            tasks.create_task(self._nights(), name="control learning")

    async def _cycles(self) -> None:
        await self._first_sight()
        due_s = self._doors.monotonic()
        while True:
            try:
                await self.cycle()
                self._failing.ended()
            except Exception as error:  # a bug in control must not end the reading of the meters
                await self._failed(error)
            due_s = max(due_s + self._options.cycle_s, self._doors.monotonic())
            await asyncio.sleep(due_s - self._doors.monotonic())

    async def _failed(self, error: Exception) -> None:
        """Once: units keep what they were told. Again: they are told what needs no loop."""
        if not self._failing.failures:
            log.error("control: a cycle failed; units keep what they were told", exc_info=error)
        elif self._failing.failures == FAILURES_BORNE:
            log.error("control: cycles go on failing; the plain schedule holds", exc_info=error)
        self._failing.failed(error)
        if self._failing.failures > FAILURES_BORNE:
            with contextlib.suppress(Exception):  # said above; what is told already stands
                await self._tell_plainly()

    async def _tell_plainly(self) -> None:
        now_ms, outlook = round(self._doors.now_s() * 1000), dict[str, Outlook]()
        with contextlib.suppress(Exception):
            if self._doors.certain():
                outlook = await asyncio.to_thread(self._outlooks.at, now_ms)
        manual = self._remotes.manual(self._doors.monotonic())
        decisions = tuple(plainly(self._wanted.rooms(), outlook, manual, now_ms))
        self._orders.give(decisions)
        self._say(decisions)
        self._now = replace(self._now, decisions=decisions, manual=frozenset(manual))
        if outlook:
            self._now = replace(self._now, time_ms=now_ms, outlook=outlook)
            self._doors.publish(readings_of(self._rooms, self._groups, decisions, outlook, now_ms))

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
        self._take_over()
        await self._keeper.begin(now_ms, self._loop)
        observed = self._see(now_ms, now_s)
        outlook = await asyncio.to_thread(self._look_ahead, now_ms, observed)
        if self._own:
            observed = await self._with_own_wishes(now_ms, observed, outlook)
        decisions = await self._decided(now_ms, observed, outlook)
        self._orders.give(decisions)
        self._say(decisions)
        manual = frozenset(name for name, seen in observed.rooms.items() if seen.manual)
        self._now = _Now(now_ms, self._doors.monotonic(), decisions, outlook, manual)
        self._doors.publish(readings_of(self._rooms, self._groups, decisions, outlook, now_ms))
        made = Made(now_ms, observed, outlook, decisions, tuple(self._planner.outcomes))
        await self._keeper.keep(made, self._loop, self._outlooks.load, self._learned_day)
        return decisions

    def _see(self, now_ms: int, now_s: float) -> Observed:
        seen = self._sight.look(now_ms, now_s)
        for unit in self._remotes.notice(seen, now_s):
            log.info("control of %s: set by hand, left alone for %d min", unit, self._options.remote_hold_min)
        unit_points = [unit.on_point for room in self._rooms for unit in room.unit]
        return observed_of(
            self._rooms,
            self._options,
            seen,
            manual=self._remotes.manual(now_s),
            certain=self._doors.certain(),
            powered_s=self._powered.powered_s(seen, unit_points, now_s),
        ).clean()

    def _look_ahead(self, now_ms: int, observed: Observed) -> dict[str, Outlook]:
        """In a thread: once a day a child looks it up."""
        self._note_site(now_ms, observed)
        return self._outlooks.at(now_ms)

    async def _with_own_wishes(
        self, now_ms: int, observed: Observed, outlook: Mapping[str, Outlook]
    ) -> Observed:
        """All own controllers at once: they have the same time."""
        rooms = dict(observed.rooms)
        wishes = await asyncio.gather(
            *(own.wish(now_ms, rooms[room], outlook[room]) for room, own in self._own.items())
        )
        for room, wish in zip(self._own, wishes, strict=True):
            rooms[room] = replace(rooms[room], own=wish)
        return replace(observed, rooms=rooms)

    def _note_site(self, now_ms: int, observed: Observed) -> None:
        site = observed.site_w
        if site is None or site.age_s > 120 or not observed.clock_trusted:
            return
        powers = [room.power_w for room in observed.rooms.values()]
        rooms_w = sum(each.value for each in powers if each is not None and each.age_s <= 120)
        self._outlooks.sample(now_ms, site.value, rooms_w)

    async def _decided(
        self, now_ms: int, observed: Observed, outlook: Mapping[str, Outlook]
    ) -> tuple[Decision, ...]:
        """What nobody foresaw costs what was tuned and learned, not the loop, which keeps its history."""
        try:
            return await asyncio.to_thread(self._think, now_ms, observed, outlook)
        except Exception:
            log.exception("control: a decision failed; it begins anew from what was measured")
        self._loop = Loop(self._loop.rooms, self._planner, history=self._loop.history, learns=False)
        self._keeper.anew()
        await self._keeper.begin(now_ms, self._loop)
        return await asyncio.to_thread(self._think, now_ms, observed, outlook)

    def _think(self, now_ms: int, observed: Observed, outlook: Mapping[str, Outlook]) -> tuple[Decision, ...]:
        """In a thread: planning takes as long as it takes."""
        self._planner.reset()
        try:
            return self._loop.cycle(now_ms, observed, outlook)
        finally:
            self._aside.rest()

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

    def _take_over(self) -> None:
        """What was changed since the last cycle holds from this one on."""
        if self._revision != self._wanted.revision:
            self._revision = self._wanted.revision
            self._loop.rooms, self._outlooks.terms = self._wanted.rooms(), self._wanted.terms()
            self._keeper.anew()

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
        return (datetime.fromtimestamp(now_ms / 1000, self._zone) - timedelta(hours=NIGHT_H)).toordinal()

    async def learn(self, now_ms: int) -> None:
        """Fit every room in a child, one after the other, beside the cycles; what is accepted holds from the
        next one on. A room that fails is no reason not to learn the others."""
        try:
            for room in self._loop.rooms:
                try:
                    await self._learn(room, now_ms)
                except Exception as error:  # no child, or a bug: neither may end control
                    bug = not isinstance(error, OSError)
                    log.warning(LEARNING_FAILED, room.id, error, exc_info=bug)
        finally:
            await asyncio.to_thread(self._nightly.rest)

    async def _learn(self, room: Room, now_ms: int) -> None:
        history = self._loop.histories().get(room.id)
        if history is None:
            return
        parameters, verdicts = await asyncio.to_thread(
            self._nightly, LEARNED, (room,), {room.id: history}, self._loop.parameters, now_ms
        )
        async with self._turn:
            self._loop.verdicts |= verdicts
            self._loop.parameters = parameters
            self._keeper.anew()
        for name, verdict in verdicts.items():
            log.info("control of %s: learned by night: %s", name, verdict)

    # ---------------------------------------------------------------- the end

    async def leave(self) -> None:
        """Before a clean stop: what units keep without us."""
        async with self._turn:
            if self._doors.rests:
                self._doors.rests.part()
            rooms = [room for room in self._wanted.rooms() if room.id not in self._now.manual]
            now = self._now
            await self._orders.leave(parting(rooms, now.decisions, now.outlook, now.time_ms))


def _name(room: str, unit: str) -> str:
    return f"control of {room}, {unit}"
