"""What needs numpy, in a real child: the same as at home, and what becomes of it without one."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.apart import Apart
from agent.control.grey_box import PRIOR
from agent.control.history import COLUMNS, History
from agent.control.model import Model
from agent.control.planner import Day, at_home
from agent.control.room import HORIZON, Outlook, Room, Seen, Unit
from agent.control.site.almanac import almanac
from agent.control.site.aside import Aside
from agent.control.site.calendar import of_room
from agent.control.site.outlooks import Terms
from tests.conftest import until
from tests.control.site.places import Place, room_options
from tests.control.test_learn import lived
from tests.tariff.files import SAO_PAULO, VERDE, tariff

MONDAY = round(datetime(2026, 1, 5, 3, tzinfo=UTC).timestamp()) // 900


def day() -> Day:
    history = History()
    for number in range(400):
        temp_c = 25.0 + number % 7 / 10
        history.add(number, [temp_c, 30.0, float("nan"), 400.0, 1.0, number % 96, float("nan")][:COLUMNS])
    occupied = tuple(20 <= quarter < 60 for quarter in range(HORIZON))
    outlook = Outlook(12, occupied, (0.85,) * HORIZON)
    model = Model(tuple(PRIOR.tolist()), 1200.0, 0.0, 0.3, 0)
    return Day(Room("room", (Unit("ac"),)), model, history, outlook, 27.0, Seen(31.0), surprise_k=0.05)


def children() -> list[str]:
    """The command lines of our children that work for us."""
    words = ("ps", "-o", "args=", "--ppid", str(os.getpid()))
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return [line for line in said.splitlines() if "agent.apart" in line]


def test_the_same_as_at_home_bit_for_bit_from_one_child_that_ends_with_the_cycle(tmp_path: Path) -> None:
    terms = Terms({"room": of_room(room_options())}, tariff(VERDE, tmp_path), zone=SAO_PAULO)
    aside = Aside()
    try:
        assert aside.almanac(terms, MONDAY) == almanac(terms, MONDAY)
        planned = aside.plan(day())
        assert planned == at_home(day())
        assert planned is not None
        assert not planned.late
        assert max(planned.load) > 0
        assert len(children()) == 1
    finally:
        aside.rest()
    assert not children()


async def test_a_stop_does_not_wait_for_what_is_being_learned(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options()])
    async with place.control() as control:
        control._loop.history[place.rooms[0].id] = lived()
        learning = asyncio.create_task(control.learn(0))
        await until(lambda: bool(children()), 20)
        learning.cancel()
        await asyncio.gather(learning, return_exceptions=True)
    assert not children()
    assert not control._loop.verdicts


async def test_a_room_that_cannot_be_learned_keeps_no_other_from_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    units = [room_options().unit[0]]
    place = Place(tmp_path, [room_options(id="torn", unit=units), room_options(unit=units)])
    async with place.control() as control:
        torn = History(lived().values[:-3], 1_000_000)
        control._loop.history |= {"torn": torn, "office-101": lived()}
        await control.learn(0)
        assert list(control._loop.verdicts) == ["office-101"]
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert warning.startswith("control: learning failed: torn: ")


@pytest.mark.parametrize("program", ["agent.there_is_none", "this"], ids=["missing", "says something else"])
def test_without_a_child_no_plan_an_almanac_of_our_own_and_one_try_a_cycle(
    program: str, caplog: pytest.LogCaptureFixture
) -> None:
    terms = Terms({"room": of_room(room_options())}, zone=SAO_PAULO)
    aside = Aside(Apart(20.0, program=program))
    assert aside.plan(day()) is None
    assert aside.plan(day()) is None
    assert aside.almanac(terms, MONDAY) == almanac(terms, MONDAY)
    aside.rest()
    assert aside.plan(day()) is None
    assert not children()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith("control: planning in a process of its own")


def test_a_plan_that_fails_costs_that_plan_alone(caplog: pytest.LogCaptureFixture) -> None:
    odd = replace(day(), model=replace(day().model, learned=(0.0, 1.0)))
    aside = Aside()
    try:
        assert aside.plan(odd) is None
        (child,) = children()
        assert aside.plan(odd) is None
        assert aside.plan(day()) == at_home(day()), "another room has its plan in the same cycle"
        assert children() == [child]
    finally:
        aside.rest()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith("control: a plan: room: ")
