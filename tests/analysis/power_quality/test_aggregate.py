from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest

from agent.analysis.power_quality.aggregate import (
    DEMAND_MS,
    TEN_MINUTES_MS,
    Intervals,
    OpenInterval,
    aggregate,
    close,
    joined,
    on_grid,
)

BEGIN_MS = 1_772_323_200_000  # 2026-03-01 00:00 UTC, on every boundary


def all_of(times_ms: np.ndarray, values: np.ndarray, cuts: list[int], interval_ms: int) -> Intervals:
    state: OpenInterval | None = None
    parts = []
    for begin, end in zip([0, *cuts], [*cuts, len(values)], strict=True):
        state, closed = aggregate(state, times_ms[begin:end], values[begin:end], interval_ms)
        parts.append(closed)
    assert state is not None
    return joined([*parts, close(state)])


def by_hand(times_ms: np.ndarray, values: np.ndarray, interval_ms: int) -> dict[int, list[list[float]]]:
    """The readings of each interval and channel, one at a time."""
    found: dict[int, list[list[float]]] = defaultdict(lambda: [[] for _ in range(values.shape[1])])
    for time_ms, row in zip(times_ms.tolist(), values.tolist(), strict=True):
        for channel, value in enumerate(row):
            found[time_ms // interval_ms * interval_ms][channel] += [] if math.isnan(value) else [value]
    return found


def noisy(seconds: int, channels: int = 3, lost: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seconds)
    times_ms = BEGIN_MS - 250_000 + np.arange(seconds) * 1000 + chance.integers(0, 400, seconds)
    values = chance.normal(220, 5, (seconds, channels))
    values[chance.random(values.shape) < lost] = np.nan
    return times_ms, values


@pytest.mark.parametrize("interval_ms", [TEN_MINUTES_MS, DEMAND_MS])
@pytest.mark.parametrize("lost", [0.0, 0.1])
@pytest.mark.parametrize("cuts", [[], [350, 351, 351, 2000], list(range(100, 4000, 100))])
def test_against_one_reading_at_a_time(interval_ms: int, lost: float, cuts: list[int]) -> None:
    times_ms, values = noisy(4000, lost=lost)
    found = all_of(times_ms, values, cuts, interval_ms)
    expected = by_hand(times_ms, values, interval_ms)
    assert found.start_ms.tolist() == sorted(expected)
    for at, start_ms in enumerate(found.start_ms.tolist()):
        for channel, seen in enumerate(expected[start_ms]):
            assert found.count[at, channel] == len(seen)
            assert found.mean[at, channel] == pytest.approx(math.fsum(seen) / len(seen), rel=1e-12)
            root = math.sqrt(math.fsum(each**2 for each in seen) / len(seen))
            assert found.rms[at, channel] == pytest.approx(root, rel=1e-12)
            assert (found.low[at, channel], found.high[at, channel]) == (min(seen), max(seen))


def test_the_boundary_belongs_to_the_next_interval() -> None:
    times_ms = np.array([BEGIN_MS - 1, BEGIN_MS, BEGIN_MS + TEN_MINUTES_MS - 1, BEGIN_MS + TEN_MINUTES_MS])
    found = all_of(times_ms, np.array([[1.0], [2], [4], [8]]), [], TEN_MINUTES_MS)
    assert found.start_ms.tolist() == [BEGIN_MS - TEN_MINUTES_MS, BEGIN_MS, BEGIN_MS + TEN_MINUTES_MS]
    assert found.mean[:, 0].tolist() == [1, 3, 8]
    assert found.rms[1, 0] == pytest.approx(math.sqrt(10))


def test_gaps_leave_no_interval_and_lost_channels_are_nan() -> None:
    times_ms = np.array([BEGIN_MS, BEGIN_MS + 10 * TEN_MINUTES_MS])
    found = all_of(times_ms, np.array([[1.0, np.nan], [2.0, 3.0]]), [1], TEN_MINUTES_MS)
    assert len(found.start_ms) == 2
    assert math.isnan(found.mean[0, 1])
    assert math.isnan(found.rms[0, 1])
    assert math.isnan(found.low[0, 1])
    assert found.count.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize(("samples", "enough"), [(539, False), (540, True), (600, True)])
def test_coverage(samples: int, enough: bool) -> None:
    times_ms = BEGIN_MS + np.arange(samples) * 1000
    found = all_of(times_ms, np.ones((samples, 1)), [], TEN_MINUTES_MS)
    assert found.covered(1000, TEN_MINUTES_MS, 0.9).tolist() == [[enough]]


def test_nothing_changes_nothing() -> None:
    state, closed = aggregate(None, np.array([], dtype=np.int64), np.empty((0, 2)))
    assert state is None
    assert closed.mean.shape == (0, 2)
    state, _ = aggregate(None, np.array([BEGIN_MS]), np.array([[1.0, 2.0]]))
    assert aggregate(state, np.array([], dtype=np.int64), np.empty((0, 2)))[0] is state


def test_time_does_not_go_back() -> None:
    state, _ = aggregate(None, np.array([BEGIN_MS]), np.array([[1.0]]))
    with pytest.raises(ValueError, match="order of their time"):
        aggregate(state, np.array([BEGIN_MS - 1]), np.array([[1.0]]))
    with pytest.raises(ValueError, match="order of their time"):
        aggregate(None, np.array([BEGIN_MS, BEGIN_MS - 1]), np.array([[1.0], [1.0]]))


def test_a_leap_second_is_no_second() -> None:
    # 2016-12-31 23:59:60 shares its Unix time with the second after it.
    leap_ms = 1_483_228_800_000
    found = all_of(np.array([leap_ms - 1000, leap_ms, leap_ms]), np.ones((3, 1)), [], TEN_MINUTES_MS)
    assert found.start_ms.tolist() == [leap_ms - TEN_MINUTES_MS, leap_ms]
    assert found.count[:, 0].tolist() == [1, 2]


def test_intervals_on_a_grid_without_holes() -> None:
    start_ms = BEGIN_MS + np.array([-1, 0, 2, 3, 9]) * TEN_MINUTES_MS
    to_ms = BEGIN_MS + 4 * TEN_MINUTES_MS
    grid = on_grid(start_ms, np.arange(5.0), BEGIN_MS, to_ms, TEN_MINUTES_MS)
    assert grid.tolist() == pytest.approx([1, math.nan, 2, 3], nan_ok=True)
    assert on_grid(start_ms, np.ones((5, 3)), BEGIN_MS, to_ms, TEN_MINUTES_MS).shape == (4, 3)
    assert on_grid(start_ms, np.arange(5.0), to_ms, BEGIN_MS, TEN_MINUTES_MS).size == 0
    with pytest.raises(ValueError, match="multiples of 600000 ms"):
        on_grid(start_ms, np.arange(5.0), BEGIN_MS + 1, to_ms, TEN_MINUTES_MS)
