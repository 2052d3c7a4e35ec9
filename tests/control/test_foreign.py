"""The loop in rooms that are none of ours, with whatever an outside simulator does not give: nothing silly.

Each of these is a week from a cold start, minute by minute in the room, decided every 1, 5, 10 or 15 minutes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.control.room import Outlook, RoomSeen, Rung, Unit
from tests.control.foreign import DAY, Foreign, LongDuct, OwnMind, TwoZones, Week, live, open_at, scheduled

DAYS = 5
KINDS: list[type[Foreign]] = [LongDuct, TwoZones, OwnMind]
MINUTES = [minute for minute in range(DAYS * DAY) if open_at(minute)]
FIXED = Unit("ac", rated_w=1400.0, inverter=False, grid_k=1.0)


def is_sane(week: Week, units: tuple[Unit, ...] = (Unit("ac", grid_k=0.5),)) -> None:
    """On while people are in, on the grid, no flapping, comfortable from the second day on."""
    assert all(week.told[minute][0] for minute in MINUTES), "off while people are in"
    for at, unit in enumerate(units):
        told = {setpoints[at] for on, setpoints in week.told if on}
        assert all(low_high_grid(unit, setpoint) for setpoint in told), told
    for day in range(DAYS):
        starts, setpoints = week.changes(day)
        assert starts <= 2, f"day {day}: {starts} starts"
        assert setpoints <= 24 * len(units), f"day {day}: {setpoints} set points"
    assert all(week.missed_kh(day) < 0.25 for day in range(1, DAYS)), [
        week.missed_kh(day) for day in range(DAYS)
    ]
    assert week.missed_kh(0) < 1.0


def low_high_grid(unit: Unit, setpoint_c: float) -> bool:
    low, high = unit.setpoint_c
    return low <= setpoint_c <= high and setpoint_c % unit.grid_k == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_minute_apart(kind: type[Foreign]) -> None:
    week = live(kind(), DAYS)
    is_sane(week)
    assert week.loop.state.rooms["room"].rung == Rung.OPTIMISER, week.loop.verdicts
    assert sum(week.kwh) < sum(scheduled(kind(), DAYS).kwh), "dearer than the plain schedule"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [5, 10, 15])
def test_further_apart(kind: type[Foreign], every: int) -> None:
    week = live(kind(), DAYS, every=every)
    is_sane(week)
    assert len(week.loop.history["room"]) >= DAYS * 96 - 2
    assert week.loop.verdicts["room"].startswith("four hours ahead"), "the days could not be read"


def bare(seen: RoomSeen) -> RoomSeen:
    """A temperature and nothing else."""
    return RoomSeen(seen.temperature_c)


@pytest.mark.parametrize("kind", KINDS)
def test_with_nothing_but_a_temperature_and_no_tariff(kind: type[Foreign]) -> None:
    week = live(kind(), DAYS, every=5, sees=bare, outdoor=False, price=0.0)
    is_sane(week)


@pytest.mark.parametrize("kind", [TwoZones, OwnMind])
def test_on_a_grid_of_one_kelvin(kind: type[Foreign]) -> None:
    is_sane(live(kind(), DAYS, every=5, units=(FIXED,)), (FIXED,))


def test_two_units_in_a_room() -> None:
    units = (Unit("one", rated_w=700.0, grid_k=0.5), Unit("two", rated_w=700.0, grid_k=0.5))
    is_sane(live(LongDuct(), DAYS, every=5, units=units), units)


def test_a_rated_power_that_is_wrong() -> None:
    for rated_w in (300.0, 5000.0):
        unit = Unit("ac", rated_w=rated_w, grid_k=0.5)
        is_sane(live(LongDuct(), DAYS, every=5, units=(unit,)))


@pytest.mark.parametrize("limits", [{"hard_max_c": 26.5}, {"unoccupied_max_c": 26.5}])
@pytest.mark.parametrize("kind", [LongDuct, OwnMind])
def test_a_limit_holds_by_night_too_without_flapping(kind: type[Foreign], limits: dict[str, float]) -> None:
    free, week = live(kind(), DAYS, every=5), live(kind(), DAYS, every=5, **limits)
    assert max(free.felt_c[DAY:]) > 27.5
    assert max(week.felt_c[DAY:]) < 26.8
    assert all(week.changes(day)[0] <= 12 for day in range(DAYS)), [week.changes(day) for day in range(DAYS)]


def test_nan_is_missing() -> None:
    def torn(seen: RoomSeen) -> RoomSeen:
        nan = float("nan")
        return replace(
            seen, **{name: replace(getattr(seen, name), value=nan) for name in ("humidity_pct", "power_w")}
        )

    week = live(OwnMind(), DAYS, every=5, sees=torn)
    is_sane(week)
    assert week.loop.verdicts["room"].startswith("four hours ahead"), "the days could not be read"


def test_an_outlook_of_another_length_is_refused_with_words() -> None:
    with pytest.raises(ValueError, match="occupied: expected 96 values, a quarter of an hour each, found 24"):
        Outlook(0, (True,) * 24, (0.85,) * 96)
    with pytest.raises(ValueError, match="quarter: expected 0 to 95, found 96"):
        Outlook(96, (True,) * 96, (0.85,) * 96)
