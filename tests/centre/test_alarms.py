"""Alarms at a fake ThingsBoard over real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from agent.alarms import Alarm, Change, Event, Priority, Words
from agent.centre.alarms import CentreAlarms
from agent.centre.client import RestError
from tests.centre.conftest import client
from tests.thingsboard_http.server import FakeThingsBoard

UP = Alarm("v.high", Words("Tensão alta", "High voltage"), Priority.HIGH, "meter.voltage").up(1000, 231.5)


def outlet(fake: FakeThingsBoard) -> CentreAlarms:
    return CentreAlarms(client(fake), "acme", {"meter"}, "pt-BR")


def event(change: Change, alarm: Alarm, time_ms: int = 2000) -> Event:
    return Event(1, time_ms, change, "", "", alarm)


RAISED = event(Change.RAISED, UP)
SEEN = event(Change.ACKNOWLEDGED, UP.seen(2000, "ana"))
CLEARED = event(Change.CLEARED, UP.down(3000), 3000)
SEEN_AFTER = event(Change.ACKNOWLEDGED, UP.down(3000).seen(4000, "ana"))


@pytest.fixture
def centre(fake: FakeThingsBoard) -> FakeThingsBoard:
    for name in ("acme", "meter"):
        fake.centre.save("DEVICE", {"name": name})
    return fake


def flags(fake: FakeThingsBoard) -> list[tuple[bool, bool]]:
    return [(each["cleared"], each["acknowledged"]) for each in fake.alarms.alarms]


async def test_it_is_raised_at_the_device_it_is_about(centre: FakeThingsBoard) -> None:
    await outlet(centre).deliver([RAISED], 0)
    (one,) = centre.alarms.alarms
    assert one["originator"] == centre.centre.named("DEVICE", "meter")["id"]
    assert (one["type"], one["severity"], one["startTs"]) == ("v.high", "MAJOR", 1000)
    assert one["details"] == {
        "text": "Tensão alta", "change": "Ativo", "source": "meter.voltage", "detail": "", "value": 231.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([RAISED], [(False, False)]),
        ([RAISED, SEEN], [(False, True)]),
        ([RAISED, CLEARED], [(True, False)]),
        ([RAISED, CLEARED, SEEN_AFTER], [(True, True)]),
        ([RAISED, event(Change.CLEARED, UP.seen(2, "ana").down(3000))], [(True, True)]),
        ([RAISED, CLEARED, event(Change.RAISED, UP.down(3000).up(5000))], [(True, False), (False, False)]),
        ([CLEARED], [(True, False)]),  # it was raised before this outlet began
    ],
)
async def test_what_is_done_here_is_done_there_also_twice(
    centre: FakeThingsBoard, events: list[Event], left: list[tuple[bool, bool]]
) -> None:
    there = outlet(centre)
    await there.deliver(events, 0)
    assert flags(centre) == left
    await there.deliver(events[-1:], 0)  # the answer was lost: once more
    assert flags(centre) == left


async def test_answers_that_are_lost_make_no_second_alarm(centre: FakeThingsBoard) -> None:
    there = outlet(centre)
    await there.deliver([RAISED], 0)
    surprise = centre.surprise(
        path=f"/api/alarm/{centre.alarms.alarms[0]['id']['id']}/clear", cut=True, after=True
    )
    with pytest.raises(OSError, match="clear"):
        await there.deliver([CLEARED], 0)
    assert surprise.times == 0
    await there.deliver([CLEARED], 0)
    assert flags(centre) == [(True, False)]


async def test_the_agents_own_are_the_gateways(centre: FakeThingsBoard) -> None:
    own = Alarm("agent.disk", Words("x", "x"), Priority.CRITICAL, "agent").up(1)
    strange = Alarm("p", Words("x", "x"), Priority.LOW, "not-there-yet.x").up(1)
    await outlet(centre).deliver([event(Change.RAISED, own), event(Change.RAISED, strange)], 3)
    gateway = centre.centre.named("DEVICE", "acme")["id"]
    assert [each["originator"] for each in centre.alarms.alarms] == [gateway, gateway]
    assert [each["severity"] for each in centre.alarms.alarms] == ["CRITICAL", "WARNING"]


async def test_without_a_gateway_device_it_says_what_to_do(fake: FakeThingsBoard) -> None:
    with pytest.raises(OSError, match="thingsboard sync makes it"):
        await outlet(fake).deliver([RAISED], 0)


@pytest.mark.parametrize(("status", "raises"), [(400, False), (403, True)])
async def test_what_is_refused_for_good_holds_nobody_up(
    centre: FakeThingsBoard, status: int, raises: bool
) -> None:
    centre.surprise(path="/api/alarm", status=status, times=1)
    other: Any = event(Change.RAISED, Alarm("b", Words("b", "b")).up(1))
    if raises:
        with pytest.raises(RestError):
            await outlet(centre).deliver([RAISED, other], 0)
    else:
        await outlet(centre).deliver([RAISED, other], 0)
    assert [each["type"] for each in centre.alarms.alarms] == ([] if raises else ["b"])


async def test_shelving_is_ours_alone(centre: FakeThingsBoard) -> None:
    await outlet(centre).deliver([event(Change.SHELVED, UP.shelved(9))], 0)
    assert not centre.alarms.alarms
