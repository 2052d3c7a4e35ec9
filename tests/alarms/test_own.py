"""The agent's own troubles, from a status as the agent gives it to alarms."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.alarms import Alarms, AlarmsOptions, State
from agent.alarms.card import Card, look, worn, years
from agent.alarms.own import LOOK_S, Own, Place
from agent.hub import Hub
from agent.model import Quality, Reading
from tests.alarms.site import FAST, ROOM, SLOW, START_MS, Clock

NOWHERE = Place(math.nan, None)


class Command(NamedTuple):
    point: str
    state: str
    reason: str = ""


class Box:
    def __init__(self, alarms: Alarms, folder: Path, clock: Clock, wall: Clock) -> None:
        self.alarms, self.clock, self.wall = alarms, clock, wall
        self.hub = Hub((FAST, SLOW, ROOM))
        self.status: dict[str, Any] = {}
        self.outlets: dict[str, int] = {}
        self.uptime_s = 7 * 3600.0
        options = AlarmsOptions(backlog_readings=100)
        self.own = Own(
            alarms,
            options,
            lambda: self.status,
            self.hub.latest,
            lines=lambda: {"rs485": ["meter"], "wifi": ["room"]},
            folder=folder,
            outlets=lambda: self.outlets,
            card_endurance_tb=10.0,
            clock=clock,
            uptime_s=lambda: self.uptime_s,
        )

    def pass_(self, seconds: float, place: Place = NOWHERE) -> None:
        for _ in range(max(1, round(seconds / LOOK_S))):
            self.clock.now_s += LOOK_S
            self.wall.now_s += LOOK_S
            self.own.look(place)
            self.alarms.tick()

    @property
    def raised(self) -> set[str]:
        return {each.id for each in self.alarms.active() if each.raised}


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    clock, wall = Clock(), Clock(START_MS / 1000)
    async with Alarms(tmp_path, now_s=wall, clock=clock) as alarms:
        yield Box(alarms, tmp_path, clock, wall)


def line(*, failing: bool) -> dict[str, Any]:
    return {"lines": [{"name": "rs485", "failing": failing}]}


async def test_a_line_that_is_dead_for_long_and_its_devices(box: Box) -> None:
    box.status = line(failing=True)
    box.hub.publish([FAST.bad(1), SLOW.bad(1), Reading(ROOM, 1, (20.0,))])
    box.pass_(25)
    assert not box.raised
    box.pass_(10)
    assert box.raised == {"agent.line.rs485"}
    box.pass_(60)
    assert box.raised == {"agent.line.rs485", "agent.device.meter"}
    assert box.alarms.get("agent.device.meter").state is State.SUPPRESSED  # type: ignore[union-attr]
    box.status = line(failing=False)
    box.pass_(10)
    assert box.raised == {"agent.device.meter"}
    assert box.alarms.get("agent.device.meter").state is State.UNACKNOWLEDGED  # type: ignore[union-attr]
    box.hub.publish([Reading(FAST, 2, (1.0, 1.0), Quality.GOOD)])
    box.pass_(10)
    assert not box.raised


async def test_one_bad_group_of_two_is_not_a_dead_device_nor_is_one_never_heard_of(box: Box) -> None:
    box.hub.publish([FAST.bad(1), Reading(SLOW, 1, (1.0,))])
    box.pass_(600)
    assert not box.raised


async def test_a_hiccup_is_no_alarm(box: Box) -> None:
    for at in range(100):
        box.status = line(failing=at % 3 != 0)
        box.pass_(5)
    assert not box.raised


def backlog(count: int) -> dict[str, Any]:
    return {"uplinks": [{"name": "center", "backlog": count}]}


async def test_a_backlog_that_only_grows_until_it_shrinks(box: Box) -> None:
    for at in range(150):
        box.status = backlog(at * 10)
        box.pass_(5)
    assert box.raised == {"agent.backlog.center"}
    for at in range(150):
        box.status = backlog(1500 - at * 9)
        box.pass_(5)
    assert not box.raised


@pytest.mark.parametrize("counts", [[50, 99] * 100, [5000] * 200, [5000, 4000, 6000] * 70])
async def test_a_backlog_that_is_small_or_does_not_grow(box: Box, counts: list[int]) -> None:
    for count in counts:
        box.status = backlog(count)
        box.pass_(5)
    assert not box.raised


async def test_store_clock_and_disk(box: Box) -> None:
    box.status = {"store": {"failing": True, "discarded_unsent": 5}, "clock_trusted": False}
    box.pass_(15, Place(199.0, None))
    assert box.raised == {"agent.store-failing", "agent.disk"}
    box.pass_(300, Place(210.0, None))  # within the hysteresis
    assert box.raised == {"agent.store-failing", "agent.disk", "agent.clock"}
    box.status = {"store": {"failing": False, "discarded_unsent": 9}, "clock_trusted": True}
    box.pass_(5, Place(221.0, None))
    assert box.raised >= {"agent.store-discarding"}
    assert box.alarms.get("agent.store-discarding").detail == "4"  # type: ignore[union-attr]
    box.pass_(15, Place(221.0, None))
    assert box.raised == {"agent.store-discarding"}
    box.pass_(600)
    assert not box.raised


async def test_what_a_kill_took_along_is_said_at_the_next_start(box: Box) -> None:
    box.status = {
        "store": {"failing": False, "discarded_unsent": 9, "lost_by_kill": 3},
        "clock_trusted": True,
    }
    box.pass_(5)
    assert box.alarms.get("agent.store-discarding").detail == "3"  # type: ignore[union-attr]
    box.pass_(900)
    assert not box.raised


async def test_a_disk_that_cannot_be_asked_changes_nothing(box: Box) -> None:
    box.pass_(5, Place(10.0, None))
    box.pass_(5, NOWHERE)
    assert box.raised == {"agent.disk"}


async def test_the_card(box: Box) -> None:
    # 10 TB in two years are 158 kB/s
    box.pass_(5, Place(math.nan, Card(round(7 * 3600 * 150e3), 0)))
    assert not box.raised
    box.pass_(5, Place(math.nan, Card(round(7 * 3600 * 170e3), 0)))
    assert box.raised == {"agent.card"}
    box.pass_(5, Place(math.nan, Card(0, 9)))
    assert box.raised == {"agent.card"}
    assert worn(None, 1e6, 10, 2) == (None, "")
    assert worn(Card(10**12, 0), 3600, 10, 2)[0] is None  # too early
    assert worn(Card(10**12, 3), 3600, 10, 2)[0] is False
    assert years(Card(10**12, 0), 1e6, 0) is None
    assert years(Card(0, 0), 1e6, 1) is not None


async def test_a_command_that_is_refused_for_long(box: Box) -> None:
    heard = box.own.heard
    heard(Command("ac.setpoint", "failed", "no answer"))
    box.pass_(60)
    heard(Command("ac.setpoint", "replaced"))  # a renewal changes nothing
    heard(Command("ac.setpoint", "accepted"))
    heard(Command("ac.setpoint", "failed", "no answer"))
    box.pass_(70)
    assert box.raised == {"agent.command.ac.setpoint"}
    assert box.alarms.active()[0].detail == "no answer"
    heard(Command("ac.setpoint", "written"))
    box.pass_(10)
    assert not box.raised
    heard(Command("ac.setpoint", "failed"))
    heard(Command("ac.setpoint", "expired"))
    box.pass_(600)
    assert not box.raised


async def test_refused_logins_and_outlets(box: Box) -> None:
    box.own.refused("server.refusals", "30 refusals or more within 60 s")
    box.own.refused("server.token.forged", "3 forged tokens")
    assert box.raised == {"agent.server.refusals", "agent.server.token.forged"}
    assert "Possível ataque" in box.alarms.active()[0].words.pt
    box.outlets = {"team": 3}
    box.pass_(1900)
    assert box.raised == {"agent.outlet.team"}


async def test_names_are_those_of_the_configuration(box: Box) -> None:
    box.status = {**line(failing=True), **backlog(5)}
    assert box.own.names() == {
        "agent.line.rs485", "agent.device.meter", "agent.device.room", "agent.backlog.center",
        "agent.store-failing", "agent.clock", "agent.disk", "agent.card",
    }  # fmt: skip
    assert not box.raised


def test_the_kernel_is_asked_about_the_disk_of_a_folder(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    import os

    name = f"{os.major(number)}:{os.minor(number)}"
    part = tmp_path / "sys" / "devices" / "mmcblk0" / "mmcblk0p2"
    part.mkdir(parents=True)
    (part / "partition").write_text("2\n")
    (part.parent / "stat").write_text("  10 0 80 5 20 0 4096 9 0 0 0\n")
    (part.parent / "device").mkdir()
    (part.parent / "device" / "life_time").write_text("0x02 0x03\n")
    blocks = tmp_path / "sys" / "dev" / "block"
    blocks.mkdir(parents=True)
    assert look(tmp_path, tmp_path / "sys") is None
    (blocks / name).symlink_to(part)
    assert look(tmp_path, tmp_path / "sys") == Card(4096 * 512, 3)
    (part.parent / "stat").write_text("nonsense\n")
    assert look(tmp_path, tmp_path / "sys") is None
    assert look(tmp_path / "missing") is None
