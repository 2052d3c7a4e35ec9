from __future__ import annotations

import math
from datetime import date
from fractions import Fraction

import numpy as np
import pytest

from agent.analysis.power_quality.limits import limits_on
from agent.analysis.power_quality.voltage import (
    ADEQUATE,
    CRITICAL,
    PRECARIOUS,
    UNKNOWN,
    band_of,
    classes,
    compensation_percent,
    nominal_of,
    voltage_indices,
)

LIMITS = limits_on(date(2026, 3, 1))
BEGIN_MS = 1_772_323_200_000


def indices(rms_v: np.ndarray, valid: np.ndarray | None = None, nominal_v: float = 127.0):  # type: ignore[no-untyped-def]
    start_ms = BEGIN_MS + np.arange(len(rms_v)) * 600_000
    valid = np.ones(len(rms_v), dtype=bool) if valid is None else valid
    return voltage_indices(start_ms, rms_v, valid, band_of(nominal_v, "phase_neutral", LIMITS), LIMITS)


@pytest.mark.parametrize(
    ("nominal_v", "between", "table"),
    [
        (127, "phase_neutral", [109.99, 110, 116.99, 117, 133, 133.01, 135, 135.01]),
        (220, "phase_neutral", [190.99, 191, 201.99, 202, 231, 231.01, 233, 233.01]),
        (220, "phase_phase", [190.99, 191, 201.99, 202, 231, 231.01, 233, 233.01]),
        (380, "phase_phase", [330.99, 331, 349.99, 350, 399, 399.01, 403, 403.01]),
        (115, "phase_neutral", [100.04, 100.06, 105.79, 105.81, 120.74, 120.76, 121.89, 121.91]),
    ],
)
def test_every_edge_of_every_class(nominal_v: float, between, table: list[float]) -> None:  # type: ignore[no-untyped-def]
    found = classes(np.array(table), band_of(nominal_v, between, LIMITS)).tolist()
    expected = [CRITICAL, PRECARIOUS, PRECARIOUS, ADEQUATE, ADEQUATE, PRECARIOUS, PRECARIOUS, CRITICAL]
    assert found == expected


@pytest.mark.parametrize(
    ("rms_v", "between", "nominal_v"),
    [
        ([126.0, 128.0, 127.0], "phase_neutral", 127),
        ([117.0, 118.0, 116.0], "phase_neutral", 127),  # a low 127 V is no high 115 V
        ([120.0, 120.0, 208.0], "phase_neutral", 127),  # the high leg of a delta
        ([0.3, 0.2, 221.0], "phase_neutral", 220),  # two phases are missing
        ([math.nan, math.nan, 238.0], "phase_neutral", 220),  # far too high, and not 254 V
        ([254.0, 255.0, 253.0], "phase_neutral", 254),
        ([208.0, 209.0, 207.0], "phase_phase", 220),
        ([400.0, 401.0, 399.0], "phase_phase", 380),
        ([13_700.0, 13_750.0, 13_800.0], "phase_phase", 13_800),
        ([0.1, 0.0, 0.2], "phase_neutral", math.nan),
        ([math.nan, math.nan, math.nan], "phase_neutral", math.nan),
        ([55.0, 56.0, 55.0], "phase_neutral", math.nan),
    ],
)
def test_a_nominal_voltage_is_found_out(rms_v: list[float], between, nominal_v: float) -> None:  # type: ignore[no-untyped-def]
    readings = np.array([rms_v, rms_v, [math.nan, 0.0, 0.0], rms_v])
    assert nominal_of(readings, between, LIMITS) == pytest.approx(nominal_v, nan_ok=True)


def test_medium_voltage_has_no_precarious_side_above() -> None:
    band = band_of(13_800.0, "phase_phase", LIMITS)
    pu = np.array([0.899, 0.901, 0.929, 0.931, 1.049, 1.051])
    expected = [CRITICAL, PRECARIOUS, PRECARIOUS, ADEQUATE, ADEQUATE, CRITICAL]
    assert classes(pu * 13_800, band).tolist() == expected
    assert classes(np.array([math.nan]), band).tolist() == [UNKNOWN]


def test_by_hand_with_a_worst_phase_for_each() -> None:
    # 31 precarious on L1, 5 critical on L2, both on L3: 31/1008 and 6/1008 are just above 3 % and 0.5 %.
    rms_v = np.full((1008, 3), 127.0)
    rms_v[:31, 0], rms_v[40:45, 1] = 115.0, 100.0
    rms_v[100:130, 2], rms_v[200:206, 2] = 134.0, 140.0
    found = indices(rms_v)
    assert (found.precarious, found.critical) == ((31, 0, 30), (0, 5, 6))
    assert Fraction(31, 1008) * 100 == Fraction(found.drp_percent).limit_denominator(10_000)
    assert Fraction(6, 1008) * 100 == Fraction(found.drc_percent).limit_denominator(10_000)
    assert (found.drp_within, found.drc_within) == (False, False)
    rms_v[0], rms_v[205] = 127, 127
    found = indices(rms_v)
    assert (found.drp_within, found.drc_within) == (True, True)  # 30/1008 and 5/1008


def test_1007_readings_are_no_index_and_1008_are() -> None:
    rms_v = np.full((1008, 3), 115.0)
    short = indices(rms_v[:1007])
    assert (short.readings, short.complete, short.drp_within) == (1007, False, None)
    assert math.isnan(short.drp_percent)
    whole = indices(rms_v)
    assert (whole.readings, whole.complete, whole.drp_percent) == (1008, True, 100.0)
    assert (whole.from_ms, whole.to_ms) == (BEGIN_MS, BEGIN_MS + 7 * 86_400_000)


def test_expurgated_readings_are_replaced_by_later_ones() -> None:
    rms_v = np.full((1020, 3), 127.0)
    rms_v[5:10] = 50.0  # flagged: an interruption
    rms_v[20, 1] = np.nan  # one phase without a reading
    rms_v[1014:] = 100.0  # the readings after the window do not count
    valid = np.ones(1020, dtype=bool)
    valid[5:10] = False
    found = indices(rms_v, valid)
    assert (found.readings, found.critical) == (1008, (0, 0, 0))
    assert found.to_ms == BEGIN_MS + 1014 * 600_000
    valid[30] = False
    assert indices(rms_v, valid).critical == (1, 1, 1)


def test_no_reading_at_all() -> None:
    found = indices(np.full((10, 3), np.nan))
    assert (found.readings, found.from_ms, found.to_ms) == (0, 0, 0)


def test_against_counting_one_by_one() -> None:
    chance = np.random.default_rng(3)
    rms_v = chance.normal(127, 6, (1300, 3))
    rms_v[chance.random(1300) < 0.02] = np.nan
    valid = chance.random(1300) > 0.05
    window: list[list[float]] = []
    for row, is_valid in zip(rms_v.tolist(), valid.tolist(), strict=True):
        if is_valid and not any(math.isnan(each) for each in row) and len(window) < 1008:
            window.append(row)
    good = [[117 <= each <= 133 for each in row] for row in window]
    usable = [[110 <= each <= 135 for each in row] for row in window]
    critical = [sum(not row[phase] for row in usable) for phase in range(3)]
    precarious = [sum(not row[phase] for row in good) - critical[phase] for phase in range(3)]
    found = indices(rms_v, valid)
    assert found.drp_percent == pytest.approx(max(precarious) / 10.08)
    assert found.drc_percent == pytest.approx(max(critical) / 10.08)


def test_each_revision_holds_from_its_day() -> None:
    assert limits_on(date(2026, 3, 1)).revision.startswith("PRODIST module 8, annex VIII")
    assert limits_on(date(2001, 1, 1)) == limits_on(date(2022, 1, 1))


def test_compensation_by_hand() -> None:
    rms_v = np.full((1008, 1), 127.0)
    rms_v[:50, 0], rms_v[100:110, 0] = 115.0, 100.0
    drp, drc = 50 / 10.08, 10 / 10.08
    owed = compensation_percent(indices(rms_v), LIMITS)
    assert owed == pytest.approx((drp - 3) * 3 + (drc - 0.5) * 7)
    rms_v[100:110, 0] = 127.0
    assert compensation_percent(indices(rms_v), LIMITS) == pytest.approx((drp - 3) * 3)
    assert math.isnan(compensation_percent(indices(rms_v[:1007]), LIMITS))
    assert math.isnan(compensation_percent(indices(rms_v * 13_800 / 127, nominal_v=13_800.0), LIMITS))
