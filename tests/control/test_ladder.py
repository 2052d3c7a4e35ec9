"""The ladder: down at once, up after 30 healthy minutes, with the reason."""

import pytest

from agent.control import ladder
from agent.control.room import Room, RoomSeen, Rung, Seen, Unit
from agent.control.state import RoomState, UnitState

MINUTE = 60_000
ROOM = Room("room", (Unit("ac"),))
WELL = {"clock": True, "manual": False, "temp_fault": "", "model": True}


@pytest.mark.parametrize(
    ("changed", "state", "rung", "word"),
    [
        ({}, RoomState(), Rung.OPTIMISER, "well"),
        ({"model": False}, RoomState(), Rung.OPTIMUM_START, "no model"),
        ({"refused": True}, RoomState(), Rung.OPTIMUM_START, "did not pass the gate"),
        ({}, RoomState(late=1), Rung.OPTIMISER, "well"),
        ({}, RoomState(late=2), Rung.OPTIMUM_START, "late twice"),
        ({"temp_fault": "gone"}, RoomState(late=2), Rung.SCHEDULE, "gone"),
        ({}, RoomState(units={"ac": UnitState(attempt=3)}), Rung.SCHEDULE, "obey"),
        ({"clock": False, "temp_fault": "gone"}, RoomState(), Rung.THERMOSTAT, "clock"),
        ({"manual": True, "clock": False}, RoomState(), Rung.HANDS_OFF, "hand"),
    ],
)
def test_the_worst_fault_says(changed: dict[str, object], state: RoomState, rung: Rung, word: str) -> None:
    found, why = ladder.floor_of(ROOM, state, **(WELL | changed))  # type: ignore[arg-type]
    assert (found, word in why) == (rung, True)


def test_down_at_once_up_after_half_an_hour() -> None:
    state = RoomState()
    ladder.step(state, (Rung.OPTIMISER, "well"), 0)
    assert state.rung == Rung.OPTIMISER
    ladder.step(state, (Rung.SCHEDULE, "gone"), MINUTE)
    assert (state.rung, state.why) == (Rung.SCHEDULE, "gone")
    for minute in range(2, 32):
        ladder.step(state, (Rung.OPTIMISER, "well"), minute * MINUTE)
        assert state.rung == Rung.SCHEDULE
    ladder.step(state, (Rung.OPTIMISER, "well"), 32 * MINUTE)
    assert state.rung == Rung.OPTIMISER


def test_a_relapse_starts_the_half_hour_again() -> None:
    state = RoomState()
    ladder.step(state, (Rung.SCHEDULE, "gone"), 0)
    ladder.step(state, (Rung.OPTIMISER, "well"), MINUTE)
    ladder.step(state, (Rung.SCHEDULE, "gone"), 20 * MINUTE)
    ladder.step(state, (Rung.OPTIMISER, "well"), 21 * MINUTE)
    ladder.step(state, (Rung.OPTIMISER, "well"), 32 * MINUTE)
    assert state.rung == Rung.SCHEDULE


def test_a_hand_that_lets_go_returns_at_once() -> None:
    state = RoomState()
    ladder.step(state, (Rung.HANDS_OFF, "set by hand"), 0)
    ladder.step(state, (Rung.OPTIMISER, "well"), MINUTE)
    assert state.rung == Rung.OPTIMISER


@pytest.mark.parametrize(
    ("seen", "usable"),
    [
        (None, False),
        (Seen(24.0, 599.0), True),
        (Seen(24.0, 601.0), False),
        (Seen(85.0), False),
        (Seen(float("nan")), False),
    ],
)
def test_which_readings_can_be_used(seen: Seen | None, usable: bool) -> None:
    temp_c, why = ladder.temperature(RoomSeen(temperature_c=seen))
    assert (temp_c is not None, not why) == (usable, usable)


def test_frozen_sooner_if_the_unit_switched_since() -> None:
    """A sensor that has rested for an hour may rest for four, but for one only while its unit switches."""
    state = RoomState(still_s=3600)
    assert not any(ladder.watch_frozen(state, 25.0, minute * MINUTE) for minute in range(200))
    state.switched_ms = 150 * MINUTE
    frozen = [ladder.watch_frozen(state, 25.0, minute * MINUTE) for minute in range(200, 230)]
    assert not any(frozen[:10])
    assert all(frozen[12:])
    assert not ladder.watch_frozen(state, 25.1, 231 * MINUTE)


def test_frozen_where_a_sensor_rests_longer_than_it_ever_does() -> None:
    """A unit that modulates at noon switches nothing: the habit of the sensor tells."""
    state = RoomState()
    for minute in range(3 * 1440):
        assert not ladder.watch_frozen(state, 25 + minute % 7 / 100, minute * MINUTE)
    begin = 3 * 1440
    frozen = [ladder.watch_frozen(state, 25.0, (begin + minute) * MINUTE) for minute in range(60)]
    assert (any(frozen[:40]), frozen[45]) == (False, True)


def test_a_coarse_sensor_may_rest() -> None:
    state = RoomState()
    minutes = range(6 * 1440)
    assert not any(
        ladder.watch_frozen(state, 25 + minute // 180 % 3 / 2, minute * MINUTE) for minute in minutes
    )
    assert 2 * 3600 < state.still_s < 4 * 3600
