from __future__ import annotations

import time

import pytest

from agent.model import Device, Group, Point
from agent.server.selection import Selection, select
from tests.server.conftest import METER, SENSOR

GROUPS = [METER, SENSOR]


@pytest.mark.parametrize(
    ("patterns", "ids"),
    [
        (["*"], ["meter.voltage", "meter.energy", "meter.mode", "sensor.temperature"]),
        (["meter.*"], ["meter.voltage", "meter.energy", "meter.mode"]),
        (["*.temperature", "meter.mode"], ["meter.mode", "sensor.temperature"]),
        (["m?ter.[ev]*"], ["meter.voltage", "meter.energy"]),
    ],
)
def test_patterns_choose_points(patterns: list[str], ids: list[str]) -> None:
    assert select(patterns, GROUPS).ids(GROUPS) == ids


def test_no_pattern_chooses_nothing() -> None:
    assert Selection([]).ids(GROUPS) == []


@pytest.mark.parametrize(
    "pattern", ["Meter.voltage", "meter", "meter.volt", "voltage", "meter.[", "", ".*\n"]
)
def test_what_matches_nothing_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match="unknown point") as fault:
        select(["meter.*", pattern], GROUPS)
    assert f'"{pattern}"' in str(fault.value)


def test_a_nasty_pattern_takes_no_time() -> None:
    groups = [Group(Device("a" * 60, ""), "g", tuple(Point("a" * 60 + str(at)) for at in range(100)), 0)]
    started_s = time.perf_counter()
    with pytest.raises(ValueError, match="unknown point"):
        select(["*a" * 60 + "b"], groups)
    assert time.perf_counter() - started_s < 2
