"""What units are told without the loop: at a clean stop, and while the loop itself fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent.control.options import ControlOptions
from agent.control.room import Decision, Rung
from agent.control.site.orders import Orders
from agent.control.site.site_control import SiteControl
from agent.dispatch import Priority
from agent.model import Group, Reading
from tests.control.site.places import HOUR_S, MONDAY_S, Place, dispatching, last_of, room_options, settle


class Torn(Mapping[Group, Reading]):
    """An image of now that fails whoever looks while it is torn."""

    def __init__(self, place: Place) -> None:
        self.place, self.torn = place, False

    def __getitem__(self, group: Group) -> Reading:
        if self.torn:
            raise RuntimeError("nobody foresaw this")
        return self.place.hub.latest[group]

    def __iter__(self) -> Iterator[Group]:
        return iter(self.place.hub.latest)

    def __len__(self) -> int:
        return len(self.place.hub.latest)


def torn(tmp_path: Path, hour: float) -> tuple[Place, Torn]:
    options = ControlOptions(cycle_s=60.0)
    place = Place(tmp_path, [room_options()], options, now_s=MONDAY_S + hour * HOUR_S)
    place.latest = image = Torn(place)
    return place, image


async def cycles(place: Place, control: SiteControl, count: int) -> None:
    """As `run` does it, a minute each, on the test's clock."""
    for _ in range(count):
        place.measure()
        try:
            await control.cycle()
        except RuntimeError as error:
            await control._failed(error)
        else:
            control._failing.ended()
        await settle()
        place.now_s += 60


async def test_a_loop_that_fails_by_night_leaves_nobody_in_a_room_that_is_off(tmp_path: Path) -> None:
    place, image = torn(tmp_path, 4.0)
    async with place.control() as control, dispatching(place):
        await cycles(place, control, 5)
        assert place.values["on"] == 0
        image.torn = True
        await cycles(place, control, 60)
        assert place.values["on"] == 0, "the calendar is still known: nobody is there"
        await cycles(place, control, 4 * 60)
        assert (place.values["on"], place.values["setpoint"]) == (1.0, 24.0)
        assert last_of(place.published)["alarm"] == 1.0
        assert last_of(place.published)["rung"] == Rung.SCHEDULE
        image.torn = False
        await cycles(place, control, 5)
        assert last_of(place.published)["alarm"] == 0.0
        assert not control.troubles()


async def test_a_person_wins_over_a_loop_that_fails(tmp_path: Path) -> None:
    place, image = torn(tmp_path, 10.0)
    async with place.control() as control, dispatching(place):
        await cycles(place, control, 8)
        image.torn = True
        place.dispatch.submit("ac.on", 0, Priority.MANUAL, "ana", 1800)
        await cycles(place, control, 20)
        assert place.values["on"] == 0
        await cycles(place, control, 30)
        assert place.values["on"] == 1


async def test_a_restart_is_asked_for_once_not_for_ever(tmp_path: Path) -> None:
    place, image = torn(tmp_path, 10.0)
    async with place.control() as control, dispatching(place):
        control._began_s = place.now_s
        await cycles(place, control, 3)
        image.torn = True
        await cycles(place, control, 4)
        assert control.lifeless() == "", "five minutes are borne"
        await cycles(place, control, 2)
        assert "has not decided" in control.lifeless()
    again = place.control()
    async with again, dispatching(place):
        again._began_s = place.now_s
        await cycles(place, again, 60)
        assert again.lifeless() == "", "the restart did not mend it, nor will the next"
        assert "has not decided" in again.troubles()[0]
        assert place.values["on"] == 1


async def test_a_clean_stop_keeps_the_limit_of_an_empty_room(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options(unoccupied_max_c=28.0)], now_s=MONDAY_S + 22 * HOUR_S, temp_c=29.0)
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 3)
        await control.leave()
    assert (place.values["on"], place.values["setpoint"]) == (1.0, 27.0)


async def test_a_clean_stop_within_the_rest_leaves_nobody_in_a_room_that_is_off(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options()])
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 8)
        place.dispatch.submit("ac.on", 0, Priority.MANUAL, "ana", 60)
        await place.minutes(control, 2)
        assert place.values["on"] == 0, "the compressor rests"
        assert place.rests.wait_s("ac.on", 1.0) > 60
        await control.leave()
    assert place.values["on"] == 1


def dry(place: Place, *, told: bool) -> Decision:
    room = place.rooms[0]
    return Decision(
        room.id, room.unit[0].id, on=True, setpoint_c=23.0, dry=told, rung=Rung.OPTIMISER, reason="r"
    )


@pytest.mark.parametrize("first", [True, False])
async def test_a_unit_that_dries_chooses_its_fan_itself(tmp_path: Path, first: bool) -> None:
    options = room_options(fan=3.0)
    unit = options.unit[0].model_copy(update={"dry_code": 2.0})
    place = Place(tmp_path, [options.model_copy(update={"unit": [unit]})])
    orders = Orders(place.rooms, place.dispatch, 60.0, place.clock)
    async with dispatching(place):
        if not first:
            orders.give([dry(place, told=False)])
            await asyncio.wait_for(settle(), 5)
            place.now_s += 600
            assert ("fan", 3.0) in place.written
        place.written.clear()
        orders.give([dry(place, told=True)])
        await settle()
        place.now_s += 600
        assert ("mode", 2.0) in place.written
        assert "fan" not in [point for point, _ in place.written]
        orders.give([dry(place, told=False)])
        await settle()
        assert ("fan", 3.0) in place.written
