"""The guards as tables."""

import pytest

from agent.control.guards import Wish, may_switch, on_grid, told
from agent.control.room import Unit
from agent.control.state import UnitState

MINUTE = 60_000
NOW = 100 * MINUTE
UNIT = Unit("ac", grid_k=0.5)


@pytest.mark.parametrize(
    ("wished", "present", "grid", "given"),
    [
        (24.3, None, 1.0, 24.0),
        (24.9, None, 0.5, 24.5),
        (24.98, None, 1.0, 25.0),
        (12.0, None, 1.0, 18.0),
        (40.0, None, 1.0, 28.0),
        (24.9, 24.0, 1.0, 24.0),
        (24.95, 24.0, 1.0, 24.0),
        (25.0, 24.0, 1.0, 25.0),
        (23.9, 24.0, 1.0, 24.0),
        (23.8, 24.0, 1.0, 23.0),
        (24.0, 31.0, 1.0, 24.0),
    ],
)
def test_set_points_on_the_grid_and_without_flapping(
    wished: float, present: float | None, grid: float, given: float
) -> None:
    assert on_grid(Unit("ac", grid_k=grid), wished, present) == given


def asked(state: UnitState, on: bool, **changed: object) -> str:
    given = {"last_start_ms": 0, "powered_s": None, "place": 0} | changed
    return may_switch(UNIT, state, on, NOW, **given)  # type: ignore[arg-type]


def test_minimum_times_and_starts() -> None:
    assert not asked(UnitState(), True)
    assert "on for 60 s more" in asked(UnitState(on=True, since_ms=NOW - 4 * MINUTE), False)
    assert not asked(UnitState(on=True, since_ms=NOW - 5 * MINUTE), False)
    assert "off for 120 s more" in asked(UnitState(on=False, since_ms=NOW - 3 * MINUTE), True)
    busy = tuple(NOW - at * 10 * MINUTE for at in range(6))
    assert "6 starts" in asked(UnitState(on=False, since_ms=0, starts_ms=busy), True)
    assert not asked(UnitState(on=False, since_ms=0, starts_ms=busy[1:]), True)
    assert not asked(UnitState(on=True, since_ms=0, starts_ms=busy), False)


def test_starts_are_staggered_and_wait_for_power() -> None:
    assert "another unit" in asked(UnitState(), True, last_start_ms=NOW - 10_000)
    assert not asked(UnitState(), True, last_start_ms=NOW - 30_000)
    assert "power" in asked(UnitState(), True, powered_s=60.0)
    assert "power" in asked(UnitState(), True, powered_s=200.0, place=1)
    assert not asked(UnitState(), True, powered_s=211.0, place=1)


def test_what_is_told() -> None:
    state = UnitState()
    assert told(UNIT, state, Wish(True, 24.2, "w"), NOW, "") == ""
    assert (state.on, state.setpoint_c, state.starts_ms) == (True, 24.0, (NOW,))
    assert told(UNIT, state, Wish(False, 22.0, "w"), NOW + MINUTE, "too soon") == "too soon"
    assert (state.on, state.setpoint_c) == (True, 24.0)
    told(UNIT, state, Wish(True, 22.0, "w", urgent=True), NOW + MINUTE, "")
    assert state.setpoint_c == 22.0
