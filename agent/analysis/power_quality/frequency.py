"""Frequency against PRODIST 8: how long it was where, and how long at a stretch, chunk by chunk.

Each reading stands for the time until the next one, at most `GAP_PERIODS` periods: what comes after a gap
is not known, and a gap ends every stretch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agent.analysis.power_quality.limits import FrequencyLimits, Limits
from agent.analysis.power_quality.watch import GAP_PERIODS
from agent.localtime import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Excursion:
    """Time beyond one limit. `within`: whether no stretch was longer than allowed (None: no such rule)."""

    name: str
    total_s: float
    longest_s: float
    longest_s_max: float | None

    @property
    def within(self) -> bool | None:
        """Equal is kept."""
        return None if self.longest_s_max is None else self.longest_s <= self.longest_s_max


@dataclass(frozen=True, slots=True)
class FrequencyWatch:
    """Sums so far; begin with `FrequencyWatch()`."""

    last_ms: int = 0
    last_hz: float = float("nan")
    seen_s: float = 0.0
    low_hz: float = float("nan")
    high_hz: float = float("nan")
    total_s: dict[str, float] = field(default_factory=dict)
    stretch_s: dict[str, float] = field(default_factory=dict)
    longest_s: dict[str, float] = field(default_factory=dict)


def watch_frequency(
    state: FrequencyWatch, times_ms: Ints, frequency_hz: Floats, period_ms: float, limits: Limits
) -> FrequencyWatch:
    """The sums after a chunk (n,) of readings in order."""
    known = ~np.isnan(frequency_hz)
    if not known.any():
        return state
    times = np.concatenate([[state.last_ms], times_ms[known]]) if state.last_ms else times_ms[known]
    values = np.concatenate([[state.last_hz], frequency_hz[known]]) if state.last_ms else frequency_hz[known]
    gaps_s = np.diff(times) / 1000
    broken = gaps_s > GAP_PERIODS * period_ms / 1000
    held_s = np.where(broken, period_ms / 1000, gaps_s)
    total, stretch, longest = dict(state.total_s), dict(state.stretch_s), dict(state.longest_s)
    for name, beyond in _beyond(values[:-1], limits.frequency).items():
        total[name] = total.get(name, 0.0) + float(held_s[beyond].sum())
        stretch[name], most = _longest(beyond, held_s, broken, stretch.get(name, 0.0))
        longest[name] = max(longest.get(name, 0.0), most)
    return FrequencyWatch(
        int(times[-1]),
        float(values[-1]),
        state.seen_s + float(held_s.sum()),
        float(np.fmin(state.low_hz, values.min())),
        float(np.fmax(state.high_hz, values.max())),
        total,
        stretch,
        longest,
    )


def _beyond(frequency_hz: Floats, rules: FrequencyLimits) -> dict[str, Bools]:
    """Who is beyond what; a value equal to a limit is inside."""
    outside = {
        "steady": (frequency_hz < rules.steady_hz[0]) | (frequency_hz > rules.steady_hz[1]),
        "disturbed": (frequency_hz < rules.disturbed_hz[0]) | (frequency_hz > rules.disturbed_hz[1]),
        "extreme": (frequency_hz < rules.extreme_hz[0]) | (frequency_hz > rules.extreme_hz[1]),
    }
    outside |= {f"above_{step.hz:g}_hz": frequency_hz > step.hz for step in rules.high}
    return outside | {f"below_{step.hz:g}_hz": frequency_hz < step.hz for step in rules.low}


def _longest(beyond: Bools, held_s: Floats, broken: Bools, carried_s: float) -> tuple[float, float]:
    """The stretch still running at the end, and the longest of all, the one carried in included."""
    if not beyond.size:
        return carried_s, carried_s
    if not beyond.any():
        return 0.0, carried_s
    fresh = ~beyond | np.concatenate([[False], broken[:-1]])
    time_s = np.cumsum(np.where(beyond, held_s, 0.0)) + carried_s
    base = np.where(fresh, time_s - np.where(beyond, held_s, 0.0), 0.0)
    running = np.where(beyond, time_s - np.maximum.accumulate(base), 0.0)
    ends_open = bool(beyond[-1]) and not bool(broken[-1])
    return (float(running[-1]) if ends_open else 0.0), max(carried_s, float(running.max()))


def excursions(state: FrequencyWatch, limits: Limits) -> tuple[Excursion, ...]:
    """What the sums say: "steady" has no longest stretch, "disturbed" must be over in 30 s, the steps have
    their own, and "extreme" must not be at all."""
    rules = limits.frequency
    allowed: dict[str, float | None] = {
        "steady": None,
        "disturbed": rules.recovery_s_max,
        "extreme": 0.0,
        **{f"above_{step.hz:g}_hz": step.s_max for step in rules.high},
        **{f"below_{step.hz:g}_hz": step.s_max for step in rules.low},
    }
    return tuple(
        Excursion(name, state.total_s.get(name, 0.0), state.longest_s.get(name, 0.0), most)
        for name, most in allowed.items()
    )
