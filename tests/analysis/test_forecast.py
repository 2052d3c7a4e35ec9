from __future__ import annotations

import math

import numpy as np
import pytest

from agent.analysis.forecast import expected_kw, fit_load, forecast_day_kw, forecast_peak
from bench import forecast as bench

WEEK = np.arange(168)


def weeks(count: int) -> np.ndarray:
    return np.tile(WEEK, count)


def shape(slots: np.ndarray) -> np.ndarray:
    return 5 + 10 * ((slots % 24 > 7) & (slots % 24 < 18) & (slots < 120)) + slots % 24 / 10


@pytest.mark.parametrize("kind", ["office_kw", "shop_kw"])
@pytest.mark.parametrize("seed", [11, 12])
def test_beats_the_same_hour_last_week_on_held_back_weeks(kind: str, seed: int) -> None:
    chance = np.random.default_rng(seed)
    load, outdoor_c, slots = bench.site_of(chance, kind)
    with_weather, without, naive = bench.day_errors(load, outdoor_c, slots, chance)
    assert with_weather < 0.85 * naive
    assert without < 0.9 * naive
    assert with_weather < without


def test_a_load_that_only_repeats_is_known() -> None:
    slots = weeks(4)
    model = fit_load(shape(slots), slots)
    assert model is not None
    assert expected_kw(model, WEEK) == pytest.approx(shape(WEEK))
    ahead = forecast_day_kw(model, WEEK[:24], shape(WEEK[-24:]), WEEK[-24:])
    assert ahead == pytest.approx(shape(WEEK[:24]))


def test_the_response_to_warmth_is_found() -> None:
    slots, chance = weeks(8), np.random.default_rng(1)
    outdoor_c = 22 + np.repeat(chance.normal(0, 4, slots.size // 24), 24)  # a temperature a day
    settled = np.repeat(outdoor_c[::24], 24)
    load = shape(slots) + 0.8 * np.maximum(settled - 20, 0) * (slots < 120)
    model = fit_load(load, slots, outdoor_c)
    assert model is not None
    assert abs(model.balance_c - 20) <= 2
    assert float(np.median(model.slope_kw_c[0])) == pytest.approx(0.8, rel=0.2)
    assert float(np.abs(model.slope_kw_c[1]).max()) < 0.2
    hot, mild = (
        float(expected_kw(model, WEEK[:48], np.full(48, float(each)))[36:].mean()) for each in (32, 20)
    )
    assert hot - mild == pytest.approx(0.8 * 12, rel=0.25)


def test_broken_days_and_gaps_bend_nothing() -> None:
    slots = weeks(6)
    load = shape(slots)
    load[100:124], load[400:410] = 900.0, 0.0
    load[200:260] = np.nan
    model = fit_load(load, slots)
    assert model is not None
    assert expected_kw(model, WEEK) == pytest.approx(shape(WEEK))


def test_too_little_is_no_model() -> None:
    slots = weeks(2)
    assert fit_load(shape(slots)[:-1], slots[:-1]) is None
    assert fit_load(shape(slots), slots) is not None
    assert fit_load(np.full(3000, np.nan), np.resize(WEEK, 3000)) is None
    holes = shape(weeks(3))
    holes[weeks(3) == 5] = np.nan  # an hour of the week never seen
    assert fit_load(holes, weeks(3)) is None


def test_unknown_last_day_and_weather() -> None:
    slots = weeks(4)
    model = fit_load(shape(slots), slots, np.full(slots.size, np.nan))
    assert model is not None
    ahead = forecast_day_kw(model, WEEK[:24], np.full(24, np.nan), WEEK[-24:], np.full(48, np.nan))
    assert ahead == pytest.approx(shape(WEEK[:24]))


def test_the_months_peak_by_hand() -> None:
    # nine days like the one that is left: the chance to stay at or below the k-th is (k + 0.5) / 10
    peaks = np.arange(41.0, 50.0)
    found = forecast_peak(20.0, peaks, np.full(9, 45.0), np.array([45.0]))
    assert (found.median_kw, found.high_kw) == (45, 49)
    # two such days left: both at or below the 7th of nine with 0.75 x 0.75; above the 9th, 0.9025
    assert forecast_peak(20.0, peaks, np.full(9, 45.0), np.full(2, 45.0)).median_kw == 47
    assert forecast_peak(70.0, peaks, np.full(9, 45.0), np.array([45.0])).median_kw == 70


def test_a_peak_of_which_nothing_is_known() -> None:
    assert forecast_peak(70.0, np.array([]), np.array([]), np.array([50.0])).high_kw == 70
    assert forecast_peak(7.0, np.array([math.nan]), np.array([10.0]), np.array([])).median_kw == 7


def test_only_days_alike_count() -> None:
    peaks = np.concatenate([np.full(40, 10.0), np.full(40, 50.0)])  # Sundays and Mondays
    expected = np.concatenate([np.full(40, 9.0), np.full(40, 45.0)])
    assert forecast_peak(0.0, peaks, expected, np.full(3, 9.0)).high_kw == 10
    assert forecast_peak(0.0, peaks, expected, np.array([9.0, 45.0])).median_kw == 50


def test_more_days_left_mean_a_higher_peak_as_simulated() -> None:
    chance = np.random.default_rng(2)
    peaks = chance.normal(40, 4, 30)
    found = forecast_peak(0.0, peaks, np.full(30, 40.0), np.full(10, 40.0))
    drawn = chance.choice(peaks, (4000, 10)).max(axis=1)
    assert found.median_kw == pytest.approx(float(np.quantile(drawn, 0.5)), rel=0.03)
    assert found.high_kw >= float(np.quantile(drawn, 0.9))
    assert found.high_kw < 1.25 * peaks.max()


def test_the_peak_is_nearer_than_that_of_the_month_before() -> None:
    errors = []
    for kind in ("office_kw", "shop_kw"):
        for seed in range(8):
            load, _, slots = bench.site_of(np.random.default_rng([3, seed]), kind)
            errors.append(bench.peak_errors(load, slots))
    model, naive, inside = np.mean(np.array(errors, dtype=float), axis=0)
    assert model < naive
    assert inside > 0.7
