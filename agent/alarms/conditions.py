"""Whether what a rule looks for is there: yes, no, or None: it cannot be known. No I/O.

Rules.
1. A value that is not available (NaN, a bad reading) makes no alarm and ends none: that is for stale rules.
2. `raised` is whether the alarm is raised already: then the value must come back by the hysteresis.
3. A delay counts from the first yes (or no) without another answer in between. "Not known" starts it anew.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from agent.alarms.expression import parse
from agent.alarms.rules import DeviationRule, ExpressionRule, LimitRule, RateRule, StateRule

SAMPLES_PER_WINDOW = 32

# values of the rule's points, the time of the reading in ms, whether the alarm is raised
Condition = Callable[[Sequence[float], int, bool], bool | None]


def high(limit: float, hysteresis: float) -> Condition:
    """Above `limit`."""

    def condition(values: Sequence[float], _time_ms: int, raised: bool) -> bool | None:
        value = values[0]
        return None if math.isnan(value) else value > (limit - hysteresis if raised else limit)

    return condition


def low(limit: float, hysteresis: float) -> Condition:
    """Below `limit`."""

    def condition(values: Sequence[float], _time_ms: int, raised: bool) -> bool | None:
        value = values[0]
        return None if math.isnan(value) else value < (limit + hysteresis if raised else limit)

    return condition


def limit(rule: LimitRule, level: str) -> Condition:
    """One of the four limits of `rule`."""
    return (high if level.startswith("high") else low)(rule.limits[level], rule.hysteresis)


def deviation(rule: DeviationRule) -> Condition:
    above = high(rule.most, rule.hysteresis)
    return lambda values, time_ms, raised: above((abs(values[0] - values[1]),), time_ms, raised)


def state(rule: StateRule) -> Condition:
    wanted = frozenset(rule.states)
    return lambda values, _time_ms, _raised: None if math.isnan(values[0]) else values[0] in wanted


def expression(rule: ExpressionRule) -> Condition:
    evaluate = parse(rule.when).evaluate

    def condition(values: Sequence[float], _time_ms: int, _raised: bool) -> bool | None:
        found = evaluate(values)
        return None if math.isnan(found) else bool(found)

    return condition


class Rate:
    """Change per second, between the newest value and the oldest in the window, once it spans half of it."""

    def __init__(self, rule: RateRule) -> None:
        self._per_s, self._window_ms = rule.per_s, rule.window_s * 1000
        self._samples: deque[tuple[int, float]] = deque(maxlen=2 * SAMPLES_PER_WINDOW)

    def __call__(self, values: Sequence[float], time_ms: int, _raised: bool) -> bool | None:
        value = values[0]
        if math.isnan(value):
            return None
        samples = self._samples
        if samples and time_ms < samples[-1][0]:
            samples.clear()  # the clock was set: these distances mean nothing
        while samples and time_ms - samples[0][0] > self._window_ms:
            samples.popleft()
        # A few samples of the window are enough: a fast meter must not fill the memory.
        if not samples or time_ms - samples[-1][0] >= self._window_ms / SAMPLES_PER_WINDOW:
            samples.append((time_ms, value))
        then_ms, then = samples[0]
        if time_ms - then_ms < self._window_ms / 2:
            return None
        per_s = (value - then) / (time_ms - then_ms) * 1000
        return per_s > self._per_s if self._per_s > 0 else per_s < self._per_s


class Delay:
    """From what a condition says now to whether the alarm is raised. Times in s, monotonic."""

    __slots__ = ("_off_s", "_on_s", "_since_s", "raised")

    def __init__(self, on_s: float, off_s: float, *, raised: bool = False) -> None:
        self._on_s, self._off_s, self.raised = on_s, off_s, raised
        self._since_s: float | None = None

    @property
    def waiting(self) -> bool:
        """Whether time alone will change something."""
        return self._since_s is not None

    def step(self, says: bool | None, now_s: float) -> bool:
        """Whether `raised` has just changed."""
        if says is None or says == self.raised:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < (self._on_s if says else self._off_s):
            return False
        self.raised, self._since_s = says, None
        return True
