from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from agent.tariff.bill import bill, forecast_bill
from agent.tariff.demand import demand_cost_brl, demand_terms
from agent.tariff.prices import prices
from agent.tariff.reactive import reactive_excess
from agent.tariff.usage import joined, usage
from tests.tariff.files import AZUL, BRANCA, FLAT, VERDE, at, quarters, tariff
from tests.tariff.test_prices import FLAGS

MARCH = (at(2026, 3, 1), at(2026, 4, 1))


def march(kw: float) -> np.ndarray:
    return np.full(quarters(*MARCH).size, float(kw))


def amounts(items: object) -> dict[tuple[str, str], float]:
    return {(item.code, item.part): round(item.amount_brl, 6) for item in items}  # type: ignore[attr-defined]


def test_march_of_10_kw_by_hand(tmp_path: Path) -> None:
    # 31 days, 22 working days: peak 66 h, intermediate 44 h, the rest 634 h.
    found = bill(tariff(BRANCA, tmp_path), usage(tariff(BRANCA, tmp_path), MARCH[0], march(10)))
    assert amounts(found.items) == {
        ("energy", "peak"): 66 * 10 * 3.0,
        ("energy", "intermediate"): 44 * 10 * 1.5,
        ("energy", "off_peak"): 634 * 10 * 0.5,
    }
    assert (found.first_day, found.last_day, found.notes) == (date(2026, 3, 1), date(2026, 3, 31), ())


def test_energy_is_what_the_price_array_says(tmp_path: Path) -> None:
    tax = "[[tax]]\nvalid_from = 2020-01-01\nicms = 0.2\npis = 0.02\ncofins = 0.08\n"
    branca = tariff(BRANCA.replace("[[version]]", tax + "[[version]]"), tmp_path)
    power_kw = np.random.default_rng(1).gamma(2, 5, march(0).size)
    by_step = float((prices(branca, MARCH[0], power_kw.size, 900) * power_kw).sum() / 4)
    assert bill(branca, usage(branca, MARCH[0], power_kw)).total_brl == pytest.approx(by_step)


@pytest.mark.parametrize(
    ("measured_kw", "expected_brl"),
    [
        (80.0, 2000.0),  # the contract is paid
        (100.0, 2000.0),
        (105.0, 2100.0),  # at the tolerance: not above it
        (105.1, 2102.0 + 2 * 20 * 5.1),  # the whole excess over the contract
        (150.0, 3000.0 + 2 * 20 * 50),
    ],
)
def test_the_step_at_105_percent(measured_kw: float, expected_brl: float, tmp_path: Path) -> None:
    verde = tariff(VERDE, tmp_path)
    power_kw = march(10)
    power_kw[1000] = measured_kw
    found = bill(verde, usage(verde, MARCH[0], power_kw))
    demand = sum(found.amount_brl(code) for code in ("demand", "unused_demand", "overshoot"))
    (term,) = demand_terms(verde, MARCH[0], 96, 900)
    assert demand == pytest.approx(expected_brl)
    assert float(demand_cost_brl(term, measured_kw)) == pytest.approx(expected_brl)


def test_azul_bills_peak_and_off_peak_apart(tmp_path: Path) -> None:
    azul = tariff(AZUL, tmp_path)
    times_ms = quarters(*MARCH)
    power_kw = march(10)
    power_kw[times_ms == at(2026, 3, 11, 18)] = 90
    power_kw[times_ms == at(2026, 3, 14, 18)] = 95  # a Saturday: off-peak
    found = amounts(bill(azul, usage(azul, MARCH[0], power_kw)).items)
    assert found["demand", "peak"] == 90 * 50
    assert found["overshoot", "peak"] == 10 * 50 * 2
    assert found["demand", "off_peak"] + found["unused_demand", "off_peak"] == 100 * 20
    peak, off_peak = demand_terms(azul, at(2026, 3, 11), 96, 900)
    assert peak.mask.sum() == 12
    assert (peak.mask ^ off_peak.mask).all()


def test_no_icms_on_demand_that_was_not_used(tmp_path: Path) -> None:
    tax = "[[tax]]\nvalid_from = 2020-01-01\nicms = 0.2\npis = 0.02\ncofins = 0.08\n"
    verde = tariff(VERDE.replace("[[version]]", tax + "[[version]]"), tmp_path)
    found = amounts(bill(verde, usage(verde, MARCH[0], march(60))).items)
    assert found["demand", "all"] == pytest.approx(60 * 20 / 0.72)
    assert found["unused_demand", "all"] == pytest.approx(40 * 20 / 0.9)
    (term,) = demand_terms(verde, MARCH[0], 4, 900)
    assert float(demand_cost_brl(term, 60.0)) == pytest.approx(60 * 20 / 0.72 + 40 * 20 / 0.9)


def test_flags_of_each_month_and_those_not_known(tmp_path: Path) -> None:
    (tmp_path / "flags.toml").write_text(FLAGS)
    flat = tariff(FLAT.replace("flags = false", "flags = true"), tmp_path)
    power_kw = np.full(96 * 2, 1.0)
    over_april = bill(flat, usage(flat, at(2026, 3, 31), power_kw))
    assert over_april.amount_brl("flag") == pytest.approx(24 * 0.08)
    assert over_april.notes == ()
    assert bill(flat, usage(flat, at(2026, 4, 30), power_kw)).notes == ("flag_assumed:2026-05",)


def test_a_new_table_within_the_cycle_splits_the_lines(tmp_path: Path) -> None:
    later = "[[version]]\nvalid_from = 2026-03-11\nenergy.off_peak = { tusd_brl_kwh = 1.0 }\n"
    flat = tariff(FLAT + later, tmp_path)
    lines = bill(flat, usage(flat, MARCH[0], march(1))).items
    assert [(line.quantity, line.price_brl) for line in lines] == [(240, 0.7), (504, 1.0)]


def test_group_b_pays_a_minimum_and_the_street_light(tmp_path: Path) -> None:
    rest = "[[contract]]\nvalid_from = 2020-01-01\nminimum_kwh = 100.0\n"
    rest += "[[tax]]\nvalid_from = 2020-01-01\npublic_lighting_brl = 25.0\n"
    flat = tariff(FLAT + rest, tmp_path)
    found = bill(flat, usage(flat, MARCH[0], march(0.1)))
    assert found.total_brl == pytest.approx(100 * 0.7 + 25)
    assert found.amount_brl("minimum") == pytest.approx((100 - 74.4) * 0.7)


def test_missing_readings_and_feed_in_are_said_not_billed(tmp_path: Path) -> None:
    flat = tariff(FLAT, tmp_path)
    power_kw = march(1)
    power_kw[:6], power_kw[6:10] = np.nan, -5
    found = bill(flat, usage(flat, MARCH[0], power_kw))
    assert found.items[0].quantity == 744 - 2.5
    assert found.notes == ("missing_hours:1.5",)


def test_so_far_and_the_rest_make_the_month(tmp_path: Path) -> None:
    verde = tariff(VERDE, tmp_path)
    power_kw = np.random.default_rng(2).gamma(2, 20, march(0).size)
    kvar = power_kw * 0.7
    whole = bill(verde, usage(verde, MARCH[0], power_kw, kvar))
    cut = 96 * 13 + 40  # within a day, on an hour
    so_far = usage(verde, MARCH[0], power_kw[:cut], kvar[:cut])
    expected = forecast_bill(verde, so_far, MARCH[0] + cut * 900_000, power_kw[cut:], kvar[cut:])
    assert expected.total_brl == pytest.approx(whole.total_brl)
    assert expected.notes == ("forecast",)
    assert joined(so_far, so_far).energy_kwh.sum() == pytest.approx(2 * so_far.energy_kwh.sum())


def test_reactive_by_hand() -> None:
    # f = 0.8: 80 kWh and 60 kvarh; 80 (0.92 / 0.8 - 1) = 12 kWh; 90 kW x 0.92 / 0.8 = 103.5 kW
    active, reactive = (
        np.array([80.0, 80, 80, 92, 0, -80, 80]),
        np.array([60.0, -60, -60, 39, 10, 60, np.nan]),
    )
    capacitive = np.array([False, False, True, False, False, False, False])
    found = reactive_excess(active, reactive, np.full(7, 90.0), capacitive)
    assert found.energy_kwh == pytest.approx([12, 0, 12, 0, 9.2, 0, 0])
    assert found.corrected_demand_kw == pytest.approx([103.5, 0, 103.5, 0, 0, 0, 0])
    assert found.power_factor[:2] == pytest.approx([0.8, 0.8])


def test_reactive_at_the_limit() -> None:
    reactive = 92 * math.tan(math.acos(0.92))
    found = reactive_excess(
        np.array([92.0, 92.0]), np.array([reactive - 1e-6, reactive + 0.1]), np.zeros(2), np.zeros(2, bool)
    )
    assert found.energy_kwh[0] == 0
    assert 0 < found.energy_kwh[1] < 0.1


def test_reactive_lines_of_a_day(tmp_path: Path) -> None:
    verde = tariff(VERDE, tmp_path)
    power_kw, kvar = np.full(96, 80.0), np.full(96, 60.0)
    found = amounts(bill(verde, usage(verde, at(2026, 3, 11), power_kw, kvar)).items)
    # 18 inductive hours from 6 h on, 3 of them peak; 80 x 1.15 = 92 kW stay below the contract of 100
    assert found["reactive_energy", "peak"] == pytest.approx(3 * 12 * 0.3)
    assert found["reactive_energy", "off_peak"] == pytest.approx(15 * 12 * 0.3)
    assert ("reactive_demand", "all") not in found
    more = amounts(bill(verde, usage(verde, at(2026, 3, 11), power_kw * 1.25, kvar * 1.25)).items)
    assert more["reactive_demand", "all"] == pytest.approx((100 * 1.15 - 100) * 20)


def test_the_hour_that_comes_twice_is_two_hours(tmp_path: Path) -> None:
    text = VERDE.replace("flags = false", 'flags = false\ntimezone = "America/New_York"')
    daytime = 'reactive.capacitive = ["06:00", "12:00"]\n[[contract]]'
    verde = tariff(text.replace("[[contract]]", daytime), tmp_path)
    power_kw, kvar = np.full(8, 80.0), np.array([60.0] * 4 + [0.0] * 4)
    begin_ms = 1_793_509_200_000  # 2026-11-01 05:00 UTC: 1 h of summer time, then 1 h once more
    assert usage(verde, begin_ms, power_kw, kvar).reactive_kwh.sum() == pytest.approx(12)


def test_nothing_used_is_no_bill(tmp_path: Path) -> None:
    flat = tariff(FLAT, tmp_path)
    with pytest.raises(ValueError, match="at least one day"):
        bill(flat, usage(flat, 0, np.array([])))
    with pytest.raises(ValueError, match="quarter of an hour"):
        usage(flat, 1, np.array([1.0]))


def test_reactive_demand_is_of_the_hour_not_of_its_busiest_quarter(tmp_path: Path) -> None:
    verde = tariff(VERDE, tmp_path)
    power_kw = np.array([100.0, 100.0, 100.0, 200.0])
    found = usage(verde, at(2026, 3, 3, 10), power_kw, power_kw * 0.75)  # a power factor of 0.8
    assert found.corrected_demand_kw.max() == pytest.approx(125 * 0.92 / 0.8)
    assert found.demand_kw.max() == 200
    assert found.reactive_kwh.sum() == pytest.approx(125 * (0.92 / 0.8 - 1))
