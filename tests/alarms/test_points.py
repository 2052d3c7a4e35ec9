"""Alarms as readings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.alarms import Alarms, AlarmsOptions, Priority
from agent.alarms.points import AlarmPoints
from agent.model import Reading
from tests.alarms.site import START_MS, Clock, alarm


async def test_they_are_published_when_they_change_and_now_and_then(tmp_path: Path) -> None:
    clock, wall, published = Clock(), Clock(START_MS / 1000), list[Reading]()

    def publish(readings: Sequence[Reading]) -> None:
        published.extend(readings)

    async with Alarms(tmp_path, AlarmsOptions(), now_s=wall, clock=clock) as alarms:
        alarms.declare(alarm("voltage.high", Priority.HIGH))
        points = AlarmPoints(alarms, publish, lambda: None, now_s=wall, clock=clock)
        assert [group.point_ids for group in points.groups][1] == ("agent.alarm_voltage-high",)
        alarms.declare(alarm("later"))  # has no point, and disturbs none
        points.look()
        assert [tuple(reading.values) for reading in published] == [(0, 0, 0, 0, 0), (0,)]
        points.look()
        assert len(published) == 2
        alarms.raise_alarm(alarm("voltage.high", Priority.HIGH))
        clock.now_s += 4
        points.look()
        assert len(published) == 2
        clock.now_s += 1
        points.look()
        assert [tuple(reading.values) for reading in published[2:]] == [(1, 1, 0, 0, 2), (1,)]
        alarms.shelve("voltage.high", 3600, "ana")
        clock.now_s += 5
        points.look()
        assert [tuple(reading.values) for reading in published[4:]] == [(0, 0, 1, 0, 0), (4,)]
        clock.now_s += 600
        points.look()
        assert len(published) == 8


async def test_without_rules_there_is_one_group(tmp_path: Path) -> None:
    async with Alarms(tmp_path) as alarms:
        assert [group.name for group in AlarmPoints(alarms, lambda _: None, lambda: None).groups] == [
            "alarms"
        ]
