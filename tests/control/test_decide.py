"""`decide` as its caller sees it: pure, in words, safe with anything missing."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from agent.control.decide import Outcome, decide
from agent.control.grey_box import PRIOR
from agent.control.history import History
from agent.control.model import Model
from agent.control.outline import planner
from agent.control.plan import dynamic
from agent.control.planner import Day, Planned, Planner
from agent.control.room import (
    HORIZON,
    Decision,
    Observed,
    Outlook,
    Room,
    RoomSeen,
    Rung,
    Seen,
    Unit,
    UnitSeen,
)
from agent.control.state import Parameters, State

MINUTE = 60_000
MIDNIGHT = 1_767_582_000_000
ROOM = Room("room", (Unit("ac", rated_w=1200.0),))
MODEL = Parameters({"room": Model(tuple(PRIOR.tolist()), 1200.0, 0.0, 0.3, 0)})


QUICK = planner(dynamic)


def outlook(minute: int, opens_h: float = 8, closes_h: float = 18) -> Outlook:
    quarters = [(minute // 15 + at) % 96 for at in range(HORIZON)]
    occupied = tuple(opens_h * 4 <= quarter < closes_h * 4 for quarter in quarters)
    return Outlook(quarters[0], occupied, (0.85,) * HORIZON)


def seen(temp_c: float | None = 27.0, **more: Any) -> Observed:
    reading = None if temp_c is None else Seen(temp_c)
    return Observed({"room": RoomSeen(temperature_c=reading, **more)}, Seen(30.0))


class Site:
    """Calls `decide` once a minute, as the loop does."""

    def __init__(self, minute: int, *, room: Room = ROOM, parameters: Parameters = MODEL) -> None:
        self.minute, self.room, self.parameters = minute, room, parameters
        self.state = State()
        self.planner: Planner = QUICK

    def once(self, observed: Observed, **changed: Any) -> tuple[Decision, ...]:
        given = {
            "history": {"room": History()},
            "outlook": {self.room.id: outlook(self.minute)},
            "rooms": (self.room,),
            "parameters": self.parameters,
            "state": self.state,
            "planner": self.planner,
        } | changed
        outcome = decide(MIDNIGHT + self.minute * MINUTE, observed, **given)
        self.state = outcome.state
        self.minute += 1
        return outcome.decisions

    def run(self, minutes: int, look: Callable[[int], Observed]) -> list[Decision]:
        return [self.once(look(self.minute))[0] for _ in range(minutes)]


def test_the_same_arguments_give_the_same_and_leave_the_state_alone() -> None:
    site = Site(10 * 60)
    site.run(30, lambda _: seen(25.5))
    before = json.dumps(site.state.to_json())
    arguments: dict[str, Any] = {
        "history": {"room": History()},
        "outlook": {"room": outlook(site.minute)},
        "rooms": (ROOM,),
        "parameters": MODEL,
        "state": site.state,
        "planner": QUICK,
    }
    now_ms = MIDNIGHT + site.minute * MINUTE
    one, two = (decide(now_ms, seen(25.6), **arguments) for _ in range(2))
    assert one == two
    assert json.dumps(site.state.to_json()) == before
    assert one.state is not site.state


def test_state_and_parameters_survive_json() -> None:
    site = Site(7 * 60)
    site.run(90, lambda _: seen(26.5, power_w=Seen(900.0)))
    state = State.from_json(json.loads(json.dumps(site.state.to_json())))
    parameters = Parameters.from_json(json.loads(json.dumps(MODEL.to_json())))
    assert state == site.state
    assert parameters == MODEL
    again = Site(site.minute)
    again.state, again.parameters = state, parameters
    assert again.once(seen(26.4)) == site.once(seen(26.4))


@pytest.mark.parametrize("hours", [1, 5, 24])
def test_a_clock_set_forward_makes_no_reading_stand_still(hours: int) -> None:
    """Or an agent that was away: half an hour of the plain schedule for nothing."""
    site = Site(9 * 60)
    site.run(60, lambda minute: seen(25.0 + minute % 7 / 100))
    before = site.once(seen(25.0))[0].rung
    site.state.rooms["room"].still_s = 600.0  # the habit of this sensor
    site.minute += hours * 60
    assert site.once(seen(25.0))[0].rung == before
    still = site.run(60, lambda _: seen(25.0))
    assert still[-1].rung == Rung.SCHEDULE, "what stands still from then on is noticed as ever"


def test_off_by_night_on_before_the_opening_and_in_the_day() -> None:
    site = Site(0)
    decisions = site.run(24 * 60, lambda _: seen(26.5))
    assert not any(each.on for each in decisions[: 3 * 60])
    assert all(each.on for each in decisions[8 * 60 : 18 * 60])
    assert not any(each.on for each in decisions[18 * 60 + 5 :])
    first = next(at for at, each in enumerate(decisions) if each.on)
    assert 4 * 60 < first < 8 * 60
    assert all(each.reason for each in decisions)


@pytest.mark.parametrize(
    ("observed", "rung", "word"),
    [
        (seen(None), Rung.SCHEDULE, "no reading"),
        (Observed({}), Rung.SCHEDULE, "no reading"),
        (Observed({"room": RoomSeen(Seen(25.0, 700.0))}), Rung.SCHEDULE, "12 min old"),
        (replace(seen(), clock_trusted=False), Rung.THERMOSTAT, "clock"),
        (seen(manual=True), Rung.HANDS_OFF, "hand"),
    ],
)
def test_what_is_missing_lowers_the_rung_and_never_leaves_an_occupied_room_off(
    observed: Observed, rung: Rung, word: str
) -> None:
    site = Site(11 * 60)
    decisions = site.run(20, lambda _: observed)
    assert {each.rung for each in decisions} == {rung}
    assert word in decisions[-1].reason
    assert decisions[-1].on is (None if rung == Rung.HANDS_OFF else True)
    if rung != Rung.HANDS_OFF:
        assert decisions[-1].setpoint_c == 24.0


def test_without_a_clock_the_units_thermostat_even_at_night() -> None:
    site = Site(2 * 60)
    assert site.run(5, lambda _: replace(seen(), clock_trusted=False))[-1].on


def test_a_frozen_reading_is_noticed_after_a_switch() -> None:
    site = Site(6 * 60)
    decisions = site.run(6 * 60, lambda _: seen(26.0))
    assert decisions[-1].rung == Rung.SCHEDULE
    assert "stands still" in decisions[-1].reason


def wandering(minute: int) -> Observed:
    return seen(25.5 + 0.02 * (minute % 7))


def nobody(_: Day) -> Planned | None:
    return None


@pytest.mark.parametrize("late", [planner(lambda _: None), nobody], ids=["solver", "planner"])
def test_a_late_plan_is_done_without_and_twice_is_a_step_down_and_back(late: Planner) -> None:
    site = Site(9 * 60)
    site.run(15, wandering)
    before = site.state.rooms["room"].plan_load
    site.planner = late
    decisions = site.run(45, wandering)
    assert decisions[0].rung == Rung.OPTIMISER
    assert decisions[0].expected_c is not None
    assert decisions[-1].rung == Rung.OPTIMUM_START
    assert (site.state.rooms["room"].plan_load == before) == (late is nobody)
    site.planner = QUICK
    assert site.run(70, wandering)[-1].rung == Rung.OPTIMISER


def test_a_unit_that_does_not_obey_is_told_three_times_then_an_alarm() -> None:
    site = Site(9 * 60)
    decisions = site.run(60, lambda minute: seen(28.0 + 0.01 * (minute % 5), power_w=Seen(3.0)))
    attempts = [each.attempt for each in decisions]
    assert sorted(set(attempts)) == [0, 1, 2, 3]
    assert [attempts.index(each) for each in (1, 2, 3)] == pytest.approx([11, 21, 31], abs=2)
    assert decisions[-1].alarm
    assert decisions[-1].rung == Rung.SCHEDULE
    assert decisions[-1].on
    obeyed = site.run(40, lambda minute: seen(26.0 + 0.01 * (minute % 5), power_w=Seen(900.0)))
    assert not obeyed[2].alarm
    assert obeyed[-1].rung == Rung.OPTIMISER


def test_feedback_counts_as_the_units_own_word() -> None:
    site = Site(9 * 60)
    units = {"ac": UnitSeen(on=Seen(0.0))}
    assert site.run(30, lambda minute: seen(25.0 + 0.01 * (minute % 5), units=units))[-1].attempt > 0


def test_a_hot_room_is_forced() -> None:
    site = Site(12 * 60)
    decisions = site.run(40, lambda minute: seen(27.0 + 0.01 * (minute % 5)))
    assert "forced" in decisions[-1].reason
    assert decisions[-1].setpoint_c is not None
    assert decisions[-1].setpoint_c <= 23.0


def test_damp_air_forbids_coasting() -> None:
    site = Site(12 * 60)
    decisions = site.run(70, lambda minute: seen(23.0 + 0.01 * (minute % 5), humidity_pct=Seen(75.0)))
    assert "damp" in decisions[-1].reason
    assert "damp" not in decisions[30].reason


def test_a_hard_ceiling_holds_at_night() -> None:
    site = Site(2 * 60, room=replace(ROOM, hard_max_c=27.0))
    decision = site.once(seen(27.2))[0]
    assert decision.on
    assert "ceiling" in decision.reason


def test_units_start_one_after_another() -> None:
    room = replace(ROOM, units=(Unit("one"), Unit("two"), Unit("three")))
    site = Site(10 * 60, room=room)
    started = [sum(bool(each.on) for each in site.once(seen(27.0))) for _ in range(4)]
    assert started == [1, 2, 3, 3]


def test_a_room_that_nobody_uses_stays_off() -> None:
    site = Site(600)
    empty = Outlook(40, (False,) * HORIZON, (0.85,) * HORIZON)
    for _ in range(120):
        (decision,) = site.once(wandering(site.minute), outlook={"room": empty})
    assert decision.on is False


def test_decisions_are_data() -> None:
    assert json.dumps([asdict(each) for each in Site(600).once(seen())])


def test_an_outcome_is_all_there_is() -> None:
    assert set(Outcome.__dataclass_fields__) == {"decisions", "state"}


def test_a_clock_that_is_set_back_blocks_nothing() -> None:
    site = Site(10 * 60)
    site.run(10, lambda _: seen(27.0))
    site.state.rooms["room"].units["ac"].on = False
    site.minute -= 3 * 365 * 1440  # it was three years ahead, and is put right
    decisions = site.run(10, lambda _: seen(27.0))
    assert decisions[-1].on


def test_a_room_that_is_only_watched_is_never_said_to_disobey() -> None:
    site = Site(10 * 60)
    units = {"ac": UnitSeen(on=Seen(0.0), setpoint_c=Seen(20.0))}
    decisions = site.run(90, lambda _: seen(27.0, units=units, commanded=False))
    assert not any(decision.alarm for decision in decisions)
    assert all(decision.on for decision in decisions[6:])
    assert not site.state.rooms["room"].units["ac"].on


def test_after_a_hand_at_the_unit_control_begins_where_it_is() -> None:
    site = Site(10 * 60)
    site.run(10, lambda _: seen(27.0))
    by_hand = {"ac": UnitSeen(on=Seen(0.0), setpoint_c=Seen(19.0))}
    site.run(10, lambda _: seen(27.0, units=by_hand, manual=True))
    assert site.state.rooms["room"].units["ac"].on is False
    (decision,) = site.once(seen(27.0, units=by_hand))
    assert decision.on


def test_a_state_of_another_release_is_read() -> None:
    state = Site(720)
    state.once(seen())
    told = json.loads(json.dumps(state.state.to_json()))
    told["rooms"]["room"]["unheard_of"] = 1
    del told["rooms"]["room"]["reserve"]
    told["rooms"]["room"]["units"]["ac"]["unheard_of"] = 2
    assert State.from_json(told) == state.state


@pytest.mark.parametrize("value", [1e308, -1e308, float("inf"), 3276.7, -273.0])
def test_an_outdoor_sensor_out_of_its_mind_is_missing(value: float) -> None:
    """An open circuit, a word of 0xFFFF: as if there were none, and nothing of it is remembered."""
    site, well = Site(7 * 60), Site(7 * 60)
    for _ in range(90):
        (without,) = well.once(replace(seen(27.0), outdoor_c=None))
        (told,) = site.once(replace(seen(27.0), outdoor_c=Seen(value)))
        assert told == without
    assert site.state == well.state


def test_ages_that_are_no_number_make_a_value_missing() -> None:
    (decision,) = Site(600).once(Observed({"room": RoomSeen(temperature_c=Seen(24.0, float("nan")))}))
    assert "no reading of the room" in decision.reason


def test_an_outlook_with_what_is_no_number_is_refused_with_words() -> None:
    with pytest.raises(ValueError, match="outdoor_c: expected numbers"):
        replace(outlook(0), outdoor_c=(float("nan"),) * HORIZON)
