from __future__ import annotations

import math

import numpy as np
import pytest

from agent.analysis.anomaly import (
    INTERVAL_MS,
    PER_DAY,
    Fault,
    Normal,
    Scores,
    drift,
    findings,
    learn,
    resets,
    scores,
)
from bench import detection as bench

BEGIN_MS = 1_772_323_200_000
LEARN, JUDGE = 28 * PER_DAY, 14 * PER_DAY
SLOTS = np.arange(LEARN + JUDGE) // 6 % 168
START_MS = BEGIN_MS + np.arange(JUDGE) * INTERVAL_MS
DAY_MS = 86_400_000


def point(seed: int = 1) -> np.ndarray:
    """A quiet load: offices by day, noise of 0.5 kW."""
    hour = SLOTS % 24
    return (
        5
        + 20 * ((hour > 7) & (hour < 18) & (SLOTS < 120))
        + np.random.default_rng(seed).normal(0, 0.5, SLOTS.size)
    )


def normal_of(values: np.ndarray, counts: np.ndarray | None = None) -> Normal:
    normal = learn(values[:LEARN], SLOTS[:LEARN], counts)
    assert normal is not None
    return normal


def judged(values: np.ndarray, counts: np.ndarray | None = None) -> Scores:
    usual = None if counts is None else np.full(LEARN, 600)
    return scores(normal_of(values, usual), values[LEARN:], SLOTS[LEARN:], counts)


def kinds(found: Scores) -> set[Fault]:
    return {each.fault for each in findings(found, START_MS)}


def test_nothing_is_found_where_nothing_is() -> None:
    found = judged(point(), np.full(JUDGE, 600))
    assert kinds(found) == set()
    assert found.highest.max() < 1


def test_a_night_left_on_is_found_where_it_was() -> None:
    values = point()
    values[LEARN + 3 * PER_DAY : LEARN + 3 * PER_DAY + 30] += 15  # Sunday 00 to 05 h
    (finding,) = findings(judged(values), START_MS)
    assert finding.fault == Fault.RESIDUAL
    assert finding.start_ms == START_MS[3 * PER_DAY + 2]  # the third interval in a row
    assert finding.score > 2


def test_two_intervals_are_not_enough() -> None:
    values = point()
    values[LEARN + 500 : LEARN + 502] += 100
    assert kinds(judged(values)) == set()


def test_a_sensor_that_stands_still() -> None:
    values = point()
    values[LEARN + 200 : LEARN + 400] = values[LEARN + 200]
    found = judged(values)
    assert Fault.FLAT in kinds(found)
    assert found.flat[199] < 1
    assert found.flat[200 + 12] > 1  # the thirteenth equal value


def test_zero_at_night_is_not_standing_still() -> None:
    hour = SLOTS % 24
    values = np.where((hour > 7) & (hour < 18) & (SLOTS < 120), point(), 0.0)
    assert kinds(judged(values)) == set()


def test_a_level_that_stays_up() -> None:
    values = point()
    values[LEARN + 4 * PER_DAY :] += 6
    found = judged(values)
    assert Fault.STEP in kinds(found)
    assert not np.any(found.step[: 4 * PER_DAY] > 1)


def test_the_rate_of_a_device_is_learned() -> None:
    counts = np.full(JUDGE, 597)
    counts[50:60], counts[300:302] = 200, 0
    found = judged(point(), counts)
    assert [each.start_ms for each in findings(found, START_MS)] == [START_MS[52]]
    assert kinds(found) == {Fault.RATE}
    assert judged(point()).rate.max() == 0


def test_missing_intervals_say_nothing() -> None:
    values = point()
    values[LEARN + 100 : LEARN + 300] = np.nan
    values[50:90] = np.nan
    found = judged(values)
    assert kinds(found) == set()
    assert not np.isnan(found.highest).any()


@pytest.mark.parametrize("size", [0, 1, 2, 5, 143, 145])
def test_chunks_of_any_size_are_judged(size: int) -> None:
    values = point()
    values[LEARN] = np.nan
    part = slice(LEARN, LEARN + size)
    found = scores(normal_of(values), values[part], SLOTS[part], np.full(size, 600))
    assert found.highest.shape == (size,)
    assert not np.any(found.highest > 1)


def test_a_point_that_misses_every_other_interval_can_be_learned() -> None:
    values = point()
    values[::2] = np.nan
    assert kinds(judged(values)) == set()


def test_too_little_history_is_no_lesson() -> None:
    assert learn(point()[: 13 * PER_DAY], SLOTS[: 13 * PER_DAY]) is None
    assert learn(np.full(LEARN, np.nan), SLOTS[:LEARN]) is None
    assert learn(point()[:LEARN], np.zeros(LEARN, dtype=np.int64)) is None


def test_a_constant_point_is_learned_without_a_division_by_zero() -> None:
    values = np.full(SLOTS.size, 7.0)
    assert kinds(judged(values)) == set()
    values[LEARN + 10 : LEARN + 20] = 8
    assert Fault.RESIDUAL in kinds(judged(values))


def test_counters_that_fall() -> None:
    times_ms = np.arange(6) * INTERVAL_MS
    (found,) = resets(times_ms, np.array([10.0, 11, math.nan, 2, 3, 4]))
    assert (found.start_ms, found.end_ms) == (INTERVAL_MS, 3 * INTERVAL_MS)
    assert found.score == pytest.approx(1 + 9 / 11)
    assert not list(resets(times_ms, np.array([1.0, 1, 1, 0.999, 2, 3]), tolerance=0.01))


def test_two_meters_that_go_apart() -> None:
    start_ms = BEGIN_MS + np.arange(60) * DAY_MS
    chance = np.random.default_rng(3)
    first = 100 + chance.normal(0, 10, 60)
    second = 1.02 * first * (1 + chance.normal(0, 0.001, 60))  # 2 % apart from the first day on is no drift
    assert not list(drift(first, second, start_ms))
    second[40:] *= 1.02
    (found,) = drift(first, second, start_ms)
    assert found.start_ms == start_ms[42]  # three days
    second[50] = 0
    assert len(list(drift(first, second, start_ms))) == 1
    assert not list(drift(np.full(60, np.nan), second, start_ms))


def test_faults_in_real_shapes_are_found_and_others_are_not() -> None:
    tally, alarms, months = bench.judge(2, 21)
    for fault, least in ((Fault.RESIDUAL, 0.75), (Fault.FLAT, 0.95), (Fault.STEP, 0.75), (Fault.RATE, 1.0)):
        assert tally[fault, "found"] >= least * 10, fault
    assert sum(alarms.values()) / months < 1
