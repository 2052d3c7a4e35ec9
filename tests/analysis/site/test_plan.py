"""What the child is told, what is published, and what of the configuration is wrong."""

from __future__ import annotations

import subprocess
import sys

from agent.analysis.site.meters import group_plan, meters, slugs
from agent.analysis.site.options import AnalysisOptions, MeterOptions, analysis_faults, built_in_jobs
from agent.analysis.site.plan import Plan
from agent.analysis.site.points import published
from agent.model import Device, Group, Kind, Point
from tests.analysis.site.site import meter_group

ROOM = Group(Device("room", "test"), "all", (Point("temperature", "°C"), Point("on", "", Kind.STATE)), 60_000)


def plan_of(*groups: Group, said: dict[str, MeterOptions] | None = None, tariff: str = "") -> Plan:
    return Plan(
        store="readings.db",
        book="analysis.db",
        zone="America/Sao_Paulo",
        tariff_dirs=[],
        backfill_days=35,
        keep_days=70,
        anomalies=True,
        outdoor="",
        groups=[group_plan(group) for group in groups],
        meters=meters(groups, said or {}, tariff, "main"),
    )


def test_a_meter_is_known_by_its_points_and_a_room_is_none() -> None:
    plan = plan_of(meter_group("main"), ROOM)
    (meter,) = plan.meters
    assert meter.volts == ["voltage_l1", "voltage_l2", "voltage_l3"]
    assert (meter.power, meter.energy, meter.frequency) == (["active_power"], "energy_import", "frequency")
    assert plan.groups[1].points == ["temperature"]  # a state has no level
    names = set(published(plan))
    assert {"voltage-main", "event-main", "energy-main", "outlook-main", "ingest-room"} <= names
    assert "bill-main" not in names


def test_the_sites_tariff_is_of_the_main_meter_and_a_meter_may_have_its_own() -> None:
    groups = meter_group("main"), meter_group("flat-1")
    said = {"flat-1": MeterOptions(name="flat-1", tariff="exemplo-branca")}
    found = plan_of(*groups, said=said, tariff="exemplo-verde").meters
    assert [meter.tariff for meter in found] == ["exemplo-verde", "exemplo-branca"]
    assert plan_of(*groups, said={"main": MeterOptions(name="main", skip=True)}).meters[0].device == "flat-1"


def test_every_published_point_has_a_name_of_its_own_and_a_unit_that_is_known() -> None:
    plan = plan_of(meter_group("Main-1"), meter_group("main_1"), tariff="exemplo-verde")
    points = [point for group in published(plan).values() for point in group.points]
    assert len({point.name for point in points}) == len(points)
    assert {point.unit for point in points} <= {
        "",
        "%",
        "V",
        "Hz",
        "s",
        "h",
        "kW",
        "kWh",
        "pu",
        "BRL",
        "1/min",
    }


def test_names_that_would_be_alike() -> None:
    assert slugs(["Main-1", "main_1", "é"]) == {"Main-1": "main_1", "main_1": "main_1_2", "é": "device"}


def test_what_is_wrong_is_said_with_what_there_is() -> None:
    points = {"main": {"voltage_l1", "active_power"}}
    said = [
        MeterOptions(name="mian"),
        MeterOptions(name="main", power=["power"], same_as="main"),
        MeterOptions(name="main"),
    ]
    faults = dict(analysis_faults(AnalysisOptions(outdoor_point="roof.t"), said, points))
    assert "found 'mian'" in faults["meter[0].name"]
    assert "active_power" in faults["meter[1].power"]
    assert "another device" in faults["meter[1].same_as"]
    assert "also meter[1]" in faults["meter[2].name"]
    assert "roof.t" in faults["analysis.outdoor_point"]


def test_when_it_runs() -> None:
    assert built_in_jobs(AnalysisOptions(enabled=False)) == {}
    jobs = built_in_jobs(AnalysisOptions(learn_at="02:05"))
    assert {name: when.words for name, when in jobs.items()} == {
        "analysis": "every 600 s",
        "analysis-learn": "cron 5 2 * * *",
    }


def test_the_agent_does_not_load_what_only_the_child_needs() -> None:
    code = "import sys, agent.service; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    heavy = ("power_quality", "anomaly", "forecast", "site.child", "site.book")
    assert "agent.analysis.site.job" in done.stdout.split()
    assert not {f"agent.analysis.{name}" for name in heavy} & set(done.stdout.split())
    assert "agent.tariff" not in done.stdout.split()
