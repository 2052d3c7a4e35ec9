"""What the runner makes of real life: late readings, gaps, resets, kills, days of another length."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from agent.analysis.site import AnalysisOptions, MeterOptions
from agent.analysis.site.book import Book
from agent.model import Device, Group, Kind, Point, Reading
from agent.schedule import Result
from tests.analysis.site.site import BEGIN_MS, DAY_MS, MINUTE_MS, ZONE, Site, meter_group, site, steady

HOUR_MS = 60 * MINUTE_MS


def with_voltage(volts: float, from_ms: int, to_ms: int, phase: int = 0):
    """`steady`, but for one phase for a while."""

    def shape(times_ms: np.ndarray) -> np.ndarray:
        rows = steady(times_ms)
        rows[(times_ms >= from_ms) & (times_ms < to_ms), phase] = volts
        return rows

    return shape


def moved_aside(folder: Path) -> list[Path]:
    return list(folder.glob("analysis.db.broken-*"))


def begin_anew(folder: Path) -> None:
    for file in folder.glob("readings*"):
        file.unlink()


async def run_well(here: Site, name: str = "analysis", due_ms: int | None = None) -> str:
    outcome = await here.run(name, due_ms)
    assert outcome.result is Result.WELL, outcome.text
    return outcome.text


async def test_1007_readings_are_no_index_and_1008_are(tmp_path: Path) -> None:
    group, low_ms = meter_group(), BEGIN_MS + 2 * DAY_MS
    # 31 intervals of 116.9 V are precarious: 31 / 1008 = 3.07 %; none is critical. A limit itself is well.
    shape = with_voltage(116.9, low_ms, low_ms + 31 * 10 * MINUTE_MS)
    async with site(tmp_path, group) as here:
        await here.fill(group, shape, BEGIN_MS, BEGIN_MS + 1007 * 10 * MINUTE_MS)
        await run_well(here)
        assert here.value("main_voltage_readings") == 1007
        assert np.isnan(here.value("main_drp"))
        await here.fill(group, shape, here.now_ms, here.now_ms + 10 * MINUTE_MS)
        await run_well(here)
        assert here.value("main_voltage_readings") == 1008
        assert here.value("main_drp") == pytest.approx(100 * 31 / 1008)
        assert here.value("main_drc") == 0


async def test_an_event_is_told_once_at_its_time_and_its_interval_is_expurgated(tmp_path: Path) -> None:
    group, sag_ms = meter_group(period_ms=1000), BEGIN_MS + HOUR_MS + 5 * MINUTE_MS
    async with site(tmp_path, group) as here:
        shape = with_voltage(88.9, sag_ms, sag_ms + 2000, phase=1)  # 0.7 of 127 V for two seconds
        await here.fill(group, shape, BEGIN_MS, BEGIN_MS + 2 * HOUR_MS, 1000)
        await run_well(here)
        (event,) = [each for each in here.published if each.group.name == "event-main"]
        told = dict(zip((point.name for point in event.group.points), event.values, strict=True))
        assert event.time_ms == sag_ms
        assert told["main_event"] == 0
        assert told["main_event_extreme"] == pytest.approx(0.7)
        assert told["main_event_duration"] == 2
        assert told["main_event_phases"] == 2  # L2
        states = {point.name: point.states for point in event.group.points}
        assert states["main_event_prodist"][int(told["main_event_prodist"])] == "momentary_sag"
        assert states["main_event_ieee_1159"][int(told["main_event_ieee_1159"])] == "momentary_sag"
        assert here.value("main_voltage_readings") == 11  # of 12, one is touched
        assert here.value("main_momentary_sags_7d") == 1
        assert here.value("main_event_resolution") == 1
        await here.fill(group, steady, here.now_ms, here.now_ms + 10 * MINUTE_MS, 1000)
        await run_well(here)
        assert not [each for each in here.published if each.group.name == "event-main"]


async def test_an_event_over_the_edge_of_two_runs_is_one(tmp_path: Path) -> None:
    group, edge_ms = meter_group(period_ms=1000), BEGIN_MS + HOUR_MS
    shape = with_voltage(60.0, edge_ms - 30_000, edge_ms + 30_000)
    async with site(tmp_path, group) as here:
        await here.fill(group, shape, BEGIN_MS, edge_ms, 1000)
        await run_well(here)
        assert not [each for each in here.published if each.group.name == "event-main"]  # it has not ended
        await here.fill(group, shape, edge_ms, edge_ms + 10 * MINUTE_MS, 1000)
        await run_well(here)
        (event,) = [each for each in here.published if each.group.name == "event-main"]
        assert (event.time_ms, event.values[2]) == (edge_ms - 30_000, 60.0)


async def test_readings_that_come_late_change_what_was_made(tmp_path: Path) -> None:
    group = meter_group()
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + 3 * HOUR_MS)
        await here.fill(group, steady, BEGIN_MS + 4 * HOUR_MS, BEGIN_MS + 6 * HOUR_MS)
        await run_well(here)
        assert here.value("main_voltage_readings") == 5 * 6
        await here.fill(group, steady, BEGIN_MS + 3 * HOUR_MS, BEGIN_MS + 4 * HOUR_MS)
        await run_well(here)
        assert here.value("main_voltage_readings") == 6 * 6


async def test_each_run_reads_only_what_is_new_and_a_run_cut_short_is_not_lost(tmp_path: Path) -> None:
    group = meter_group()
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + 3 * DAY_MS)
        assert (await run_well(here)).startswith("4320 readings")
        await here.fill(group, steady, here.now_ms, here.now_ms + 10 * MINUTE_MS)
        assert (await run_well(here)).startswith("10 readings")
        assert (await run_well(here)).startswith("0 readings")
        # As a kill behind the second day would have left it.
        with Book(tmp_path / "analysis.db") as book:
            book.put_note("seen", 0)
            book.put_note("behind", {"seq": 4330, "until_ms": BEGIN_MS + 2 * DAY_MS})
        assert (await run_well(here)).startswith(f"{1440 + 10} readings")
        assert here.value("main_energy_month") == pytest.approx(12 * (3 * 24 - 3))


async def test_a_store_that_begins_anew_is_read_all_the_same(tmp_path: Path) -> None:
    # As after a broken file was moved aside, or while the readings are in memory: numbers begin again.
    group = meter_group()
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + 2 * DAY_MS)
        await run_well(here)
    begin_anew(tmp_path)
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS + 2 * DAY_MS, BEGIN_MS + 2 * DAY_MS + HOUR_MS)
        assert (await run_well(here)).startswith("60 readings")
        assert here.value("main_voltage_readings") == (48 + 1) * 6
        await here.fill(group, steady, here.now_ms, here.now_ms + 10 * MINUTE_MS)
        assert (await run_well(here)).startswith("10 readings")


async def test_a_broken_book_is_moved_aside_and_made_again(tmp_path: Path) -> None:
    group = meter_group()
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + HOUR_MS)
        (tmp_path / "analysis.db").write_bytes(b"no database " * 1000)
        assert (await run_well(here)).startswith("60 readings")
        assert len(moved_aside(tmp_path)) == 1


async def test_a_gap_is_filled_from_the_counter_and_a_reset_is_counted(tmp_path: Path) -> None:
    group = meter_group()

    def shape(times_ms: np.ndarray) -> np.ndarray:
        rows = steady(times_ms)
        later = times_ms >= BEGIN_MS + 10 * HOUR_MS  # a new meter: its counter begins at 0
        rows[later, 6] -= 12 * 10
        return rows

    async with site(tmp_path, group) as here:
        await here.fill(group, shape, BEGIN_MS, BEGIN_MS + 5 * HOUR_MS)
        await here.fill(group, shape, BEGIN_MS + 7 * HOUR_MS, BEGIN_MS + 12 * HOUR_MS)
        await run_well(here)
        assert here.value("main_energy_month") == pytest.approx(12 * (12 - 3), rel=0.01)
        assert here.value("main_missing_month") == 0
        assert here.value("main_counter_resets_month") == 1
        assert here.value("main_energy_import_anomaly") > 1


async def test_what_runs_late_is_as_of_its_own_instant(tmp_path: Path) -> None:
    group = meter_group()
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + 10 * HOUR_MS)
        await run_well(here, due_ms=BEGIN_MS + 6 * HOUR_MS + 20_000)
        assert here.value("main_voltage_readings") == 36
        assert {each.time_ms for each in here.published} == {BEGIN_MS + 6 * HOUR_MS}


async def test_while_the_clock_is_not_trusted_nothing_is_analysed(tmp_path: Path) -> None:
    group = meter_group()
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + HOUR_MS)
        here.certain = False
        outcome = await here.run()
        assert (outcome.result, "not trusted" in outcome.text) == (Result.FAILED, True)
        assert not here.published


async def test_a_line_without_readings_and_a_store_that_is_gone(tmp_path: Path) -> None:
    async with site(tmp_path, meter_group()) as here:
        await run_well(here)
        assert np.isnan(here.value("main_drp"))
        assert here.value("main_energy_month") == 0


async def test_the_month_in_money_its_overshoot_and_the_alarm(tmp_path: Path) -> None:
    group, busy_ms = meter_group(), BEGIN_MS + DAY_MS + 15 * HOUR_MS

    def shape(times_ms: np.ndarray) -> np.ndarray:
        rows = steady(times_ms)
        rows[(times_ms >= busy_ms) & (times_ms < busy_ms + 15 * MINUTE_MS), 3] = 130e3
        return rows

    async with site(tmp_path, group) as here:
        here.tariff = "exemplo-verde"  # contract 120 kW, tolerance 5 %: 126 kW
        await here.fill(group, shape, BEGIN_MS, BEGIN_MS + 2 * DAY_MS)
        await run_well(here)
        assert here.value("main_demand_month_most") == pytest.approx(130)
        assert here.value("main_demand_overshoot_month") == pytest.approx(10)
        peak_h = 3  # Monday 2026-03-02, 18 to 21 h; Sunday has no peak; the month begins at 03:00 UTC
        assert here.value("main_energy_peak_month") == pytest.approx(peak_h * 12)
        assert here.value("main_energy_off_peak_month") == pytest.approx((45 - peak_h) * 12 + 118 / 4)
        # By hand: R$/kWh without taxes 1.86 and 0.47, flag of a month that is not known green, R$ 22 a kW.
        tax = (1 - 0.18) * (1 - 0.0107 - 0.0493)
        energy = (36 * 1.86 + ((45 - 3) * 12 + 29.5) * 0.47) / tax
        assert here.value("main_cost_energy") == pytest.approx(energy)
        assert here.value("main_cost_demand") == pytest.approx(130 * 22 / tax)
        assert here.value("main_cost_overshoot") == pytest.approx(10 * 2 * 22 / tax)
        (alert,) = [each for each in here.alerts if each.id == "analysis.demand.main"]
        assert (alert.raised, alert.value) == (True, pytest.approx(10))


@pytest.mark.parametrize(("day", "hours", "peak_h"), [(16, 24, 3), (17, 25, 0)])
async def test_a_day_of_another_length_has_all_its_quarters(
    tmp_path: Path, day: int, hours: int, peak_h: int
) -> None:
    """In Sao Paulo the clock went back at the end of Saturday, 17 February 2018: that day had 25 hours."""
    group = meter_group()
    begin_ms = round(datetime(2018, 2, day, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
    async with site(tmp_path, group) as here:
        here.tariff = "exemplo-branca"
        await here.fill(group, steady, begin_ms, begin_ms + hours * HOUR_MS)
        here.now_ms = begin_ms + hours * HOUR_MS
        await run_well(here)
        assert here.value("main_energy_month") == pytest.approx(12 * hours)
        assert here.value("main_energy_peak_month") == pytest.approx(12 * peak_h, abs=1e-6)
        assert here.value("main_missing_month") == (day - 1) * 24


async def test_four_weeks_teach_a_load_and_what_is_unusual(tmp_path: Path) -> None:
    group, begin_ms = meter_group(), BEGIN_MS
    options = AnalysisOptions(backfill_days=60)

    def shape(times_ms: np.ndarray) -> np.ndarray:
        rows = steady(times_ms)
        local_h = (times_ms - 3 * HOUR_MS) // HOUR_MS % 24
        chance = np.random.default_rng(1)
        rows[:, 3] = 4e3 + 10e3 * ((local_h >= 8) & (local_h < 18)) + chance.normal(0, 50, times_ms.size)
        rows[:, 0:3] += np.round(chance.normal(0, 0.5, (times_ms.size, 3)), 1)
        rows[:, 5] += np.round(chance.normal(0, 0.01, times_ms.size), 2)
        rows[:, 4] = rows[:, 3] / 4
        return rows

    def wild(times_ms: np.ndarray) -> np.ndarray:
        rows = shape(times_ms)
        rows[:, 3] += 30e3
        return rows

    async with site(tmp_path, group) as here:
        here.options, here.tariff = options, "exemplo-branca"
        now_ms = begin_ms + 28 * DAY_MS + 12 * HOUR_MS
        await here.fill(group, shape, begin_ms, now_ms)
        await run_well(here)
        assert np.isnan(here.value("main_active_power_anomaly"))  # nothing learned yet
        assert "7 points" not in await run_well(here, "analysis-learn")
        await run_well(here)
        assert here.value("main_active_power_anomaly") < 1
        assert here.value("main_ingest_usual") == pytest.approx(1.0)
        assert here.value("main_ingest_anomaly") < 0.2
        assert here.value("main_tomorrow_h12") == pytest.approx(14, abs=0.3)
        assert here.value("main_tomorrow_h03") == pytest.approx(4, abs=0.3)
        assert here.value("main_tomorrow_energy") == pytest.approx(14 * 10 + 4 * 14, rel=0.02)
        assert here.value("main_bill") - here.value("main_cost") == pytest.approx(rest_brl(now_ms), rel=0.03)
        assert here.value("main_month_peak_high") >= here.value("main_demand_month_most")
        await here.fill(group, wild, now_ms, now_ms + HOUR_MS)
        await run_well(here)
        assert here.value("main_active_power_anomaly") > 1
        assert here.value("main_voltage_l1_anomaly") < 1
        # Then every second reading is missing, and at last all of them.
        await here.fill(group, shape, here.now_ms, here.now_ms + HOUR_MS, 3 * MINUTE_MS)
        await run_well(here)
        assert here.value("main_ingest_anomaly") > 1
        here.now_ms += HOUR_MS
        await run_well(here)
        assert (here.value("main_ingest"), here.value("main_ingest_anomaly")) == (0, pytest.approx(2))
        assert [each.raised for each in here.alerts if each.id == "analysis.ingest.main"][-1] is True


def rest_brl(from_ms: int) -> float:
    """What the hours that are left of March 2026 cost under the white tariff, hour by hour."""
    total = 0.0
    hour = datetime.fromtimestamp(from_ms / 1000, ZoneInfo(ZONE))
    while hour.month == 3:
        price = 0.57
        if hour.weekday() < 5 and 18 <= hour.hour < 21:
            price = 1.41
        elif hour.weekday() < 5 and hour.hour in (17, 21):
            price = 0.88
        total += (14 if 8 <= hour.hour < 18 else 4) * price / ((1 - 0.18) * (1 - 0.0107 - 0.0493))
        hour += timedelta(hours=1)
    return total


async def test_two_meters_of_one_thing_that_go_apart(tmp_path: Path) -> None:
    groups = [meter_group("main"), meter_group("twin")]

    def ageing(times_ms: np.ndarray) -> np.ndarray:
        rows = steady(times_ms)
        rows[:, 3] *= 1 + 0.05 * (times_ms > BEGIN_MS + 32 * DAY_MS)
        return rows

    async with site(tmp_path, *groups) as here:
        here.options = AnalysisOptions(backfill_days=60)
        here.said = [MeterOptions(name="twin", same_as="main", energy=None)]
        for group, shape in zip(groups, (steady, ageing), strict=True):
            await here.fill(group, shape, BEGIN_MS, BEGIN_MS + 37 * DAY_MS, 5 * MINUTE_MS)
        await run_well(here)
        assert here.value("twin_drift_anomaly") > 1


async def test_harmonics_line_voltages_and_kilowatts_are_understood(tmp_path: Path) -> None:
    orders = (2, 3, 5, 7)
    points = (
        *(Point(f"voltage_{pair}", "V") for pair in ("l1_l2", "l2_l3", "l3_l1")),
        Point("active_power", "kW"),
        *(Point(f"voltage_l1_harmonic_{order}", "%") for order in orders),
        Point("energy_import", "MWh", Kind.TOTAL),
    )
    group = Group(Device("big", "test"), "all", points, MINUTE_MS)

    def shape(times_ms: np.ndarray) -> np.ndarray:
        row = [378.0, 380.0, 382.0, 500.0, 1.0, 3.0, 4.0, 2.0, 10.0]
        return np.tile(row, (times_ms.size, 1))

    async with site(tmp_path, group) as here:
        await here.fill(group, shape, BEGIN_MS, BEGIN_MS + 1008 * 10 * MINUTE_MS)
        await run_well(here)
        assert here.value("big_voltage_nominal") == 380
        assert here.value("big_demand") == 500
        assert here.value("big_dttp95") == 1
        assert here.value("big_dtt3_95") == 3
        assert here.value("big_dtti95") == pytest.approx(np.hypot(4, 2))
        assert here.value("big_dtt95") == pytest.approx(np.sqrt(1 + 9 + 16 + 4))
        # CIGRE by hand: beta = sum(V^4) / sum(V^2)^2
        squares = np.array([378.0, 380.0, 382.0]) ** 2
        root = np.sqrt(3 - 6 * (squares**2).sum() / squares.sum() ** 2)
        assert here.value("big_fd95") == pytest.approx(100 * np.sqrt((1 - root) / (1 + root)), rel=1e-4)


async def test_who_was_never_looked_at_had_not_no_sags(tmp_path: Path) -> None:
    group, silent = meter_group(), meter_group("silent")
    async with site(tmp_path, group, silent) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + HOUR_MS)
        await run_well(here)
        assert here.value("main_momentary_sags_7d") == 0
        assert np.isnan(here.value("silent_momentary_sags_7d"))


async def test_a_bad_reading_is_no_value(tmp_path: Path) -> None:
    group = meter_group()
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + HOUR_MS)
        here.store.append([group.bad(BEGIN_MS + HOUR_MS + at * MINUTE_MS) for at in range(30)])
        here.store.append([Reading(group, BEGIN_MS + 90 * MINUTE_MS, [np.nan] * 7)])
        await here.store.commit()
        here.now_ms = BEGIN_MS + 2 * HOUR_MS
        await run_well(here)
        assert here.value("main_voltage_readings") == 6
        assert np.isnan(here.value("main_voltage_class"))
        assert here.value("main_long_interruptions_7d") == 0
