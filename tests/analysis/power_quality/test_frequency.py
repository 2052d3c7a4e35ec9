from __future__ import annotations

import itertools
import math
from datetime import date

import numpy as np
import pytest

from agent.analysis.power_quality.frequency import Excursion, FrequencyWatch, excursions, watch_frequency
from agent.analysis.power_quality.limits import limits_on

LIMITS = limits_on(date(2026, 3, 1))
BEGIN_MS = 1_772_323_200_000


def found(hz: np.ndarray, cuts: tuple[int, ...] = (), times_ms: np.ndarray | None = None) -> FrequencyWatch:
    times_ms = BEGIN_MS + np.arange(len(hz)) * 1000 if times_ms is None else times_ms
    state = FrequencyWatch()
    for begin, end in zip((0, *cuts), (*cuts, len(hz)), strict=True):
        state = watch_frequency(state, times_ms[begin:end], hz[begin:end], 1000, LIMITS)
    return state


def by_name(state: FrequencyWatch) -> dict[str, Excursion]:
    return {each.name: each for each in excursions(state, LIMITS)}


HZ = np.array([60.0] * 10 + [59.4] * 31 + [60.0] * 10 + [62.1] * 5 + [60.0] * 5 + [59.9, 60.1, 60.0])


@pytest.mark.parametrize("cuts", [(), (5, 20, 21, 50), tuple(range(1, 60))])
def test_by_hand(cuts: tuple[int, ...]) -> None:
    state = found(HZ, cuts)
    said = by_name(state)
    assert (state.seen_s, state.low_hz, state.high_hz) == (len(HZ) - 1, 59.4, 62.1)
    assert (said["steady"].total_s, said["steady"].within) == (36, None)
    assert (said["disturbed"].longest_s, said["disturbed"].within) == (31, False)
    assert (said["above_62_hz"].longest_s, said["above_62_hz"].within) == (5, True)
    assert (said["extreme"].total_s, said["extreme"].within) == (0, True)
    assert said["below_58.5_hz"].total_s == 0


def test_30_seconds_are_well() -> None:
    said = by_name(found(np.array([60.0] * 3 + [59.4] * 30 + [60.0] * 3)))
    assert (said["disturbed"].longest_s, said["disturbed"].within) == (30, True)


def test_a_gap_ends_a_stretch_and_is_not_counted() -> None:
    times_ms = BEGIN_MS + np.array([0, 1, 2, 100, 101, 102]) * 1000
    for cuts in ((), (3,), (2, 4)):
        state = found(np.array([59.0, 59, 59, 59, 59, 60]), cuts, times_ms)
        said = by_name(state)
        assert (state.seen_s, said["disturbed"].total_s, said["disturbed"].longest_s) == (5, 5, 3)


def test_against_a_loop() -> None:
    chance = np.random.default_rng(6)
    hz = 60 + 0.3 * np.sin(np.arange(3000) / 50) + chance.normal(0, 0.05, 3000)
    hz[chance.random(3000) < 0.02] = np.nan
    known = [(at, value) for at, value in enumerate(hz.tolist()) if not math.isnan(value)]
    total, longest, run = 0.0, 0.0, 0.0
    for (at, value), (following, _) in itertools.pairwise(known):
        held = following - at if following - at <= 2 else 1
        out = not 59.9 <= value <= 60.1
        run = run + held if out else 0.0
        total += held if out else 0.0
        longest = max(longest, run)
        if following - at > 2:
            run = 0.0
    said = by_name(found(hz, tuple(range(111, 3000, 111))))["steady"]
    assert (said.total_s, said.longest_s) == (pytest.approx(total), pytest.approx(longest))


def test_nothing_known_changes_nothing() -> None:
    state = FrequencyWatch()
    assert watch_frequency(state, np.array([BEGIN_MS]), np.array([np.nan]), 1000, LIMITS) is state
