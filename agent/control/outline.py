"""A room's day as a `Problem`: the accepted model, the local forecast, the calendar and the tariff.

Rules: pure. Comfort is asked for `margin_k` inside the band, from the start of the first occupied quarter to
the end of the last. What the model missed in the last hours fades into the next ones.
"""

from __future__ import annotations

import numpy as np

from agent.control import forecast
from agent.control.history import OCCUPIED, OUTDOOR, POWER, QUARTER, SUN_W_M2, TEMPERATURE, History
from agent.control.model import (
    COOL1,
    COOL2,
    COOL_OUT,
    KNEE,
    MEM,
    MEMORY_H,
    OUT,
    OUT_REFERENCE_C,
    SURPRISE_FADE,
    Floats,
    Model,
    features,
    memories,
    outside,
    with_power,
)
from agent.control.plan import Plan, Problem
from agent.control.room import HORIZON, QUARTERS_PER_DAY, Observed, Outlook, Room
from agent.control.state import RoomState
from agent.control.wishes import SHORT

MEMORY_DAYS = 4
DISCOMFORT_HOURS = 15.0
COOLING_MIN_K = 0.02
CAUTION = 0.12
"""Of the error four hours ahead, how much a quarter may add."""
CONTRACT_STEP = 1.05
FULL, FULL_QUARTERS, SHORT_K, DEAR = 0.97, 4, 0.15, 1.2


def problem_of(
    room: Room,
    model: Model,
    *,
    state: RoomState,
    history: History,
    observed: Observed,
    outlook: Outlook,
    temp_c: float,
) -> Problem:
    """The next `HORIZON` quarters of this room."""
    learned = np.array(model.learned)
    rows = _ahead(history, observed, outlook)
    drift = rows @ learned + state.surprise_k * np.exp(-np.arange(HORIZON) / SURPRISE_FADE)
    # A day may be warmer by what the model has been wrong: a unit at its limit cannot make up for it.
    full_k = KNEE * learned[COOL1] + (1 - KNEE) * learned[COOL2]
    drift += CAUTION * model.error_k + state.reserve * full_k
    less = learned[COOL_OUT] * (rows[:, OUT] - OUT_REFERENCE_C) / 10
    memory = memories(history.recent(TEMPERATURE, MEMORY_DAYS * QUARTERS_PER_DAY))
    low, high = band(room, outlook, state.margin_k)
    price = np.array(outlook.price)
    if not (price > 0).any():
        price = np.ones(HORIZON)  # no tariff: energy is worth something, and comfort is priced by it
    max_w = max(model.max_w - model.idle_w, 1.0)
    free_w, demand_price = _demand(outlook)
    return Problem(
        temp_c=temp_c,
        memory_c=tuple(memory[-1].tolist()) if len(memory) else (temp_c,) * len(MEMORY_H),
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


def _ahead(history: History, observed: Observed, outlook: Outlook) -> Floats:
    """The features of the next quarters, power 0."""
    quarter = (outlook.quarter + np.arange(HORIZON)) % QUARTERS_PER_DAY
    now = observed.outdoor_c.value if observed.outdoor_c and observed.outdoor_c.age_s < 1800 else None
    outdoor = (
        forecast.outdoor(history, quarter, now) if outlook.outdoor_c is None else np.array(outlook.outdoor_c)
    )
    sun = forecast.sun(history) if outlook.sun_w_m2 is None else np.array(outlook.sun_w_m2)
    return outside(quarter, np.array(outlook.occupied, dtype=np.float64), outdoor, sun)


def last_miss_k(model: Model, history: History) -> float:
    """How much warmer the last whole quarter was than the model says, power known; NaN in a gap."""
    recent = history.rows[-MEMORY_DAYS * QUARTERS_PER_DAY :]
    if len(recent) < 2:
        return float("nan")
    row = recent[-1:]
    quarter = row[:, QUARTER].astype(np.int64)
    outdoor_c = np.where(np.isnan(row[:, OUTDOOR]), forecast.stand_in(quarter), row[:, OUTDOOR])
    load = np.clip((row[:, POWER] - model.idle_w) / max(model.max_w - model.idle_w, 1.0), 0.0, 1.1)
    fixed = outside(quarter, row[:, OCCUPIED], outdoor_c, np.nan_to_num(row[:, SUN_W_M2]))
    before = recent[:-1, TEMPERATURE]
    known = features(with_power(fixed, load), before[-1:], memories(before)[-1:])
    return float(row[0, TEMPERATURE] - before[-1] - known[0] @ np.array(model.learned))


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


def reason_to_prepare(outlook: Outlook, problem: Problem, plan: Plan) -> str:
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
