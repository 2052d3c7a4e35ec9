"""Unbalance, distortion, the value exceeded in 5 %, power factor, demand, counters."""

from __future__ import annotations

import cmath
import math
from datetime import date

import numpy as np
import pytest

from agent.analysis.power_quality.harmonics import distortion, dtt95
from agent.analysis.power_quality.limits import limits_on
from agent.analysis.power_quality.percentile import exceeded_in_5_percent
from agent.analysis.power_quality.power import (
    counted,
    demand,
    energy_between,
    energy_by_post_kwh,
    power_factor,
)
from agent.analysis.power_quality.unbalance import (
    fd95,
    unbalance_of_lines_percent,
    unbalance_of_phases_percent,
)

LIMITS = limits_on(date(2026, 3, 1))
A = cmath.exp(2j * math.pi / 3)


def phases_of(positive: complex, negative: complex, zero: complex) -> list[complex]:
    """Fortescue, forwards: what the phases are for these sequence components."""
    return [zero + positive * A**-k + negative * A**k for k in range(3)]


@pytest.mark.parametrize(
    ("negative", "zero"), [(0, 0), (0, 8j), (2.54, 0), (cmath.rect(5, 2.0), cmath.rect(7, -1))]
)
def test_unbalance_against_known_sequences(negative: complex, zero: complex) -> None:
    phases = phases_of(127, negative, zero)
    lines = [phases[0] - phases[1], phases[1] - phases[2], phases[2] - phases[0]]
    expected = 100 * abs(negative) / 127
    line_v = np.abs(np.array([lines]))
    assert unbalance_of_lines_percent(line_v)[0] == pytest.approx(expected, abs=1e-5)
    degrees = np.degrees(np.angle(np.array([phases])))
    exact = unbalance_of_phases_percent(np.abs(np.array([phases])), degrees)
    assert exact[0] == pytest.approx(expected, abs=1e-9)


def test_unbalance_by_hand() -> None:
    # CIGRE: beta = (383^4 + 378^4 + 374^4) / (383^2 + 378^2 + 374^2)^2 = 0.33356...
    beta = (383**4 + 378**4 + 374**4) / (383**2 + 378**2 + 374**2) ** 2
    root = math.sqrt(3 - 6 * beta)
    found = unbalance_of_lines_percent(np.array([[383.0, 378.0, 374.0]]))
    assert found[0] == pytest.approx(100 * math.sqrt((1 - root) / (1 + root)))
    assert found[0] == pytest.approx(1.38, abs=0.01)


def test_unbalance_without_angles_is_an_estimate() -> None:
    found = unbalance_of_phases_percent(np.array([[127.0, 127, 127], [121.0, 127, 130]]))
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found[1] == pytest.approx(100 * abs(121 + 127 * A + 130 * A**2) / 378, rel=1e-6)


def test_unbalance_of_what_is_no_system() -> None:
    assert np.isnan(unbalance_of_lines_percent(np.array([[380.0, 10, 10], [0, 0, 0], [np.nan, 1, 1]]))).all()
    assert np.isnan(unbalance_of_phases_percent(np.array([[0.0, 0, 0]]))).all()


def test_the_value_that_5_percent_exceed() -> None:
    values = np.random.default_rng(4).permutation(np.arange(1.0, 1009.0))
    valid = np.ones(1008, dtype=bool)
    found = exceeded_in_5_percent(values, valid, 1008, 958.0)
    assert (found.value, found.readings, found.complete, found.within) == (958.0, 1008, True, True)
    assert np.mean(values > found.value) <= 0.05 < np.mean(values >= found.value)
    assert found.value == np.quantile(values, 0.95, method="inverted_cdf")
    assert exceeded_in_5_percent(values, valid, 1008, 957.9).within is False
    short = exceeded_in_5_percent(values[:1007], valid[:1007], 1008, 1e9)
    assert (short.readings, short.complete, short.within) == (1007, False, None)
    assert math.isnan(exceeded_in_5_percent(values, ~valid, 1008, 1).value)


@pytest.mark.parametrize("readings", [1, 19, 20, 21, 100, 999, 1000, 1008])
def test_the_rank_against_numpy(readings: int) -> None:
    values = np.random.default_rng(readings).gamma(2, 1, readings)
    found = exceeded_in_5_percent(values, np.ones(readings, dtype=bool), readings, 1)
    exceeding = sorted(values, reverse=True)[: readings * 5 // 100]
    assert found.value == max(set(values) - set(exceeding))


def test_fd95_skips_what_is_flagged_or_missing() -> None:
    values, valid = np.full(1100, 1.0), np.ones(1100, dtype=bool)
    values[:60], valid[:60] = 9.0, False
    values[60:70] = np.nan
    found = fd95(values, valid, 220.0, LIMITS)
    assert (found.value, found.complete, found.limit) == (1.0, True, 3.0)
    assert fd95(values, valid, 13_800.0, LIMITS).limit == 2.0


def test_distortion_by_hand() -> None:
    # orders 2 to 9; triples are 3, 6 and 9
    harmonics = np.array([[1.0, 3.0, 0.5, 4.0, 0.2, 2.0, 0.3, 1.5]])
    found = distortion(harmonics)
    assert found.total_percent[0] == pytest.approx(math.sqrt(1 + 9 + 0.25 + 16 + 0.04 + 4 + 0.09 + 2.25))
    assert found.even_percent[0] == pytest.approx(math.sqrt(1 + 0.25 + 0.09))
    assert found.odd_percent[0] == pytest.approx(math.sqrt(16 + 4))
    assert found.triple_percent[0] == pytest.approx(math.sqrt(9 + 0.04 + 2.25))
    assert np.isnan(distortion(np.full((1, 8), np.nan)).total_percent[0])
    assert distortion(np.array([[np.nan, 3.0, np.nan]])).total_percent[0] == 3.0


def test_dtt95_is_that_of_the_worst_phase() -> None:
    harmonics = np.zeros((1008, 3, 39))
    harmonics[:, 0, 1], harmonics[:, 1, 3], harmonics[:50, 2, 3] = 6.6, 7.5, 90.0
    parts = distortion(harmonics)
    valid = np.ones(1008, dtype=bool)
    found = dtt95(parts.total_percent, valid, 220.0, LIMITS, parts)
    assert found.odd is not None
    assert found.triple is not None
    assert found.even is not None
    assert (found.total.value, found.total.within) == (7.5, True)
    assert (found.odd.value, found.odd.within) == (7.5, True)  # a limit that is met
    assert (found.triple.value, found.triple.within) == (6.6, False)
    assert found.even.value == 0
    assert dtt95(parts.total_percent, valid, 13_800.0, LIMITS).total.limit == 8.0
    assert dtt95(parts.total_percent, valid, 13_800.0, LIMITS).odd is None


def test_power_factor_by_hand() -> None:
    active = np.array([80.0, 80.0, 100.0, -50.0, np.nan, 92.0])
    reactive = np.array([60.0, -60.0, 0.0, 10.0, 1.0, 92.0 * math.tan(math.acos(0.92)) - 1e-9])
    found = power_factor(active, reactive, 0.92)
    assert (found.readings, found.low_inductive_percent, found.low_capacitive_percent) == (4, 25, 25)
    assert found.worst == pytest.approx(0.8)
    assert found.mean == pytest.approx(352 / math.hypot(352, float(reactive[5])))
    assert power_factor(active[3:4], reactive[3:4], 0.92).readings == 0


def test_demand_and_load_factor() -> None:
    start_ms = np.arange(5) * 900_000
    found = demand(start_ms, np.array([10.0, 40.0, np.nan, 40.0, 30.0]))
    assert (found.peak_kw, found.peak_start_ms, found.intervals) == (40, 900_000, 4)
    assert found.load_factor == pytest.approx(30 / 40)
    assert math.isnan(demand(start_ms, np.zeros(5)).load_factor)
    assert demand(start_ms, np.full(5, np.nan)).intervals == 0


def test_energy_by_post() -> None:
    found = energy_by_post_kwh(np.array([4.0, 8.0, np.nan, -4.0]), np.array([0, 2, 2, 0]), 900_000)
    assert found.tolist() == [1.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("values", "rollover", "total", "resets"),
    [
        ([5, 6, 8], None, [0, 1, 3], [0, 0, 0]),
        ([5, 6, 0, 2], None, [0, 1, 1, 3], [0, 0, 1, 0]),
        ([5, 6, 1, 2], None, [0, 1, 2, 3], [0, 0, 1, 0]),  # one was counted since the reset
        ([5, math.nan, 7], None, [0, math.nan, 2], [0, 0, 0]),
        ([998, 3], 1000, [0, 5], [0, 0]),  # went round
        ([600, 550], 1000, [0, 550], [0, 1]),  # fell, but not from the top to the bottom
        ([math.nan], None, [math.nan], [0]),
        ([], None, [], []),
    ],
)
def test_counters_start_again(
    values: list[float], rollover: float | None, total: list[float], resets: list[int]
) -> None:
    found = counted(np.array(values, dtype=float), rollover)
    assert found.total.tolist() == pytest.approx(total, nan_ok=True)
    assert found.reset.tolist() == [bool(each) for each in resets]


def test_energy_between_edges_adds_up_over_gaps() -> None:
    times_ms = np.array([0, 600_000, 1_200_000, 4_800_000, 5_400_000])
    total = np.array([0.0, 1.0, 2.0, 8.0, 9.0])
    edges_ms = np.arange(0, 5_400_001, 900_000)
    energy, estimated = energy_between(times_ms, total, edges_ms, 900_000)
    assert energy.tolist() == [1.5] * 6
    assert estimated.tolist() == [False, True, True, True, True, True]
    energy, estimated = energy_between(times_ms, total, np.array([-1, 0, 600_000]), 900_000)
    assert math.isnan(energy[0])
    assert (energy[1], estimated.tolist()) == (1.0, [False, False])
    assert np.isnan(energy_between(times_ms, np.full(5, np.nan), edges_ms, 900_000)[0]).all()
