"""New readings of the store into the book. The only place of the child that looks at readings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import NamedTuple

from agent.analysis.power_quality.limits import Limits
from agent.analysis.site.book import HALF_MS, Book
from agent.analysis.site.gather import Gatherer, HalfHours
from agent.analysis.site.plan import Plan
from agent.localtime import DAY_MS
from agent.model import Group
from agent.store.onlooker import Onlooker
from agent.store.series import Columns

SEEN, BEHIND = "seen", "behind"  # notes: what was read to its end, and how far into the present run
STEP_MS = DAY_MS  # of a long past: so much of all groups at once, then it is kept
Progress = Callable[[float, str], None]


class Wanted(NamedTuple):
    """From where on each group is read, and the newest reading of then."""

    from_ms: dict[Group, int]
    last_seq: int


class Reader:
    """Brings the book up to `now_ms`. What one run has kept, the next need not read: a run that was cut off
    goes on where it was."""

    def __init__(self, book: Book, history: Onlooker, plan: Plan, limits: Limits, now_ms: int) -> None:
        self._book, self._history, self._plan = book, history, plan
        self._limits, self._now_ms = limits, now_ms
        self._gatherers: dict[Group, Gatherer] = {}
        self.readings = 0

    def wanted(self) -> Wanted:
        """What is new since the last run; of the first run all of the last `backfill_days`."""
        seen, behind = self._book.note(SEEN) or 0, self._book.note(BEHIND)
        found = self._history.news(seen)
        if found.last_seq < max(seen, behind["seq"] if behind else 0):
            # Another store: a broken one was replaced, or the readings are in memory for now.
            behind, found = None, self._history.news(0)
        later = self._history.news(behind["seq"]).from_ms if behind else {}
        oldest_ms = self._now_ms - self._plan.backfill_days * DAY_MS
        named = {(group.device, group.name) for group in self._plan.groups}
        from_ms: dict[Group, int] = {}
        for group, earliest_ms in found.from_ms.items():
            time_ms = earliest_ms
            if behind:  # up to there it was read, but for what came since
                time_ms = min(max(time_ms, behind["until_ms"]), later.get(group, self._now_ms))
            if time_ms < self._now_ms and _name(group) in named:
                from_ms[group] = max(time_ms, oldest_ms) // HALF_MS * HALF_MS
        return Wanted(from_ms, found.last_seq)

    async def read(self, progress: Progress) -> None:
        """All of it, a day at a time."""
        asked = self.wanted()
        first_ms = min(asked.from_ms.values(), default=self._now_ms)
        begins = range(first_ms // STEP_MS * STEP_MS, self._now_ms, STEP_MS)
        for at, begin_ms in enumerate(begins):
            progress(at / len(begins), f"day {at + 1} of {len(begins)}")
            until_ms = min(begin_ms + STEP_MS, self._now_ms)
            self._book.begin()
            await self._step(asked, (max(begin_ms, first_ms), until_ms))
            self._book.put_note(BEHIND, {"seq": asked.last_seq, "until_ms": until_ms})
            self._book.commit()
        self._book.begin()
        self._book.put_note(SEEN, asked.last_seq)
        self._book.put_note(BEHIND, None)
        self._book.commit()

    async def _step(self, asked: Wanted, period_ms: tuple[int, int]) -> None:
        points = {
            point
            for group, from_ms in asked.from_ms.items()
            if from_ms < period_ms[1]
            for point in group.point_ids
        }
        halves = HalfHours()
        of: Group | None = None
        async with aclosing(self._history.columns(list(points), *period_ms)) as parts:
            async for part in parts:
                if part.group is not of:
                    self._end(halves, of)
                    halves, of = HalfHours(), part.group
                if part.group in asked.from_ms:
                    self._take(halves, part, asked.from_ms[part.group])
        self._end(halves, of)

    def _take(self, halves: HalfHours, part: Columns, from_ms: int) -> None:
        if part.time_ms[-1] < from_ms:
            return
        late = part.time_ms >= from_ms
        whole = bool(late.all())
        times_ms, values = (part.time_ms, part.values) if whole else (part.time_ms[late], part.values[late])
        self.readings += times_ms.size
        gatherer = self._gatherer(part)
        for half in halves.add(times_ms, values):
            gatherer.take(half)

    def _end(self, halves: HalfHours, group: Group | None) -> None:
        if group is not None:
            for half in halves.rest():
                self._gatherers[group].take(half)

    def _gatherer(self, part: Columns) -> Gatherer:
        if part.group not in self._gatherers:
            device, name = _name(part.group)
            group = next(each for each in self._plan.groups if (each.device, each.name) == (device, name))
            points = [point.partition(".")[2] for point in part.points]
            made = self._gatherers[part.group] = Gatherer(self._book, group, points, self._limits)
            for meter in self._plan.meters:
                if meter.device == device:
                    made.of_meter(meter)
        return self._gatherers[part.group]


def _name(group: Group) -> tuple[str, str]:
    return group.device.name, group.name
