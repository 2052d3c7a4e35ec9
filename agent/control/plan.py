"""The plan of a day: how warm a room shall be and what its units draw, quarter by quarter, at lowest cost.

Rules: pure. Comfort is soft (priced, high), so there is always a plan. A `Problem` is numbers only; a solver
turns it into a `Plan` or None (late), and any solver can stand in for another. This file has the problem,
what a plan costs, and the solver that needs nothing but numpy; `linear.py` has the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.control.grey_box import Floats
from agent.control.model import FOLLOW

GRID_K = 0.1
GRID_MARGIN_K = 3.0
GRID_MAX = 220
LOADS = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
PASSES = 2
QUARTER_H = 0.25


@dataclass(frozen=True, slots=True)
class Problem:
    """`T' = T + drift - back T + pull M - cool1 u1 - cool2 u2`, load u = u1 + u2, `u1` up to `knee`.

    `drift`, `cool1`, `cool2`, `price` (R$/kWh), `others_w`: [n]. `low_c`, `high_c`: [n], the band at the end
    of each quarter, infinite where free. `discomfort`: R$ per K.h. `demand_price`: R$/kW above
    `demand_free_w`.
    """

    temp_c: float
    memory_c: tuple[float, ...]
    back: float
    pull: tuple[float, ...]
    drift: Floats
    cool1: Floats
    cool2: Floats
    knee: float
    max_w: float
    price: Floats
    low_c: Floats
    high_c: Floats
    discomfort: float
    others_w: Floats
    demand_price: float = 0.0
    demand_free_w: float = 0.0

    def free_k(self, at: int, memory_c: list[float]) -> float:
        """What quarter `at` adds to `(1 - back) T` with the units off."""
        return float(self.drift[at]) + sum(c * m for c, m in zip(self.pull, memory_c, strict=True))


@dataclass(frozen=True, slots=True)
class Plan:
    """`load`: [n], mean of each quarter, 0 to 1. `temp_c`: [n], at its end. `cost`: R$, discomfort in."""

    load: tuple[float, ...]
    temp_c: tuple[float, ...]
    cost: float


def follow(memory_c: list[float], temp_c: float) -> list[float]:
    """The memories a quarter later."""
    return [m + share * (temp_c - m) for m, share in zip(memory_c, FOLLOW, strict=True)]


Solve = Callable[[Problem], Plan | None]


def roll(problem: Problem, load: Floats) -> Plan:
    """What these loads lead to, and cost."""
    temp, memory = problem.temp_c, list(problem.memory_c)
    temps = np.empty(len(load))
    first = np.minimum(load, problem.knee)
    cooled = problem.cool1 * first + problem.cool2 * (load - first)
    for at, cooled_k in enumerate(cooled.tolist()):
        temp = (1 - problem.back) * temp + problem.free_k(at, memory) - cooled_k
        memory = follow(memory, temp)
        temps[at] = temp
    return Plan(tuple(load.tolist()), tuple(temps.tolist()), cost_of(problem, load, temps))


def cost_of(problem: Problem, load: Floats, temps: Floats) -> float:
    """Energy, demand and priced discomfort together, R$."""
    kw = load * problem.max_w / 1000
    outside_k = np.maximum(temps - problem.high_c, 0) + np.maximum(problem.low_c - temps, 0)
    above_kw = np.max(kw + (problem.others_w - problem.demand_free_w) / 1000, initial=0.0)
    return float(
        QUARTER_H * (kw @ problem.price + problem.discomfort * outside_k.sum())
        + problem.demand_price * max(above_kw, 0.0)
    )


def dynamic(problem: Problem) -> Plan:
    """Dynamic programme over the temperature; the memories follow the last pass, the first has them fixed."""
    count = len(problem.drift)
    memory = np.tile(problem.memory_c, (count, 1))
    plan = _pass(problem, memory)
    for _ in range(PASSES - 1):
        plan = _pass(problem, _remembered(problem, plan))
    return plan


def _remembered(problem: Problem, plan: Plan) -> Floats:
    """The memories at the start of each quarter of a plan."""
    memory = [list(problem.memory_c)]
    for temp in plan.temp_c[:-1]:
        memory.append(follow(memory[-1], temp))
    return np.array(memory)


def _grid(problem: Problem) -> Floats:
    bounds = np.concatenate((problem.low_c, problem.high_c, [problem.temp_c]))
    bounds = bounds[np.isfinite(bounds)]
    low, high = bounds.min() - GRID_MARGIN_K, max(bounds.max() + GRID_MARGIN_K, problem.temp_c + 6)
    return np.linspace(low, high, min(int((high - low) / GRID_K) + 1, GRID_MAX))


def _pass(problem: Problem, memory: Floats) -> Plan:
    grid = _grid(problem)
    step_k, keep = grid[1] - grid[0], 1 - problem.back
    free = problem.drift + memory @ np.array(problem.pull)
    count = len(free)
    value = np.zeros(len(grid))
    values = np.empty((count + 1, len(grid)))
    values[count] = value
    loads1, loads2 = np.minimum(LOADS, problem.knee), np.maximum(LOADS - problem.knee, 0)
    cooled = problem.cool1[:, None] * loads1 + problem.cool2[:, None] * loads2
    spent = _spent(problem)
    kept = keep * grid
    for at in range(count - 1, -1, -1):
        drifting = kept + free[at]
        there = drifting[None, :] - cooled[at][:, None]
        total = (
            _ahead(there, values[at + 1], problem, at=at, start_c=grid[0], step_k=step_k) + spent[at][:, None]
        )
        hold = _hold_load(problem, at, drifting)
        cold = drifting - _cooling(problem, at, hold)
        held = _ahead(cold, values[at + 1], problem, at=at, start_c=grid[0], step_k=step_k)
        held = held + _load_cost(problem, at, hold)
        values[at] = np.minimum(total.min(axis=0), held)
    return roll(problem, _forward(problem, values, grid, cooled, spent))


def _spent(problem: Problem) -> Floats:
    """What each of `LOADS` costs in each quarter, R$, [n, loads], demand above what is free included."""
    return np.stack([_load_cost(problem, at, LOADS) for at in range(len(problem.price))])


def _load_cost(problem: Problem, at: int, load: Floats) -> Any:
    kw = load * problem.max_w / 1000
    cost = QUARTER_H * problem.price[at] * kw
    if problem.demand_price:
        over = kw + (problem.others_w[at] - problem.demand_free_w) / 1000
        # A peak is paid once and not at each quarter: a fifth at each keeps the programme from piling up.
        cost = cost + 0.2 * problem.demand_price * np.maximum(over, 0)
    return cost


def _ahead(there: Floats, value: Floats, problem: Problem, *, at: int, start_c: float, step_k: float) -> Any:
    """The cost of being at these temperatures at the end of quarter `at`, and of all that follows."""
    place = (there - start_c) / step_k
    place = np.minimum(np.maximum(place, 0.0), len(value) - 1.001)
    below = place.astype(np.int64)
    share = place - below
    cost = value[below] * (1 - share) + value[below + 1] * share
    outside_k = np.maximum(there - problem.high_c[at], 0) + np.maximum(problem.low_c[at] - there, 0)
    return cost + QUARTER_H * problem.discomfort * outside_k


def _hold_load(problem: Problem, at: int, drifting: Floats) -> Any:
    """The load that ends the quarter exactly at the upper limit, as far as there is one."""
    excess = np.maximum(drifting - problem.high_c[at], 0.0)
    first = np.minimum(excess / problem.cool1[at], problem.knee)
    rest = (excess - first * problem.cool1[at]) / problem.cool2[at]
    return np.minimum(first + np.maximum(rest, 0.0), 1.0)


def _cooling(problem: Problem, at: int, load: Floats) -> Any:
    first = np.minimum(load, problem.knee)
    return problem.cool1[at] * first + problem.cool2[at] * (load - first)


def _forward(problem: Problem, values: Floats, grid: Floats, cooled: Floats, spent: Floats) -> Floats:
    """The loads that follow the values from where the room is, with its memories rolled exactly."""
    step_k = grid[1] - grid[0]
    temp, memory = problem.temp_c, list(problem.memory_c)
    chosen = np.zeros(len(cooled))
    for at in range(len(cooled)):
        drifting = np.array([(1 - problem.back) * temp + problem.free_k(at, memory)])
        hold = _hold_load(problem, at, drifting)
        there = np.concatenate((drifting - cooled[at], drifting - _cooling(problem, at, hold)))
        cost = _ahead(there, values[at + 1], problem, at=at, start_c=grid[0], step_k=step_k)
        cost += np.concatenate((spent[at], _load_cost(problem, at, hold)))
        best = int(np.argmin(cost))
        chosen[at] = LOADS[best] if best < len(LOADS) else hold[0]
        temp = float(there[best])
        memory = follow(memory, temp)
    return chosen
