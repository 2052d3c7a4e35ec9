from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from agent.analysis.power_quality.events import (
    Event,
    EventKind,
    Source,
    flagged,
    from_register,
    ieee_1159_class,
    prodist_class,
)
from agent.analysis.power_quality.limits import limits_on
from agent.analysis.power_quality.unseen import Sight, unseen
from agent.analysis.power_quality.watch import watch

LIMITS = limits_on(date(2026, 3, 1))
BEGIN_MS = 1_772_323_200_000
SAG, SWELL, GONE = EventKind.SAG, EventKind.SWELL, EventKind.INTERRUPTION


def seen(
    pu: np.ndarray, cuts: tuple[int, ...] = (), times_ms: np.ndarray | None = None
) -> tuple[list[Event], tuple[Event, ...]]:
    """All events of per-unit voltages a second apart, and those that have not ended."""
    pu = pu if pu.ndim == 2 else pu[:, None]
    times_ms = BEGIN_MS + np.arange(len(pu)) * 1000 if times_ms is None else times_ms
    state, found = None, []
    for begin, end in zip((0, *cuts), (*cuts, len(pu)), strict=True):
        state, events = watch(
            state, times_ms[begin:end], pu[begin:end] * 220, 1000, declared_v=220.0, rules=LIMITS.events
        )
        found += events
    assert state is not None
    found.sort(key=lambda each: (each.start_ms, each.kind))  # a chunk gives what ended in it
    return found, state.pending


def brief(events: list[Event]) -> list[tuple[EventKind, float, float, float, bool]]:
    return [
        (each.kind, (each.start_ms - BEGIN_MS) / 1000, each.duration_s, round(each.extreme_pu, 3), each.cut)
        for each in events
    ]


def line(*stretches: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(seconds, pu) for pu, seconds in stretches])


@pytest.mark.parametrize(
    ("pu", "expected"),
    [
        (line((1, 5), (0.5, 3), (1, 5)), [(SAG, 5, 3, 0.5, False)]),
        (line((1, 5), (0.05, 2), (1, 5)), [(GONE, 5, 2, 0.05, False)]),
        (line((1, 5), (1.2, 1), (1, 5)), [(SWELL, 5, 1, 1.2, False)]),
        (line((1, 5), (0.9, 3), (1.1, 3), (1, 5)), []),  # on the limit is inside
        (line((1, 5), (0.89, 2), (0.91, 2), (0.89, 1), (0.92, 2)), [(SAG, 5, 5, 0.89, False)]),  # hysteresis
        (line((1, 5), (0.1, 2), (1, 5)), [(SAG, 5, 2, 0.1, False)]),  # 0.1 is still a sag
        (line((1, 5), (0.5, 2), (np.nan, 3), (1, 5)), [(SAG, 5, 2, 0.5, True)]),
        (line((1, 5), (np.nan, 3), (0.5, 2), (1, 5)), [(SAG, 8, 2, 0.5, True)]),
        (line((1, 5), (np.nan, 30), (1, 5)), []),  # silence is no event
        (
            line((0.5, 2), (1, 3), (1.3, 2), (1, 1), (0.02, 4), (1, 2)),
            [(SAG, 0, 2, 0.5, False), (SWELL, 5, 2, 1.3, False), (GONE, 8, 4, 0.02, False)],
        ),
    ],
)
def test_by_hand_and_cut_anywhere(pu: np.ndarray, expected: list[tuple[object, ...]]) -> None:
    assert brief(seen(pu)[0]) == expected
    for cut in range(1, len(pu)):
        assert brief(seen(pu, (cut,))[0]) == expected
    assert brief(seen(pu, tuple(range(1, len(pu))))[0]) == expected


def test_phases_together_are_one_event() -> None:
    pu = np.ones((20, 3))
    pu[5:8, 0], pu[7:12, 1], pu[15, 2] = 0.7, 0.6, 0.05
    first, second = seen(pu)[0]
    assert (first.phases, first.duration_s, first.extreme_pu) == ((0, 1), 7, 0.6)
    assert (second.kind, second.phases) == (GONE, (2,))


def test_what_has_not_ended_is_pending() -> None:
    ended, pending = seen(line((1, 5), (0.5, 10)), (8,))
    assert ended == []
    assert (pending[0].duration_s, pending[0].extreme_pu) == (10, 0.5)


def test_a_gap_in_time_cuts_an_event() -> None:
    times_ms = BEGIN_MS + np.array([0, 1000, 2000, 60_000, 61_000])
    found, _ = seen(np.array([1.0, 0.5, 0.5, 0.5, 1.0]), (), times_ms)
    assert brief(found) == [(SAG, 1, 2, 0.5, True), (SAG, 60, 1, 0.5, True)]
    late = BEGIN_MS + np.array([0, 1000, 3000, 4000])  # one lost poll is no gap
    assert brief(seen(np.array([1.0, 0.5, 0.5, 1.0]), (), late)[0]) == [(SAG, 1, 3, 0.5, False)]


def slowly(pu: np.ndarray) -> list[tuple[int, int, float]]:
    """Sags of one phase by a loop over the readings: first, first back, worst. A lost reading is passed
    over, two in a row end what was there."""
    found: list[tuple[int, int, float]] = []
    known = [(at, value) for at, value in enumerate(pu.tolist()) if not math.isnan(value)]
    begin, worst, before, out = -1, 1.0, 0, False
    for at, value in known:
        if at - before > 2 and begin >= 0:
            found.append((begin, before + 1, worst))
            begin = -1
        out = value < 0.9 or (out and value < 0.92)
        if out:
            begin, worst = (at, value) if begin < 0 else (begin, min(worst, value))
        elif begin >= 0:
            found.append((begin, at, worst))
            begin = -1
        before = at
    return found


def test_against_a_loop_over_the_readings() -> None:
    chance = np.random.default_rng(5)
    pu = np.clip(0.95 + 0.05 * np.cumsum(chance.normal(0, 0.3, 5000)) % 0.3 - 0.1, 0.2, 1.05)
    pu[chance.random(5000) < 0.05] = np.nan
    found, _ = seen(pu, tuple(range(37, 5000, 37)))
    ours = [
        ((each.start_ms - BEGIN_MS) // 1000, (each.end_ms - BEGIN_MS) // 1000, each.extreme_pu)
        for each in found
        if each.kind != SWELL
    ]
    assert len(ours) > 50
    assert ours == [(begin, end, pytest.approx(worst)) for begin, end, worst in slowly(pu)]


@pytest.mark.parametrize("seed", range(20))
def test_three_phases_cut_at_random_are_the_same(seed: int) -> None:
    chance = np.random.default_rng(seed)
    pu = 1 + 0.12 * np.cumsum(chance.normal(0, 0.5, (300, 3)), axis=0) % 0.6 - 0.3
    pu[chance.random(pu.shape) < 0.1] = np.nan
    pu[chance.random(300) < 0.1] = np.nan
    times_ms = BEGIN_MS + np.cumsum(chance.choice([1000, 1100, 5000], 300, p=[0.9, 0.08, 0.02]))
    cuts = tuple(sorted(chance.integers(0, 301, 25).tolist()))
    whole, pending = seen(pu, (), times_ms)
    assert seen(pu, cuts, times_ms) == (whole, pending)
    assert len(whole) > 5
    assert all(each.start_ms < each.end_ms for each in whole)


@pytest.mark.parametrize(
    ("kind", "duration_s", "prodist", "ieee"),
    [
        (SAG, 0.3, "momentary_sag", "instantaneous_sag"),
        (SAG, 0.5, "momentary_sag", "instantaneous_sag"),
        (SAG, 3.0, "momentary_sag", "momentary_sag"),
        (SWELL, 3.001, "temporary_swell", "temporary_swell"),
        (SAG, 60.0, "temporary_sag", "temporary_sag"),
        (SAG, 60.001, "temporary_sag", "undervoltage"),
        (SWELL, 179.999, "temporary_swell", "overvoltage"),
        (SAG, 180.0, "long_sag", "undervoltage"),
        (GONE, 0.3, "momentary_interruption", "momentary_interruption"),
        (GONE, 200.0, "long_interruption", "sustained_interruption"),
    ],
)
def test_both_classifications(kind: EventKind, duration_s: float, prodist: str, ieee: str) -> None:
    event = Event(kind, 0, round(duration_s * 1000), 0.5, (0,))
    assert (prodist_class(event, LIMITS), ieee_1159_class(event, LIMITS)) == (prodist, ieee)


def test_the_meters_own_register() -> None:
    found = list(from_register([0, 1000, 2000, 3000], [0.05, 0.2, 70, 1], [0.7, 1.2, 0.0, 0.95], LIMITS))
    assert [(each.kind, each.duration_s) for each in found] == [(SAG, 0.05), (SWELL, 0.2), (GONE, 70)]
    assert all(each.source == Source.METER for each in found)


def test_which_intervals_are_flagged() -> None:
    start_ms = BEGIN_MS + np.arange(6) * 600_000

    def flags(kind: EventKind, from_s: float, to_s: float) -> list[int]:
        event = Event(kind, BEGIN_MS + round(from_s * 1000), BEGIN_MS + round(to_s * 1000), 0.5, (0,))
        return np.flatnonzero(flagged(start_ms, [event], LIMITS)).tolist()

    assert flags(SAG, 10, 12) == [0]
    assert flags(SAG, 599, 601) == [0, 1]
    assert flags(SWELL, 598, 600) == [0]  # ended on the boundary
    assert flags(SAG, 600, 600) == [1]
    assert flags(SAG, 100, 100 + 179.9) == [0]
    assert flags(SAG, 100, 1900) == []  # a long undervoltage is what DRC is there to count
    assert flags(GONE, 100, 1900) == [0, 1, 2, 3]
    assert flags(GONE, -900, -300) == []


def test_what_is_not_seen_is_said() -> None:
    said = [each.en for each in unseen(Sight(period_s=1.0))]
    assert any("shorter than 1 s" in each for each in said)
    assert any("no legal measurement" in each for each in said)
    assert any("taken at 120°" in each for each in said)
    better = Sight(0.2, has_event_register=True, has_harmonics=True, has_line_voltages=True)
    assert len(unseen(better)) == 2
    assert any("DTTp" in each.pt for each in unseen(Sight(1.0, has_thd=True)))
