"""When a job is due: every so often, by a cron expression, or once. Pure; times are Unix milliseconds UTC.

Rules on days when the clock changes (a cron expression is in local time).
1. Where the hour is `*`, runs follow real time: an hour that comes twice has its runs twice.
2. Otherwise a time that comes twice has its run the first time only, and a time that the clock skips has it
   at the first instant after the gap. A day never goes without its daily run, and never has two.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, Protocol

from apscheduler.triggers.cron import CronTrigger

CATCH_UP_MAX = 100
GRACE_MS = 60_000  # later than this is missed
SHIFT_MAX = timedelta(hours=4)  # no zone changes its clock by more
FIRST_SPAN_MS = 60_000

Missed = Literal["once", "all", "skip"]


class Schedule(Protocol):
    """`after(ms)`: the first instant it is due later than `ms`; None: never again."""

    def after(self, time_ms: int) -> int | None: ...


class Every:
    """At whole multiples of `step_s` since 1970 and `late_s` more, so that a restart changes nothing."""

    def __init__(self, step_s: float, late_s: float = 0.0) -> None:
        self._step_ms, self._late_ms = round(step_s * 1000), round(late_s * 1000)

    def after(self, time_ms: int) -> int | None:
        return ((time_ms - self._late_ms) // self._step_ms + 1) * self._step_ms + self._late_ms


class Once:
    """At one instant."""

    def __init__(self, at: datetime, zone: tzinfo) -> None:
        self._at_ms = _instant_ms(at.replace(tzinfo=None), zone) if at.tzinfo is None else _ms(at)

    def after(self, time_ms: int) -> int | None:
        return self._at_ms if self._at_ms > time_ms else None


class Cron:
    """`minute hour day month weekday` in local time. ValueError: what is wrong with `text`."""

    def __init__(self, text: str, zone: tzinfo) -> None:
        fields = text.split()
        if len(fields) != 5:
            raise ValueError(f"expected five fields, minute hour day month weekday, found {len(fields)}")
        if re.search(r"\d", fields[4]):
            raise ValueError(f"expected weekdays by name, like mon-fri, found {fields[4]!r}")
        self._by_real_time = fields[1] == "*"
        self._zone = zone
        self._trigger = _trigger(text, zone if self._by_real_time else UTC)

    def after(self, time_ms: int) -> int | None:
        if self._by_real_time:
            # Whole seconds: adding to a local time would forget which of two equal hours it is in.
            start = datetime.fromtimestamp(time_ms // 1000 + 1, self._zone)
            found = self._trigger.get_next_fire_time(None, start)
            return None if found is None else _ms(found)
        # The trigger counts on a clock without changes, which shows what the wall clock here shows.
        wall = datetime.fromtimestamp(time_ms / 1000, self._zone).replace(tzinfo=UTC, fold=0) - SHIFT_MAX
        while (found := self._trigger.get_next_fire_time(None, wall)) is not None:
            if (instant_ms := _instant_ms(found.replace(tzinfo=None), self._zone)) > time_ms:
                return instant_ms
            wall = found + _JUST_AFTER
        return None


_JUST_AFTER = timedelta(milliseconds=1)


def _trigger(text: str, zone: tzinfo) -> CronTrigger:
    try:
        return CronTrigger.from_crontab(text, timezone=zone)
    except ValueError as error:
        raise ValueError(f"expected a cron expression like '30 2 * * mon-fri': {error}") from error


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _instant_ms(wall: datetime, zone: tzinfo) -> int:
    """When the clock in `zone` first shows `wall`, or has just skipped it."""
    late_ms, early_ms = (_ms(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if early_ms >= late_ms:  # it exists, perhaps twice
        return late_ms
    before = datetime.fromtimestamp(early_ms / 1000, zone).utcoffset()
    while late_ms - early_ms > 1:
        middle_ms = (early_ms + late_ms) // 2
        if datetime.fromtimestamp(middle_ms / 1000, zone).utcoffset() == before:
            early_ms = middle_ms
        else:
            late_ms = middle_ms
    return late_ms


def due_ms(schedule: Schedule, last_ms: int, now_ms: int, missed: Missed) -> list[int]:
    """What to run for now, oldest first, at most CATCH_UP_MAX: instants in (`last_ms`, `now_ms`].

    `missed` says what becomes of those that passed while nobody could run them: "once": one run for the last
    of them, "all": one for each, "skip": none.
    """
    found = _latest(schedule, last_ms, now_ms, CATCH_UP_MAX if missed == "all" else 1)
    if missed == "skip":
        return [each for each in found if each > now_ms - GRACE_MS]
    return found


def _latest(schedule: Schedule, last_ms: int, now_ms: int, most: int) -> list[int]:
    """The last `most` of them; looked for backwards, or a year of missed minutes would take its time."""
    span_ms = FIRST_SPAN_MS
    while True:
        start_ms = max(last_ms, now_ms - span_ms)
        found: deque[int] = deque(maxlen=most)
        at_ms = schedule.after(start_ms)
        while at_ms is not None and at_ms <= now_ms:
            found.append(at_ms)
            at_ms = schedule.after(at_ms)
        if start_ms == last_ms or len(found) == most:
            return list(found)
        span_ms *= 2
