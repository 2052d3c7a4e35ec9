"""Rules on a real hub: what is published leads to what is said."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from agent.alarms.watch import Watch, watched
from agent.hub import Hub
from agent.model import Device, Group, Point, Quality, Reading
from tests.alarms.site import FAST, HIGH, NAN, ROOM, SLOW, Site, rules


def test_a_limit_is_raised_and_cleared_with_its_value() -> None:
    site = Site([HIGH])
    for volts in (229, 231, 232, 230):
        site.volts(volts)
    assert site.said == [("r0.high", True, 231.0), ("r0.high", False, 230.0)]


def test_on_and_off_delays_are_counted_by_the_clock_too() -> None:
    site = Site([{**HIGH, "on_delay_s": 5.0, "off_delay_s": 3.0}])
    site.volts(231)
    site.pass_(4.9)
    assert not site.said
    site.pass_(0.2)  # nothing new was published: the last word holds
    assert site.names == [("r0.high", True)]
    site.volts(229)
    site.pass_(2.9)
    site.volts(231)
    site.pass_(1)
    assert len(site.said) == 1
    site.volts(229)
    site.pass_(3)
    assert site.names[1:] == [("r0.high", False)]


@pytest.mark.parametrize(
    "missing", [{"volts": NAN}, {"volts": 250.0, "quality": Quality.BAD}, {"volts": math.inf}]
)
def test_missing_data_raise_nothing_and_clear_nothing(missing: dict[str, Any]) -> None:
    site = Site([HIGH])
    site.volts(**missing)
    assert not site.said
    site.volts(231)
    site.volts(**missing)
    site.pass_(3600)
    assert site.names == [("r0.high", True)]


def test_missing_data_stop_a_delay() -> None:
    site = Site([{**HIGH, "on_delay_s": 5.0}])
    site.volts(231)
    site.volts(NAN)
    site.pass_(10)
    assert not site.said


def test_uncertain_data_count() -> None:
    site = Site([HIGH])
    site.volts(231, quality=Quality.UNCERTAIN)
    assert site.names == [("r0.high", True)]


def test_what_comes_late_is_history() -> None:
    site = Site([HIGH])
    site.volts(229)
    site.volts(300, ago_ms=5000)
    assert not site.said


def test_of_a_batch_the_newest_counts() -> None:
    site = Site([HIGH])
    site.hub.publish([Reading(FAST, at, (volts, 1.0)) for at, volts in ((1, 300.0), (2, 229.0))])
    assert not site.said


def test_after_the_clock_was_set_back_it_still_looks() -> None:
    site = Site([HIGH])
    site.volts(229)
    site.time_ms -= 3_600_000
    site.hub.restamp(-3_600_000)
    site.volts(231)
    assert site.names == [("r0.high", True)]


def test_four_limits_are_four_alarms() -> None:
    table = {
        "kind": "limit",
        "point": "meter.voltage",
        "high_high": 240.0,
        "high": 230.0,
        "low": 200.0,
        "low_low": 9.0,
    }
    site = Site([table])
    site.volts(241)
    assert sorted(site.names) == [("r0.high", True), ("r0.high_high", True)]
    site.volts(5)
    assert sorted(site.names[2:]) == [
        ("r0.high", False), ("r0.high_high", False), ("r0.low", True), ("r0.low_low", True)
    ]  # fmt: skip


def test_points_of_two_groups_and_devices_meet() -> None:
    site = Site([{"kind": "expression", "when": "meter.energy > 5 and room.temperature > meter.mode"}])
    site.publish(SLOW, 6.0)
    site.publish(ROOM, 3.0)
    assert not site.said
    site.volts(1)  # brings the mode
    assert [raised for _, raised, _ in site.said] == [True]
    site.publish(SLOW, NAN, quality=Quality.BAD)
    assert len(site.said) == 1
    site.publish(ROOM, 0.5)
    assert site.names[-1] == ("r0", False)


def test_stale_is_silence_bad_readings_and_missing_values_and_ends_with_a_good_one() -> None:
    site = Site([{"kind": "stale", "point": "meter.voltage", "after_s": 10.0}])
    site.volts(230)
    for _ in range(9):
        site.pass_(1)
        site.volts(NAN)
    assert not site.said
    site.publish(FAST, 1.0, 1.0, quality=Quality.BAD)
    site.pass_(1.1)
    assert site.names == [("r0", True)]
    site.volts(NAN)
    site.publish(SLOW, 1.0)
    assert len(site.said) == 1
    site.volts(230)
    assert site.names == [("r0", True), ("r0", False)]


def test_a_point_never_heard_of_is_stale_after_its_time() -> None:
    site = Site([{"kind": "stale", "point": "meter.voltage", "after_s": 10.0}])
    site.pass_(9)
    assert not site.said
    site.pass_(2)
    assert site.names == [("r0", True)]


def test_what_an_earlier_run_left_raised_is_not_raised_again_but_cleared() -> None:
    site = Site(
        [{**HIGH, "hysteresis": 2.0}, {"kind": "stale", "point": "room.temperature", "after_s": 10.0}],
        raised_before=("r0.high", "r1"),
    )
    site.volts(229)  # within the hysteresis
    site.pass_(1)
    assert not site.said
    site.volts(227)
    site.publish(ROOM, 20.0)
    assert site.names == [("r0.high", False), ("r1", False)]


def test_a_device_may_be_made_anew_while_it_runs() -> None:
    site = Site([HIGH])
    site.volts(231)
    again = Group(Device("meter", "t"), "fast", (Point("mode"), Point("voltage", "V")), 1000)  # another order
    site.publish(again, 1.0, 229.0)
    assert site.names == [("r0.high", True), ("r0.high", False)]


def test_every_kind_says_what_alarms_it_makes() -> None:
    made = list(
        watched(
            rules(
                {**HIGH, "low_low": 3.0, "suppressed_by": ["r1"], "text_pt": "Tensão"},
                {"kind": "rate", "point": "meter.voltage", "per_s": -1.0},
                {"kind": "deviation", "point": "meter.voltage", "other": "room.temperature", "most": 5.0},
                {"kind": "stale", "point": "meter.voltage", "after_s": 5.0},
                {"kind": "state", "point": "meter.mode", "states": [1, 2]},
                {"kind": "expression", "when": "meter.mode > 1"},
            )
        )
    )
    assert [each.alarm.id for each in made] == ["r0.high", "r0.low_low", "r1", "r2", "r3", "r4", "r5"]
    assert made[0].alarm.words == ("Tensão (230)", "Tensão (230)")
    assert made[0].suppressed_by == ("r1",)
    assert made[0].alarm.priority == "medium"
    assert made[1].alarm.priority == "high"
    assert made[2].alarm.words.en == "meter.voltage falls too fast (more than 1 a second)"
    assert all(each.alarm.words.pt != each.alarm.words.en for each in made[2:])


def test_readings_that_no_rule_looks_at_cost_next_to_nothing() -> None:
    groups = [
        Group(Device(f"d{at}", "t"), "all", tuple(Point(f"p{n}") for n in range(20)), 1000)
        for at in range(50)
    ]
    hub = Hub(groups)
    watch = Watch(rules(HIGH), hub.latest, lambda *_: None)
    readings = [Reading(group, 1, (1.0,) * 20) for group in groups]
    hub.publish(readings)
    watch.heard(readings)
    begun_s = time.perf_counter()
    for _ in range(200):
        watch.heard(readings)
    per_reading_us = (time.perf_counter() - begun_s) / 10_000 * 1e6
    assert per_reading_us < 10  # 0.1 as a rule; far from what storing costs even on a busy machine
