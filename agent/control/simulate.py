"""A room of the test building under the agent or under fixed schedules, in accelerated time.

Rules: deterministic. What an outside simulator needs to do the same is in docs/control.md. The schedules are
searched on the plant itself, with its future: no controller on site can know that much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.control.building import Building, Case, Totals
from agent.control.loop import Loop
from agent.control.planner import Planner, at_home
from agent.control.room import (
    HORIZON,
    QUARTERS_PER_DAY,
    Decision,
    Observed,
    Outlook,
    Room,
    RoomSeen,
    Seen,
    Unit,
)
from agent.control.weather import STEP_S, STEPS_PER_DAY, Floats

START_MS = 1_767_582_000_000
"""Monday 2026-01-05, midnight in Brasília."""
CYCLE_STEPS = 2
FLAT = np.empty(0)
Flags = NDArray[np.bool_]
Line = tuple[float, float, float, float, float, int]
"""Day, air °C, set point (NaN: off), W, outdoor °C, rung."""
STEPS_PER_QUARTER = 900 // STEP_S


@dataclass
class Run:
    """What came of it, per copy: totals of the scored days; for the agent also how it went."""

    totals: Totals
    days: int
    decide_ms: list[float] = field(default_factory=list)
    loop: Loop | None = None
    trace: list[Line] = field(default_factory=list)

    @property
    def weeks(self) -> float:
        return self.days / 7


Interfere = Callable[[int, Observed], Observed | None]


def room_of(case: Case) -> Room:
    """The room as its installer would describe it."""
    machine = case.machine
    rated_w = round(machine.rated_w, -1)
    unit = Unit("ac", rated_w=rated_w, inverter=machine.inverter, grid_k=case.grid_k)
    return Room("room", (unit,), band_c=case.band_c)


def outlook_at(building: Building, step: int) -> Outlook:
    """The calendar and the prices of the next day."""
    quarters = (step // STEPS_PER_QUARTER + np.arange(HORIZON)) * STEPS_PER_QUARTER
    count = len(building.price)
    # The calendar of the week after the last simulated day is that of the last week.
    at = np.where(quarters < count, quarters, (quarters - 7 * STEPS_PER_DAY) % count)
    return Outlook(
        quarter=step // STEPS_PER_QUARTER % QUARTERS_PER_DAY,
        occupied=tuple(building.gains.occupied[at].tolist()),
        price=tuple(building.price[at].tolist()),
    )


def observed_of(building: Building) -> Observed:
    """What the sensors of the first copy say now."""
    case, at = building.case, building.step_at
    seen = RoomSeen(
        temperature_c=Seen(building.seen_c()),
        humidity_pct=Seen(building.humidity_pct()),
        power_w=Seen(float(building.power_w[0])) if case.power_meter else None,
    )
    sun = Seen(float(building.weather.sun_w_m2[at])) if case.sun_sensor else None
    return Observed({"room": seen}, Seen(round(float(building.weather.outdoor_c[at]), 1)), sun)


@dataclass
class Stay:
    """The agent in a room, from a cold start on; copied (`deepcopy`) it may go on in several ways.

    `interfere(step, observed)` may falsify what is seen, or return None: the agent is dead. `reach(step)`:
    whether commands arrive.
    """

    building: Building
    loop: Loop
    interfere: Interfere | None = None
    reach: Callable[[int], bool] = lambda _: True
    clock: Callable[[], float] = time.perf_counter
    traced: bool = False
    on: Flags = field(default_factory=lambda: np.array([False]))
    setpoint: Floats = field(default_factory=lambda: np.array([24.0]))
    outlook: Outlook | None = None
    decide_ms: list[float] = field(default_factory=list)
    trace: list[Line] = field(default_factory=list)

    def until(self, end: int) -> None:
        """Live up to that step."""
        for step in range(self.building.step_at, end):
            if self.outlook is None or step % STEPS_PER_QUARTER == 0:
                self.outlook = outlook_at(self.building, step)
            if step % CYCLE_STEPS == 0:
                self._decide(step, self.outlook)
            self.building.step(self.on, self.setpoint)
            if self.traced and step % 10 == 0:
                self.trace.append(_line(self.building, self.on, self.setpoint, self.loop))

    def _decide(self, step: int, outlook: Outlook) -> None:
        seen: Observed | None = observed_of(self.building)
        if self.interfere is not None and seen is not None:
            seen = self.interfere(step, seen)
        if seen is None:
            return
        began = self.clock()
        (decision,) = self.loop.cycle(START_MS + step * STEP_S * 1000, seen, {"room": outlook})
        self.decide_ms.append((self.clock() - began) * 1000)
        if self.reach(step):
            self.on, self.setpoint = _command(decision, self.on, self.setpoint)


def run_agent(
    case: Case,
    days: int,
    *,
    planner: Planner = at_home,
    warm_days: int = 7,
    price: Floats = FLAT,
    trace: bool = False,
) -> Run:
    """The agent alone in the room from a cold start; the first `warm_days` are not scored."""
    building = Building(case, days, price=price)
    stay = Stay(building, Loop((room_of(case),), planner), traced=trace)
    stay.until(warm_days * STEPS_PER_DAY)
    building.totals = Totals.none(1)
    stay.until(days * STEPS_PER_DAY)
    return Run(building.totals, days - warm_days, stay.decide_ms, stay.loop, stay.trace)


def _command(decision: Decision, on: Flags, setpoint: Floats) -> tuple[Flags, Floats]:
    if decision.on is None or decision.setpoint_c is None:
        return on, setpoint
    return np.array([decision.on]), np.array([decision.setpoint_c])


def _line(building: Building, on: Flags, setpoint: Floats, loop: Loop) -> Line:
    return (
        building.step_at / STEPS_PER_DAY,
        float(building.nodes[0, 0]),
        float(setpoint[0]) if on[0] else float("nan"),
        float(building.power_w[0]),
        float(building.weather.outdoor_c[building.step_at - 1]),
        loop.state.rooms["room"].rung,
    )


@dataclass(frozen=True, slots=True)
class Fixed:
    """On `lead_s` before opening (None: always), at one set point, until `stop_s` before closing."""

    setpoint_c: float
    lead_s: float | None = 3600.0
    stop_s: float = 0.0


def run_fixed(
    case: Case,
    days: int,
    schedules: Iterable[Fixed],
    *,
    warm_days: int = 7,
    price: Floats = FLAT,
) -> Run:
    """All schedules at once, each in a copy of the room, scored as the agent is."""
    plans = list(schedules)
    building = Building(case, days, count=len(plans), price=price)
    on = np.stack([_hours(building, plan) for plan in plans], axis=1)
    setpoint = np.array([plan.setpoint_c for plan in plans])
    for step in range(days * STEPS_PER_DAY):
        if step == warm_days * STEPS_PER_DAY:
            building.totals = Totals.none(len(plans))
        building.step(on[step], setpoint)
    return Run(building.totals, days - warm_days)


def _hours(building: Building, plan: Fixed) -> Flags:
    """When a schedule has the unit on, for every step."""
    occupied = building.gains.occupied
    if plan.lead_s is None:
        return np.ones_like(occupied)
    lead, stop = round(plan.lead_s / STEP_S), round(plan.stop_s / STEP_S)
    count = len(occupied)
    soon = np.concatenate(([0], np.cumsum(np.concatenate((occupied, np.zeros(lead, dtype=bool))))))
    comes = soon[lead + 1 : lead + 1 + count] - soon[:count] > 0
    padded = np.concatenate((occupied, np.zeros(stop, dtype=bool)))
    still = padded[stop : stop + count]
    return comes & (still | ~occupied)


def searched(case: Case) -> list[Fixed]:
    """The schedules that are tried: every set point of the grid, head starts to four hours, early stops."""
    low, high = case.band_c
    setpoints = np.arange(max(low - 3, 18), high + 1.01, case.grid_k)
    leads = [0, 10, 20, 30, 45, 60, 90, 120, 180, 240]
    return [
        Fixed(float(setpoint), lead * 60.0, stop * 60.0)
        for setpoint in setpoints
        for lead in leads
        for stop in (0, 15, 30)
    ]


def best_of(run: Run, limit_kh_week: float = 0.5) -> int:
    """The cheapest within the discomfort a week; where none is, the cheapest near the least discomfort."""
    missed = run.totals.discomfort_kh / run.weeks
    allowed = max(limit_kh_week, float(missed.min()) + 0.1)
    cost = np.where(missed <= allowed, run.totals.cost, np.inf)
    return int(np.argmin(cost))
