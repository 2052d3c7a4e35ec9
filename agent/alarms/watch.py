"""The rules at work: looks at what is published, and at the clock, and tells which alarms come and go.

Rules.
1. `heard` is a Hub listener: a reading that no rule looks at costs one look into a dict.
2. Only the present counts: a reading that a module delivers late is history and raises nothing.
3. A rule finds its points when a reading of theirs comes: devices may be added while the agent runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from agent.alarms import conditions, texts
from agent.alarms.alarm import Alarm, Priority
from agent.alarms.conditions import Condition, Delay
from agent.alarms.rules import (
    EXTREMES,
    DeviationRule,
    ExpressionRule,
    LimitRule,
    RateRule,
    Rule,
    StaleRule,
    StateRule,
)
from agent.model import NAN, Group, Quality, Reading

GROUPS_MAX = 20_000  # known by heart; a line that is started anew brings new ones

Say = Callable[[str, bool, float], None]


class Watched(NamedTuple):
    """One alarm of a rule: what it is, and by what it is suppressed."""

    alarm: Alarm
    suppressed_by: tuple[str, ...]


class _Work:
    """One alarm, its condition, and what is known of its points."""

    __slots__ = ("after_s", "alarm", "condition", "delay", "heard_s", "points", "values")

    def __init__(self, alarm: Alarm, rule: Rule, condition: Condition | None, *, raised: bool) -> None:
        self.alarm, self.points = alarm, rule.points
        self.condition, self.values = condition, [NAN] * len(rule.points)
        self.after_s = rule.after_s if isinstance(rule, StaleRule) else math.inf
        self.delay = Delay(rule.on_delay_s, rule.off_delay_s, raised=raised)
        self.heard_s = 0.0

    def says(self, time_ms: int, now_s: float) -> bool | None:
        if self.condition is None:
            return now_s - self.heard_s > self.after_s
        return self.condition(self.values, time_ms, self.delay.raised)


_Places = tuple[tuple[int, int], ...]


class Watch:
    """`say(id, raised, value)` is told of each change; `raised(id)` says which alarms an earlier run left.

    `latest` is the Hub's image; `clock` counts seconds and never goes back.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        latest: Mapping[Group, Reading],
        say: Say,
        *,
        raised: Callable[[str], bool] = lambda _id: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._latest, self._say, self._clock = latest, say, clock
        self._works = [work for rule in rules for work in _works(rule, raised)]
        self._by_device: dict[str, list[_Work]] = {}
        for work in self._works:
            work.heard_s = -math.inf if work.delay.raised else clock()
            for device in {point.partition(".")[0] for point in work.points}:
                self._by_device.setdefault(device, []).append(work)
        self._by_group: dict[Group, tuple[tuple[_Work, _Places], ...]] = {}
        self._stale = [work for work in self._works if work.condition is None]
        self._waiting: dict[str, _Work] = {}

    def heard(self, readings: Sequence[Reading]) -> None:
        """A Hub listener."""
        for reading in readings:
            works = self._by_group.get(reading.group)
            if works is None:
                works = self._find(reading.group)
            if works and self._latest.get(reading.group) is reading:
                self._look(works, reading)

    def tick(self) -> None:
        """To be called about twice a second: delays that end, points that nobody hears of."""
        now_s = self._clock()
        for work in self._stale:
            self._step(work, work.says(0, now_s), now_s)
        for work in tuple(self._waiting.values()):
            if work.condition is not None:
                # What was said last still holds; a condition is not asked twice about one reading.
                self._step(work, not work.delay.raised, now_s)

    def _find(self, group: Group) -> tuple[tuple[_Work, _Places], ...]:
        if len(self._by_group) >= GROUPS_MAX:
            self._by_group.clear()
        names = group.point_ids
        found = []
        for work in self._by_device.get(group.device.name, ()):
            places = tuple((at, names.index(point)) for at, point in enumerate(work.points) if point in names)
            if places:
                found.append((work, places))
        self._by_group[group] = tuple(found)
        return self._by_group[group]

    def _look(self, works: tuple[tuple[_Work, _Places], ...], reading: Reading) -> None:
        now_s, known = self._clock(), reading.quality is not Quality.BAD
        for work, places in works:
            for at, column in places:
                value = reading.values[column] if known else NAN
                work.values[at] = value if math.isfinite(value) else NAN
            if work.condition is None and not math.isnan(work.values[0]):
                work.heard_s = now_s
            self._step(work, work.says(reading.time_ms, now_s), now_s)

    def _step(self, work: _Work, says: bool | None, now_s: float) -> None:
        changed, delay, name = work.delay.step(says, now_s), work.delay, work.alarm.id
        if changed:
            self._say(name, delay.raised, work.values[0] if len(work.values) == 1 else NAN)
        if delay.waiting:
            self._waiting[name] = work
        elif self._waiting:
            self._waiting.pop(name, None)


def watched(rules: Sequence[Rule]) -> Iterator[Watched]:
    """Every alarm that `rules` can raise."""
    for rule in rules:
        for alarm, _ in _alarms(rule):
            yield Watched(alarm, tuple(rule.suppressed_by))


def _works(rule: Rule, raised: Callable[[str], bool]) -> Iterator[_Work]:
    for alarm, condition in _alarms(rule):
        yield _Work(alarm, rule, condition, raised=raised(alarm.id))


def _alarms(rule: Rule) -> Iterator[tuple[Alarm, Condition | None]]:
    """The alarms of `rule`, each with its condition; None: it is stale."""
    if isinstance(rule, LimitRule):
        for level, name in zip(rule.limits, rule.ids, strict=True):
            priority = rule.extreme_priority if level in EXTREMES else rule.priority
            words = texts.of_limit(rule, level)
            yield Alarm(name, words, priority, rule.point), conditions.limit(rule, level)
        return
    yield _alarm(rule, rule.priority), _condition(rule)


def _alarm(rule: Rule, priority: Priority) -> Alarm:
    return Alarm(rule.name, texts.of_rule(rule), priority, ", ".join(rule.points)[:200])


def _condition(rule: Rule) -> Condition | None:
    if isinstance(rule, RateRule):
        return conditions.Rate(rule)
    if isinstance(rule, DeviationRule):
        return conditions.deviation(rule)
    if isinstance(rule, StateRule):
        return conditions.state(rule)
    return conditions.expression(rule) if isinstance(rule, ExpressionRule) else None
