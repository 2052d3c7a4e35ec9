"""`Alarms`: every alarm there is, the one place where they come, go and are acknowledged.

Rules.
1. Raising, clearing, acknowledging and shelving are plain functions: they never wait. What they did is on
   disk a moment later (`run`), with the event that tells of it.
2. Everything is bounded: `active_max` alarms, what does not fit waits (and is counted); an alarm that
   chatters is kept raised; events beyond a rate are counted instead of written. The agent's own alarm
   `agent.flood` says so.
3. A person's word (acknowledge, shelve) is always written down.
4. While the disk refuses, alarms go on in memory, and EVENTS_WAITING_MAX events wait.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.alarms import texts
from agent.alarms.alarm import ID_CHARS_MAX, TEXT_CHARS_MAX, Alarm, Change, Event, Priority, State
from agent.alarms.flood import Budget, Chatter
from agent.alarms.journal import ALARMS_FILE, PAGE_MAX, Batch, Journal
from agent.alarms.options import AlarmsOptions
from agent.model import NAN
from agent.supervise import Episode

log = logging.getLogger(__name__)

COMMIT_S = 1.0
RETRY_S = 5.0
BATCH_MAX = 500
EVENTS_WAITING_MAX = 5000
LEFT_OUT_MAX = 10_000
WHO_CHARS_MAX = 128
SHELVE_S_MIN = 60.0

AlarmListener = Callable[[Change, Alarm], None]


class AlarmRefused(Exception):  # noqa: N818 - an answer to the one who asked
    """What was asked of an alarm cannot be done; the text says why."""


class Alarms:
    """Entered to be kept in `folder`. `now_s` is Unix time, `clock` counts seconds and never goes back."""

    def __init__(
        self,
        folder: Path,
        options: AlarmsOptions | None = None,
        *,
        now_s: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options = options or AlarmsOptions()
        self._now_s, self._clock = now_s, clock
        self.journal = Journal(folder / ALARMS_FILE, events_max=options.journal_events_max)
        self._alarms: dict[str, Alarm] = {}
        self._known: dict[str, Alarm] = {}
        self._explains: dict[str, set[str]] = {}
        self._explained_by: dict[str, tuple[str, ...]] = {}
        self._ends_s: dict[str, float] = {}
        self._left_out: dict[str, Alarm] = {}
        self._chatter = Chatter(options.chatter_raises_max, options.chatter_window_s, options.chatter_hold_s)
        self._budget = Budget(options.events_per_minute_max, clock())
        self._listeners: list[AlarmListener] = []
        self._number = 0
        self._events: deque[Event] = deque()
        self._dirty: dict[str, Alarm | None] = {}  # None: over
        self._lost = 0
        self.lost_events = 0
        self._noted, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._episode = Episode(log, "alarms")

    async def __aenter__(self) -> Self:
        """Bring back what was active. OSError if the file cannot be had."""
        await self.journal.__aenter__()
        self._number = self.journal.last_number
        for alarm in await self.journal.active():
            self._alarms[alarm.id] = self._as_declared(alarm)
            if alarm.held:
                self._chatter.hold(alarm.id)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._events or self._dirty:
                await self._commit()
        except sqlite3.Error as fault:
            log.warning("alarms: %d events lost at the end: %s", len(self._events), fault)
        await self.journal.__aexit__(kind, error, trace)

    # ---------------------------------------------------------------- asking

    def active(self) -> list[Alarm]:
        """All that are not normal (also shelved, suppressed), the most urgent first, the newest of those."""
        return sorted(self._alarms.values(), key=lambda each: (each.priority.rank, -each.raised_ms, each.id))

    def get(self, name: str) -> Alarm | None:
        """The alarm `name` as it is now, None: nobody knows it."""
        return self._alarms.get(name) or self._known.get(name)

    def is_raised(self, name: str) -> bool:
        """Whether its condition holds, as far as we know."""
        alarm = self._alarms.get(name) or self._left_out.get(name)
        return alarm is not None and alarm.raised

    @property
    def known(self) -> Sequence[Alarm]:
        """Every alarm that a rule can raise, as it is now."""
        return [self._alarms.get(name, alarm) for name, alarm in self._known.items()]

    @property
    def counts(self) -> Mapping[State, int]:
        """How many are in each state but normal."""
        found = dict.fromkeys(State, 0)
        for alarm in self._alarms.values():
            found[alarm.state] += 1
        return found

    @property
    def left_out(self) -> int:
        """How many are raised, but not shown: there are too many."""
        return len(self._left_out)

    async def history(
        self, from_ms: int, to_ms: int, *, limit: int = PAGE_MAX, before: int | None = None, name: str = ""
    ) -> list[Event]:
        """Events with `from_ms` <= time < `to_ms`, newest first, at most PAGE_MAX; see Journal."""
        return await self.journal.history(from_ms, to_ms, limit=limit, before=before, name=name)

    def listen(self, listener: AlarmListener) -> Callable[[], None]:
        """Call `listener` with every change from now on; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---------------------------------------------------------------- conditions

    def declare(self, alarm: Alarm, suppressed_by: Sequence[str] = ()) -> None:
        """Make known an alarm that may come; `suppressed_by` are ids of alarms that explain it."""
        self._known[alarm.id] = alarm
        self._explained_by[alarm.id] = tuple(suppressed_by)
        for other in suppressed_by:
            self._explains.setdefault(other, set()).add(alarm.id)
        if (kept := self._alarms.get(alarm.id)) is not None:
            self._alarms[alarm.id] = self._as_declared(kept)

    def _as_declared(self, alarm: Alarm) -> Alarm:
        """`alarm` with what the configuration says of it now: it may have been changed since."""
        now = self._known.get(alarm.id, alarm)
        return replace(alarm, words=now.words, priority=now.priority, source=now.source)

    def abandon_all_but(self, watched: Collection[str]) -> None:
        """Clear what an earlier run left raised and nobody watches any more."""
        for name, alarm in tuple(self._alarms.items()):
            if alarm.raised and name not in watched:
                self._set(alarm.down(self._now_ms()), Change.CLEARED, note="nobody watches it any more")

    def raise_alarm(self, alarm: Alarm, *, value: float = NAN, detail: str = "") -> None:
        """The condition of `alarm` holds. Asking again while it does changes nothing."""
        name, now_s = alarm.id, self._clock()
        if not 0 < len(name) <= ID_CHARS_MAX:
            raise ValueError(f"an alarm's id: expected 1 to {ID_CHARS_MAX} characters, found {len(name)}")
        current = self._alarms.get(name)
        if current is not None and current.raised:
            if current.held:
                self._chatter.noticed(name, now_s, raised=True)
            return
        fresh = replace(
            current or Alarm(name, alarm.words),
            words=alarm.words,
            priority=alarm.priority,
            source=alarm.source,
        )
        fresh = fresh.up(self._now_ms(), value, detail[:TEXT_CHARS_MAX])
        if current is None and len(self._alarms) >= self._most(alarm.priority):
            self._leave_out(fresh)
            return
        self._left_out.pop(name, None)
        suppressed = any(self.is_raised(other) for other in self._explained_by.get(name, ()))
        held = self._chatter.raised(name, now_s)
        self._set(replace(fresh, held=held, suppressed=suppressed), Change.HELD if held else Change.RAISED)

    def happened(self, alarm: Alarm, *, detail: str = "", lasts_s: float = 600.0) -> None:
        """Something that has no end of its own: raised, and cleared `lasts_s` after the last time."""
        self.raise_alarm(alarm, detail=detail)
        if self.is_raised(alarm.id):  # or it was one too many
            self._ends_s[alarm.id] = self._clock() + lasts_s

    def clear(self, name: str) -> None:
        """The condition holds no longer."""
        self._left_out.pop(name, None)
        self._ends_s.pop(name, None)
        alarm = self._alarms.get(name)
        if alarm is None or not alarm.raised:
            return
        if alarm.held:
            self._chatter.noticed(name, self._clock(), raised=False)
            return
        self._set(alarm.down(self._now_ms()), Change.CLEARED)

    def say(self, name: str, raised: bool, value: float = NAN) -> None:
        """What a rule says of an alarm that was declared."""
        if raised:
            self.raise_alarm(self._known[name], value=value)
        else:
            self.clear(name)

    def tick(self) -> None:
        """To be called about once a second: what ends by time."""
        now_s, now_ms = self._clock(), self._now_ms()
        for name, end_s in tuple(self._ends_s.items()):
            if now_s >= end_s:
                self.clear(name)
        for name, alarm in tuple(self._alarms.items()):
            if alarm.held and self._chatter.is_quiet(name, now_s):
                self._set(alarm.down(now_ms), Change.CLEARED)
            elif 0 < alarm.shelved_until_ms <= now_ms:
                self._set(alarm.unshelved(), Change.UNSHELVED, note="its time is over")
        self._let_in()

    # ---------------------------------------------------------------- people

    def acknowledge(self, name: str, who: str, *, raised_ms: int | None = None) -> Alarm:
        """`who` has seen it; with `raised_ms`: unless it was raised again since. AlarmRefused: why not."""
        alarm = self._standing(name)
        if raised_ms is not None and alarm.raised_ms != raised_ms:
            raise AlarmRefused(f"{name}: it was raised again since: look at it once more")
        if alarm.hidden:
            raise AlarmRefused(f"{name}: it is {alarm.state}: there is nothing to acknowledge")
        if not alarm.unseen:
            return alarm
        return self._set(alarm.seen(self._now_ms(), who[:WHO_CHARS_MAX]), Change.ACKNOWLEDGED, who=who)

    def shelve(self, name: str, for_s: float, who: str, reason: str = "") -> Alarm:
        """Put it away for a time; it must be known, not raised. AlarmRefused says why not."""
        most_s = self._options.shelve_hours_max * 3600
        if not SHELVE_S_MIN <= for_s <= most_s:
            raise AlarmRefused(f"{name}: expected {SHELVE_S_MIN:g} to {most_s:g} s, found {for_s:g}")
        alarm = self.get(name)
        if alarm is None:
            raise AlarmRefused(f"{name}: there is no such alarm")
        if name not in self._alarms and len(self._alarms) >= self._options.active_max:
            raise AlarmRefused(f"{name}: there are too many alarms: acknowledge some first")
        until_ms = self._now_ms() + round(for_s * 1000)
        return self._set(alarm.shelved(until_ms), Change.SHELVED, who=who, note=reason)

    def unshelve(self, name: str, who: str) -> Alarm:
        """Have it back before its time. AlarmRefused if it is not shelved."""
        alarm = self._standing(name)
        if not alarm.shelved_until_ms:
            raise AlarmRefused(f"{name}: it is not shelved")
        return self._set(alarm.unshelved(), Change.UNSHELVED, who=who)

    def _standing(self, name: str) -> Alarm:
        alarm = self._alarms.get(name)
        if alarm is None:
            raise AlarmRefused(f"{name}: there is no such alarm now")
        return alarm

    # ---------------------------------------------------------------- changing

    def _now_ms(self) -> int:
        return round(self._now_s() * 1000)

    def _set(self, alarm: Alarm, change: Change, *, who: str = "", note: str = "") -> Alarm:
        before = self._alarms.get(alarm.id)
        if alarm.over:
            alarm = replace(alarm, suppressed=False)
            self._alarms.pop(alarm.id, None)
        else:
            self._alarms[alarm.id] = alarm
        self._dirty[alarm.id] = None if alarm.over else alarm
        self._note(alarm, change, who, note)
        for listener in tuple(self._listeners):
            listener(change, alarm)
        if alarm.raised != (before is not None and before.raised):
            self._explain(alarm)
        return alarm

    def _explain(self, cause: Alarm) -> None:
        """Suppress what `cause` explains, or let it be seen again."""
        for name in self._explains.get(cause.id, ()):
            alarm = self._alarms.get(name)
            wanted = any(self.is_raised(other) for other in self._explained_by[name])
            if alarm is not None and alarm.suppressed != wanted:
                change = Change.SUPPRESSED if wanted else Change.UNSUPPRESSED
                self._set(alarm.explained(suppressed=wanted), change, note=cause.id)

    def _most(self, priority: Priority) -> int:
        """How many there may be before one of `priority` must wait: what is critical finds room."""
        return self._options.active_max * (2 if priority is Priority.CRITICAL else 1)

    def _leave_out(self, alarm: Alarm) -> None:
        if alarm.id in self._left_out or len(self._left_out) < LEFT_OUT_MAX:
            self._left_out[alarm.id] = alarm
        self._too_many(f"{len(self._alarms)} active")

    def _let_in(self) -> None:
        room = self._options.active_max - len(self._alarms)
        for name in list(self._left_out)[: max(room, 0)]:
            alarm = self._left_out.pop(name)
            self.raise_alarm(alarm, value=alarm.value, detail=alarm.detail)

    def _too_many(self, detail: str) -> None:
        """The agent's own alarm about alarms, which always finds room and is never left out."""
        alarm = texts.own_alarm("flood")
        self._ends_s[alarm.id] = self._clock() + 60.0
        current = self._alarms.get(alarm.id)
        if current is None or not current.raised:
            self._set((current or alarm).up(self._now_ms(), detail=detail), Change.RAISED)

    def _note(self, alarm: Alarm, change: Change, who: str, note: str) -> None:
        self._noted.set()
        self._idle.clear()
        if len(self._events) >= EVENTS_WAITING_MAX:
            self._lose()
            return
        # The flood's own alarm is about this very limit, and must not wait for it.
        free = bool(who) or alarm.id == "agent.flood"
        if not free and not self._budget.take(alarm.priority, self._clock()):
            self._lose()
            self._too_many("more events than are written down")
            return
        self._number += 1
        who, note = who[:WHO_CHARS_MAX], note[:TEXT_CHARS_MAX]
        _log(alarm, change)
        self._events.append(Event(self._number, self._now_ms(), change, who, note, alarm))

    def _lose(self) -> None:
        self._lost += 1
        self.lost_events += 1

    # ---------------------------------------------------------------- writing

    async def run(self) -> None:
        """Write down what happens, for ever."""
        while True:
            await self._noted.wait()
            try:
                await self._commit()
                self._episode.ended()
                wait_s = COMMIT_S
            except sqlite3.Error as error:
                self._episode.failed(error)
                wait_s = RETRY_S
            if not self._events and not self._dirty:
                self._noted.clear()
                self._idle.set()
            await asyncio.sleep(wait_s)

    async def settled(self) -> None:
        """Wait until all that happened is on disk."""
        await self._idle.wait()

    async def _commit(self) -> None:
        self._say_what_is_lost()
        events = [self._events[at] for at in range(min(BATCH_MAX, len(self._events)))]
        dirty, self._dirty = self._dirty, {}
        kept = [alarm for alarm in dirty.values() if alarm is not None]
        gone = [name for name, alarm in dirty.items() if alarm is None]
        try:
            await self.journal.write(Batch(events, kept, gone))
        except sqlite3.Error:
            self._dirty = {**dirty, **self._dirty}
            raise
        for _ in events:
            self._events.popleft()

    def _say_what_is_lost(self) -> None:
        if self._lost and len(self._events) < EVENTS_WAITING_MAX:
            self._number += 1
            lost, self._lost = self._lost, 0
            flood = self._alarms.get("agent.flood") or texts.own_alarm("flood")
            self._events.append(Event(self._number, self._now_ms(), Change.LOST, "", str(lost), flood))


def _log(alarm: Alarm, change: Change) -> None:
    if alarm.hidden:
        return
    if change in (Change.RAISED, Change.HELD):
        words = f"{alarm.words.en} ({alarm.detail})" if alarm.detail else alarm.words.en
        log.warning("alarm %s %s: %s", alarm.id, change, words)
    elif change is Change.CLEARED:
        log.info("alarm %s cleared", alarm.id)
