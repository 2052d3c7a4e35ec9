"""A room's day as a `Problem`, solved: the accepted model, the local forecast, the calendar and the tariff.

Rules: pure. Comfort is asked for `margin_k` inside the band, from the start of the first occupied quarter to
the end of the last. What the model missed in the last hours fades into the next ones.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from agent.control import forecast
from agent.control.grey_box import Floats, outside
from agent.control.history import TEMPERATURE
from agent.control.linear import solver
from agent.control.model import (
    COOL1,
    COOL2,
    COOL_OUT,
    KNEE,
    MEM,
    MEMORY_DAYS,
    MEMORY_H,
    OUT,
    OUT_REFERENCE_C,
    SURPRISE_FADE,
    remembered,
)
from agent.control.plan import Plan, Problem, Solve, dynamic
from agent.control.planner import SHORT, Day, Planned, Planner
from agent.control.room import HORIZON, QUARTERS_PER_DAY, Outlook, Room

DISCOMFORT_HOURS = 15.0
COOLING_MIN_K = 0.02
CAUTION = 0.12
"""Of the error four hours ahead, how much a quarter may add."""
CONTRACT_STEP = 1.05
FULL, FULL_QUARTERS, SHORT_K, DEAR = 0.97, 4, 0.15, 1.2


def planned(day: Day) -> Planned:
    """The plan of a day by HiGHS, or by the dynamic programme where HiGHS is late or not installed."""
    return _planned(day, _highs())


def planner(solve: Solve) -> Planner:
    """The same with another solver; None from it means that it was late."""
    return lambda day: _planned(day, solve)


@cache
def _highs() -> Solve:
    return solver()


def _planned(day: Day, solve: Solve) -> Planned:
    problem = problem_of(day)
    found = solve(problem)
    plan = found or dynamic(problem)
    return Planned(plan.load, plan.temp_c, _lead(day.outlook, problem, plan), late=found is None)


def problem_of(day: Day) -> Problem:
    """The next `HORIZON` quarters of this room."""
    room, model, history, outlook = day.room, day.model, day.history, day.outlook
    learned = np.array(model.learned)
    ahead = _ahead(day)
    drift = ahead @ learned + day.surprise_k * np.exp(-np.arange(HORIZON) / SURPRISE_FADE)
    # A day may be warmer by what the model has been wrong: a unit at its limit cannot make up for it.
    full_k = KNEE * learned[COOL1] + (1 - KNEE) * learned[COOL2]
    drift += CAUTION * model.error_k + day.reserve * full_k
    less = learned[COOL_OUT] * (ahead[:, OUT] - OUT_REFERENCE_C) / 10
    memory = remembered(history.recent(TEMPERATURE, MEMORY_DAYS * QUARTERS_PER_DAY))
    low, high = band(room, outlook, day.margin_k)
    price = np.array(outlook.price)
    if not (price > 0).any():
        price = np.ones(HORIZON)  # no tariff: energy is worth something, and comfort is priced by it
    max_w = max(model.max_w - model.idle_w, 1.0)
    free_w, demand_price = _demand(outlook)
    return Problem(
        temp_c=day.temp_c,
        memory_c=memory[-1] if memory else (day.temp_c,) * len(MEMORY_H),
        back=float(learned[OUT] + learned[MEM].sum()),
        pull=tuple(learned[MEM].tolist()),
        drift=drift,
        cool1=np.maximum(learned[COOL1] - less, COOLING_MIN_K),
        cool2=np.maximum(learned[COOL2] - less, COOLING_MIN_K),
        knee=KNEE,
        max_w=max_w,
        price=price,
        low_c=low,
        high_c=high,
        discomfort=DISCOMFORT_HOURS * float(np.maximum(price, 0).mean()) * max_w / 1000,
        others_w=np.zeros(HORIZON) if outlook.others_w is None else np.array(outlook.others_w),
        demand_price=demand_price,
        demand_free_w=free_w,
    )


def _ahead(day: Day) -> Floats:
    """The features of the next quarters, power 0."""
    history, outlook, seen = day.history, day.outlook, day.outdoor
    quarter = (outlook.quarter + np.arange(HORIZON)) % QUARTERS_PER_DAY
    now = seen.value if seen and seen.age_s < 1800 else None
    outdoor = (
        forecast.outdoor(history, quarter, now) if outlook.outdoor_c is None else np.array(outlook.outdoor_c)
    )
    sun = forecast.sun(history) if outlook.sun_w_m2 is None else np.array(outlook.sun_w_m2)
    return outside(quarter, np.array(outlook.occupied, dtype=np.float64), outdoor, sun)


def band(room: Room, outlook: Outlook, margin_k: float) -> tuple[Floats, Floats]:
    """The lowest and highest temperature at the end of each quarter, infinite where it may float."""
    here = np.array(outlook.occupied)
    asked = here | np.append(here[1:], here[-1])
    low, high = room.band_c
    floating = np.inf if room.unoccupied_max_c is None else room.unoccupied_max_c - margin_k
    highs = np.where(asked, max(high - margin_k, low + 0.5), floating)
    if room.hard_max_c is not None:
        highs = np.minimum(highs, room.hard_max_c - margin_k - 0.5)
    return np.where(asked, low, -np.inf), highs


def _demand(outlook: Outlook) -> tuple[float, float]:
    """Watts of the whole site that cost no more demand, and R$ for each kW above.

    The billed peak so far is free to reach again, and so is the contract; above it each kW is paid, above its
    tolerance the whole excess three times over.
    """
    demand = outlook.demand
    if demand is None or demand.price <= 0:
        return 0.0, 0.0
    contract_w = demand.contract_w or 0.0
    crossed = contract_w and demand.peak_w > CONTRACT_STEP * contract_w
    times = 3.0 if contract_w and not crossed else 1.0
    return max(demand.peak_w, contract_w), times * demand.price


def _lead(outlook: Outlook, problem: Problem, plan: Plan) -> str:
    """Why the room should be cooler than it need be now; "" if the latest start is the cheapest.

    A step of 15 minutes and a learned room cannot tell the last five minutes of a start: the room's own pace
    can. The plan leads where it knows what a pace does not: dear hours, and a unit that will not be enough.
    """
    here = np.array(outlook.occupied)
    loads, temps = np.array(plan.load), np.array(plan.temp_c)
    full = here & (loads > FULL)
    full[1:] &= here[:-1]
    if full.sum() >= FULL_QUARTERS or (here & (temps > problem.high_c + SHORT_K)).sum() >= FULL_QUARTERS:
        return SHORT
    prices = problem.price[here]
    if len(prices) and prices.max() > DEAR * problem.price[: HORIZON // 2].min():
        return "dear hours follow"
    return "demand is dear" if problem.demand_price else ""
