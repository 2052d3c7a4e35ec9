"""An outlet as a cursor: order, restarts, failures, what was cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.alarms import Change, Event, Priority
from agent.alarms.outlets import OutletOptions
from agent.alarms.outlets.follow import wants
from tests.alarms.outlets.box import following, writing
from tests.alarms.site import alarm
from tests.conftest import until


class Told:
    """An outlet that remembers, and fails as often as it is told to."""

    def __init__(self, batch_max: int = 100) -> None:
        self.batch_max, self.fail = batch_max, 0
        self.events: list[tuple[Change, str]] = []
        self.lost = 0

    async def deliver(self, events: Sequence[Event], lost: int) -> None:
        if self.fail:
            self.fail -= 1
            raise ConnectionError("away")
        self.events += [(event.change, event.alarm.id) for event in events]
        self.lost += lost


async def test_everything_in_order_over_failures(tmp_path: Path) -> None:
    outlet = Told(batch_max=3)
    outlet.fail = 3
    async with writing(tmp_path) as alarms, following(alarms, OutletOptions(name="o"), outlet):
        for at in range(10):
            alarms.raise_alarm(alarm(f"a{at}"))
        await until(lambda: len(outlet.events) == 10)
    assert outlet.events == [(Change.RAISED, f"a{at}") for at in range(10)]


async def test_a_new_outlet_begins_now_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    outlet = Told()
    async with writing(tmp_path) as alarms:
        alarms.raise_alarm(alarm("before"))
        await alarms.settled()
        async with following(alarms, OutletOptions(name="o"), outlet):
            alarms.raise_alarm(alarm("told"))
            await until(lambda: outlet.events)
        alarms.raise_alarm(alarm("while-away"))
    async with writing(tmp_path) as alarms, following(alarms, OutletOptions(name="o"), outlet):
        await until(lambda: len(outlet.events) == 2)
    assert [name for _, name in outlet.events] == ["told", "while-away"]


async def test_a_first_failure_before_a_restart_loses_nothing(tmp_path: Path) -> None:
    outlet = Told()
    outlet.fail = 10**6
    async with writing(tmp_path) as alarms, following(alarms, OutletOptions(name="o"), outlet):
        alarms.raise_alarm(alarm("first"))
        await until(lambda: outlet.fail < 10**6)
    outlet.fail = 0
    async with writing(tmp_path) as alarms, following(alarms, OutletOptions(name="o"), outlet):
        await until(lambda: outlet.events)
    assert outlet.events == [(Change.RAISED, "first")]


async def test_what_was_cut_off_is_counted(tmp_path: Path) -> None:
    outlet = Told()
    async with writing(tmp_path, journal_events_max=100, events_per_minute_max=10_000) as alarms:
        async with following(alarms, OutletOptions(name="o"), outlet):
            await until(lambda: "o" in alarms.journal._cursors)
        for at in range(250):
            alarms.raise_alarm(alarm(f"a{at}"))
        await alarms.settled()
        async with following(alarms, OutletOptions(name="o"), outlet):
            await until(lambda: outlet.events)
    assert (outlet.lost, len(outlet.events)) == (150, 100)


async def test_it_gathers_and_rests(tmp_path: Path) -> None:
    outlet, slept = Told(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    options = OutletOptions(name="o", changes=[Change.RAISED])
    async with (
        writing(tmp_path) as alarms,
        following(alarms, options, outlet, gather_s=7.0, pause_s=9.0, sleep=sleep),
    ):
        alarms.raise_alarm(alarm())
        await until(lambda: len(slept) == 2)
        alarms.clear("a")
        await until(lambda: len(slept) == 4)
    assert slept == [7.0, 9.0, 7.0, 0.0]  # nobody was told of the second: no rest


UP = alarm(priority=Priority.MEDIUM).up(1)


@pytest.mark.parametrize(
    ("options", "change", "of", "wanted"),
    [
        ({}, Change.RAISED, UP, True),
        ({}, Change.RAISED, UP.shelved(9), False),
        ({}, Change.RAISED, UP.explained(suppressed=True), False),
        ({}, Change.CLEARED, UP.down(2), True),
        ({}, Change.SHELVED, UP.shelved(9), False),
        ({"changes": [Change.SHELVED]}, Change.SHELVED, UP.shelved(9), True),
        ({}, Change.UNSHELVED, UP.shelved(9).unshelved(), True),
        ({}, Change.UNSHELVED, UP.shelved(9).down(2).unshelved(), False),
        ({}, Change.UNSUPPRESSED, UP.explained(suppressed=True).explained(suppressed=False), True),
        ({"changes": [Change.CLEARED]}, Change.RAISED, UP, False),
        ({"priority": "high"}, Change.RAISED, UP, False),
        ({"priority": "medium"}, Change.RAISED, UP, True),
        ({"priority": "critical"}, Change.LOST, UP, True),
    ],
)
def test_what_an_outlet_wants(options: dict[str, Any], change: Change, of: Any, wanted: bool) -> None:
    assert wants(OutletOptions(name="o", **options), Event(1, 1, change, "", "", of)) is wanted
