"""Savings on a room that is exactly as learned: what is saved is known, and so is how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from agent.control.building import Building
from agent.control.cases import named_cases
from agent.control.grey_box import FOLLOW, PRIOR, features, history_of, outside, rows, with_power
from agent.control.history import COLUMNS, OCCUPIED, OUTDOOR, POWER, QUARTER, TEMPERATURE, History
from agent.control.learn import fit
from agent.control.model import KNEE, Model
from agent.control.room import QUARTERS_PER_DAY, Room, Unit
from agent.control.simulate import STEPS_PER_QUARTER, Fixed, room_of, run_fixed
from agent.control.site.savings import savings
from agent.control.weather import STEPS_PER_DAY

ROOM = Room("office-101", (Unit("split", rated_w=1200.0),))
MODEL = Model(tuple(PRIOR.tolist()), 1200.0, 0.0, 0.3, 0)
DAYS = 12
LOADS = np.linspace(0, 1, 201)


def history(setpoint_c: float, lead: int, *, noise_w: float = 0.0) -> History:
    """A room under a schedule, `lead` quarters ahead, that the model describes without an error."""
    count = DAYS * QUARTERS_PER_DAY
    quarter = np.arange(count) % QUARTERS_PER_DAY
    occupied = ((quarter >= 32) & (quarter < 72)).astype(float)
    on = (quarter >= 32 - lead) & (quarter < 72)
    outdoor = 26 + 5 * np.sin((quarter - 36) / 96 * 2 * np.pi) + np.repeat(np.arange(DAYS) % 3, 96)
    table = np.full((count, COLUMNS), np.nan)
    table[:, OCCUPIED], table[:, QUARTER], table[:, OUTDOOR] = occupied, quarter, outdoor
    free = outside(quarter, occupied, outdoor, np.zeros(count))
    temp, memory, random = 26.0, np.full(3, 26.0), np.random.default_rng(1)
    table[0, TEMPERATURE], table[0, POWER] = temp, 0.0
    for at in range(1, count):
        load, temp = _step(free[at], temp, memory, setpoint_c if on[at] else 99.0)
        memory = memory + FOLLOW * (temp - memory)
        table[at, TEMPERATURE] = temp
        table[at, POWER] = max(load * 1200.0 + random.normal(0, noise_w) * (load > 0), 0.0)
    return history_of(table, 10_000)


def _step(free: np.ndarray, temp: float, memory: np.ndarray, setpoint_c: float) -> tuple[float, float]:  # type: ignore[type-arg]
    """The least load that keeps the set point, tried out one by one, and where it leads."""
    table = np.repeat(features(free[None, :], np.array([temp]), memory[None, :]), len(LOADS), axis=0)
    table = with_power(table, LOADS, knee=KNEE)
    table[:, -1] = LOADS * (free[0] - 30.0) / 10
    temps = temp + table @ PRIOR
    at = int(np.argmax(temps <= setpoint_c)) if (temps <= setpoint_c).any() else len(LOADS) - 1
    at = at if temps[0] > setpoint_c else 0
    return float(LOADS[at]), float(temps[at])


PRICE = np.full(DAYS * QUARTERS_PER_DAY, 0.9)


def test_the_schedule_itself_saves_nothing() -> None:
    found = savings(ROOM, MODEL, history(24.0, 6), PRICE)
    assert found is not None
    assert abs(found.saved_kwh) < 0.04 * found.actual_kwh
    assert found.saved_brl == pytest.approx(0.9 * found.saved_kwh)


def test_a_warmer_later_day_saves_and_a_noisy_meter_makes_it_less_sure() -> None:
    found = savings(ROOM, MODEL, history(24.8, 2), PRICE)
    noisy = savings(ROOM, MODEL, history(24.8, 2, noise_w=400), PRICE)
    assert found is not None
    assert noisy is not None
    assert found.saved_kwh > found.kwh_sure > 0
    assert noisy.kwh_sure > found.kwh_sure
    assert found.saved_kwh > 0.05 * found.baseline_kwh


def test_too_few_days_say_nothing() -> None:
    short = history(24.0, 6)
    short = history_of(rows(short)[-2 * QUARTERS_PER_DAY :], short.last)
    assert savings(ROOM, MODEL, short, PRICE) is None


def test_a_day_with_a_hole_does_not_count() -> None:
    holed = history(24.0, 6)
    rows(holed)[300, POWER] = np.nan
    found = savings(ROOM, MODEL, holed, PRICE)
    assert found is not None
    assert found.days == DAYS - 1


LIVED_DAYS = 14


def lived(building: Building, setpoint_c: float, lead_h: float) -> History:
    """What the sensors of a room of the test building saw under that schedule, noise and all."""
    steps = LIVED_DAYS * STEPS_PER_DAY
    occupied = building.gains.occupied
    ahead = round(lead_h * 120)
    soon = np.convolve(occupied, np.ones(ahead + 1))[ahead : ahead + steps] > 0
    seen = np.empty((steps, 3))
    for step in range(steps):
        seen[step] = building.seen_c(), building.weather.outdoor_c[step], building.power_w[0]
        building.step(soon[step : step + 1], np.array([setpoint_c]))
    quarters = seen.reshape(-1, STEPS_PER_QUARTER, 3).mean(axis=1)
    table = np.full((len(quarters), COLUMNS), np.nan)
    table[:, TEMPERATURE], table[:, OUTDOOR], table[:, POWER] = quarters.T
    table[:, QUARTER] = np.arange(len(quarters)) % QUARTERS_PER_DAY
    table[:, OCCUPIED] = occupied[::STEPS_PER_QUARTER]
    return history_of(table, 10_000 * QUARTERS_PER_DAY + len(quarters) - 1)


@pytest.mark.parametrize("name", ["office", "small-fixed"])
def test_what_is_said_to_be_saved_holds_against_the_building_itself(name: str) -> None:
    """The building is not the learner's model, and nobody told it what the schedule would have taken."""
    case = named_cases()[name]
    history = lived(Building(case, LIVED_DAYS), 25.0, 0.5)
    room = room_of(case)
    model, verdict = fit(history, room.rated_w, 0, inverter=case.machine.inverter)
    assert model is not None, verdict
    found = savings(room, model, history, np.full(len(rows(history)), 0.85))
    assert found is not None
    plain, lived_ = Fixed(24.0, room.fixed_lead_s), Fixed(25.0, 1800.0)
    totals = run_fixed(case, LIVED_DAYS, [plain, lived_], warm_days=0).totals
    truly_kwh = float(totals.energy_wh[0] - totals.energy_wh[1]) / 1000 * found.days / LIVED_DAYS
    assert abs(found.saved_kwh - truly_kwh) < found.kwh_sure
    assert found.kwh_sure < 0.35 * found.baseline_kwh, "an interval that says something"
    assert abs(found.saved_kwh - truly_kwh) < 0.15 * found.baseline_kwh
