"""The running loop with a real Dispatch and a real file: what reaches the unit, and what does not."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.control.options import ControlOptions
from agent.control.planner import Day, Planned
from agent.control.room import Rung
from agent.dispatch import Priority
from tests.conftest import until
from tests.control.site.places import HOUR_S, MONDAY_S, Place, dispatching, last_of, room_options, settle
from tests.control.site.test_replay import replayed


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, [room_options()])


async def test_an_occupied_room_gets_its_unit_on_mode_first(place: Place) -> None:
    async with place.control() as control, dispatching(place):
        (decision,) = await place.minutes(control, 1)
        assert decision.on
        assert [point for point, _ in place.written] == ["mode", "setpoint", "on"]
        assert place.values["on"] == 1.0
        assert last_of(place.published)["units_on"] == 1.0
        assert last_of(place.published)["rung"] == decision.rung


async def test_the_fan_is_told_after_the_mode_and_kept(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options(fan=3.0)])
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 1)
        assert [point for point, _ in place.written] == ["mode", "fan", "setpoint", "on"]
        assert place.values["fan"] == 3.0
        await place.minutes(control, 60)
        assert [point for point, _ in place.written].count("fan") == 1


async def test_a_fan_that_the_unit_changes_by_itself_is_no_hand(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options(fan=3.0)])
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 5)
        place.values["fan"] = 0.0
        decisions = await place.minutes(control, 10)
        assert decisions[-1].rung != Rung.HANDS_OFF


async def test_a_person_at_the_fan_wins_then_it_returns_by_itself(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options(fan=3.0)])
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 5)
        place.dispatch.submit("ac.fan", 0, Priority.MANUAL, "ana", 900)
        (decision,) = await place.minutes(control, 1)
        assert decision.rung == Rung.HANDS_OFF
        assert place.values["fan"] == 0.0
        await place.minutes(control, 20)
        assert place.values["fan"] == 3.0


async def test_renewals_wear_no_register_out(place: Place) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 1)
        place.written.clear()
        decisions = await place.minutes(control, 120)
        changes = len({decision.setpoint_c for decision in decisions})
        assert len(place.written) <= changes + 1
        assert place.dispatch.winner("ac.on") is not None


async def test_an_observed_room_is_never_commanded(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options(mode="observe")])
    async with place.control() as control, dispatching(place):
        decisions = await place.minutes(control, 60)
        assert decisions[-1].on
        assert not place.written
        assert not place.dispatch.commands
        assert last_of(place.published)["mode"] == 0
        (said,) = control.status()["decisions"]
        assert (said["mode"], said["reason"]) == ("observe", decisions[-1].reason)
        assert not any(decision.alarm for decision in decisions)


async def test_a_person_wins_for_the_lease_then_control_returns(place: Place) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 8)
        place.dispatch.submit("ac.on", 0, Priority.MANUAL, "ana", 1800)
        (decision,) = await place.minutes(control, 1)
        assert decision.rung == Rung.HANDS_OFF
        await place.minutes(control, 10)
        assert place.values["on"] == 0
        assert place.dispatch.winner("ac.setpoint") is None
        await place.minutes(control, 30)
        assert place.values["on"] == 1


async def test_a_manual_command_waits_for_the_compressor_too(place: Place) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 1)
        command = place.dispatch.submit("ac.on", 0, Priority.MANUAL, "ana", 1800)
        await settle()
        assert place.values["on"] == 1
        (waiting,) = [each for each in place.dispatch.commands if each.id == command.id]
        assert waiting.reason.startswith("waits 2")


async def test_the_units_own_remote_is_noticed_and_left_alone(place: Place) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 5)
        place.values["setpoint"] = 18.0
        place.written.clear()
        decisions = await place.minutes(control, 5)
        assert decisions[-1].rung == Rung.HANDS_OFF
        assert place.values["setpoint"] == 18.0
        holder = place.dispatch.winner("ac.setpoint")
        assert holder is not None
        assert (holder.priority, holder.source) == (Priority.MANUAL, "remote control of split")
        await place.minutes(control, 130)
        assert place.values["setpoint"] != 18.0
        assert place.dispatch.winner("ac.setpoint").priority is Priority.CONTROL  # type: ignore[union-attr]


async def test_a_person_may_end_what_the_remote_began(place: Place) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 5)
        place.values["setpoint"] = 18.0
        await place.minutes(control, 5)
        for point in ("ac.on", "ac.mode", "ac.setpoint"):
            place.dispatch.release(point, Priority.MANUAL)
        (decision,) = await place.minutes(control, 1)
        assert decision.rung != Rung.HANDS_OFF
        assert place.values["setpoint"] != 18.0


async def test_a_unit_that_never_agreed_is_told_again_not_taken_for_a_person(place: Place) -> None:
    place.deaf = True
    async with place.control() as control, dispatching(place):
        decisions = await place.minutes(control, 45)
        assert not any(decision.rung == Rung.HANDS_OFF for decision in decisions)
        assert [point for point, _ in place.written].count("on") >= 3
        assert decisions[-1].alarm
        assert last_of(place.published)["alarm"] == 1


async def test_a_value_that_is_gone_is_kept_with_its_age(place: Place) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 3)
        rungs = []
        for _ in range(14):
            place.hub.publish(
                [reading.group.bad(round(place.now_s * 1000)) for reading in place.hub.latest.values()]
            )
            rungs.append((await control.cycle())[0].rung)
            place.now_s += 60
        assert rungs[0] == Rung.OPTIMUM_START
        assert rungs[-1] == Rung.SCHEDULE


async def test_a_restart_goes_on_where_it_was(place: Place, tmp_path: Path) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 40)
        before = control.status()["decisions"][0]
    place.written.clear()
    again = Place(tmp_path, [room_options()], now_s=place.now_s, values=place.values, temp_c=place.temp_c)
    async with again.control() as control, dispatching(again):
        (decision,) = await again.minutes(control, 1)
    assert (decision.on, decision.setpoint_c) == (before["on"], before["setpoint_c"])
    assert control._loop.state.rooms["office-101"].units["split"].starts_ms


async def test_the_minimum_time_outlives_a_restart(place: Place, tmp_path: Path) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 1)
    again = Place(tmp_path, [room_options()], now_s=place.now_s)
    async with again.control():
        assert again.rests.wait_s("ac.on", 0.0) == pytest.approx(240, abs=1)


async def test_a_clean_stop_leaves_the_unit_on_in_occupied_hours(place: Place) -> None:
    async with place.control() as control, dispatching(place):
        place.temp_c = 22.0
        await place.minutes(control, 3)
        await control.leave()
    assert place.values["on"] == 1
    assert place.values["setpoint"] == 24.0


async def test_a_clean_stop_by_night_leaves_it_off(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options()], now_s=MONDAY_S + 22 * HOUR_S)
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 3)
        await control.leave()
    assert place.values["on"] == 0


async def test_a_disk_that_refuses_costs_the_record_only(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    (place.folder / "control.db").mkdir()
    async with place.control() as control, dispatching(place):
        decisions = await place.minutes(control, 5)
    assert decisions[-1].on
    assert place.values["on"] == 1
    assert caplog.text.count("record of control") == 1


async def test_a_file_that_is_no_database_is_set_aside(place: Place) -> None:
    (place.folder / "control.db").write_bytes(b"nothing" * 5000)
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 2)
    assert list(place.folder.glob("control.broken-*.db"))


async def test_a_solver_that_hangs_is_left_behind(tmp_path: Path) -> None:
    never = threading.Event()

    def hangs(_: Day) -> Planned | None:
        never.wait()
        return None

    from agent.control.site.timed import Outcome, Timed

    timed = Timed(hangs, limit_s=0.05)
    day: Day = None  # type: ignore[assignment]  # it is not looked at
    assert timed(day) is None
    assert timed(day) is None
    assert timed.outcomes == [Outcome.NOTHING, Outcome.NOTHING]
    never.set()


async def test_the_centres_settings_hold_from_the_next_cycle(place: Place) -> None:
    from agent.uplink.wishes import ComfortBand, Limits, OccupiedSpan

    async with place.control() as control, dispatching(place):
        await place.minutes(control, 1)
        settings = control.settings
        settings["comfort"]({"office-101": ComfortBand(low_c=22, high_c=27)})
        settings["schedule"]([OccupiedSpan(days=["sun"], start="08:00", end="12:00")])
        settings["limits"](Limits(demand_w=5000))
        settings["tariff"]("exemplo-branca")
        await place.minutes(control, 8)
        assert control._loop.rooms[0].band_c == (22.0, 27.0)
        outlook = control._now.outlook["office-101"]
        assert not any(outlook.occupied)
        assert outlook.demand is not None
        assert outlook.demand.contract_w == 5000
        assert len(set(outlook.price)) > 1
        settings["schedule"](None)
        await place.minutes(control, 1)
        assert control._now.outlook["office-101"].occupied[0]


@pytest.mark.parametrize(("name", "value"), [("comfort", {"elsewhere": None}), ("tariff", "no-such-tariff")])
async def test_what_the_centre_may_not_set_is_refused_with_words(
    place: Place, name: str, value: object
) -> None:
    with pytest.raises(ValueError, match=r"expected rooms|no tariff of this id"):
        place.control().settings[name](value)


async def test_a_decision_that_fails_begins_anew_and_is_replayed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is in the state that nobody foresaw: control goes on."""
    place = Place(tmp_path, [room_options()])
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 30)
        control._loop.state.rooms["office-101"].temps = ("warm",)  # type: ignore[assignment]
        decisions = await place.minutes(control, 30)
        assert len(control._loop.history["office-101"]) >= 3
    assert decisions[0].on
    assert "begins anew" in caplog.text
    assert replayed(place).differing == 0


async def test_a_cycle_that_fails_does_not_end_the_agent(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    def burst() -> bool:
        raise RuntimeError("nobody foresaw this")

    place.options = ControlOptions(cycle_s=1.0)
    place.measure()
    control = place.control()
    control._doors = replace(control._doors, certain=burst, monotonic=time.monotonic)
    async with control, dispatching(place):
        running = asyncio.create_task(control.run())
        await until(lambda: "cycles go on failing" in caplog.text and place.values["on"] == 1, 10)
        assert not running.done()
        assert caplog.text.count("Traceback") == 2, "not one a minute"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
