"""The plan of a day as a linear programme for HiGHS: exact for the model, memories included.

Rules: pure, one thread, no files; the programme is built anew each time, so the same problem gives the same
plan. Without `highspy` installed `solver()` gives the dynamic programme instead.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from agent.control.grey_box import Floats
from agent.control.model import FOLLOW
from agent.control.plan import QUARTER_H, Plan, Problem, Solve, dynamic, roll

LIMIT_S = 5.0
ITERATIONS_MAX = 20_000
"""Bounded by iterations, not by time: the same problem gives the same plan on a busy machine, so that history
can be replayed bit for bit. The time is a net below it."""


def solver(limit_s: float = LIMIT_S) -> Solve:
    """HiGHS if it is there, the dynamic programme if not."""
    try:
        highs = importlib.import_module("highspy")
    except ImportError:
        return dynamic
    return lambda problem: linear(problem, highs, limit_s)


def linear(problem: Problem, highs: Any, limit_s: float = LIMIT_S) -> Plan | None:
    """The cheapest plan; None if the solver did not finish in `limit_s`.

    Columns, n of each: u1, u2, T, three memories, hot, cold; then the demand above what is free, kW.
    """
    solver_ = highs.Highs()
    solver_.setOptionValue("output_flag", False)
    solver_.setOptionValue("threads", 1)
    solver_.setOptionValue("simplex_iteration_limit", ITERATIONS_MAX)
    solver_.setOptionValue("time_limit", limit_s)
    solver_.passModel(_programme(problem, highs))
    solver_.run()
    if solver_.getModelStatus() != highs.HighsModelStatus.kOptimal:
        return None
    count = len(problem.drift)
    values = np.array(solver_.getSolution().col_value)
    load = np.clip(values[:count] + values[count : 2 * count], 0.0, 1.0)
    return roll(problem, np.where(load < 1e-4, 0.0, load))


def _programme(problem: Problem, highs: Any) -> Any:
    count = len(problem.drift)
    rows, columns, values, low, high = _rows(problem)
    order = np.argsort(rows, kind="stable")
    lp = highs.HighsLp()
    lp.num_col_ = 8 * count + 1
    lp.num_row_ = len(low)
    lp.col_cost_ = _costs(problem)
    lp.col_lower_ = np.concatenate((np.zeros(2 * count), np.full(4 * count, -1e3), np.zeros(2 * count + 1)))
    lp.col_upper_ = np.concatenate(
        (
            np.full(count, problem.knee),
            np.full(count, 1 - problem.knee),
            np.full(4 * count, 1e3),
            np.full(2 * count + 1, np.inf),
        )
    )
    lp.row_lower_, lp.row_upper_ = low, high
    lp.a_matrix_.format_ = highs.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(low)))))
    lp.a_matrix_.index_ = columns[order]
    lp.a_matrix_.value_ = values[order]
    return lp


def _costs(problem: Problem) -> Floats:
    count = len(problem.drift)
    energy = QUARTER_H * problem.price * problem.max_w / 1000
    discomfort = np.full(2 * count, QUARTER_H * problem.discomfort)
    return np.concatenate((energy, energy, np.zeros(4 * count), discomfort, [problem.demand_price]))


def _rows(problem: Problem) -> tuple[Any, Any, Floats, Floats, Floats]:
    """Triplets of the matrix and the bounds of its rows: dynamics, memories, band, demand."""
    count = len(problem.drift)
    at = np.arange(count)
    u1, u2, temp, *memories, hot, cold = (at + each * count for each in range(8))
    one, keep = np.ones(count), np.full(count - 1, -(1 - problem.back))
    parts: list[tuple[Any, Any, Any]] = [
        (at, temp, one),
        (at, u1, problem.cool1),
        (at, u2, problem.cool2),
        (at[1:], temp[:-1], keep),
    ]
    fixed = problem.drift.copy()
    fixed[0] += (1 - problem.back) * problem.temp_c + float(np.dot(problem.pull, problem.memory_c))
    starts = []
    known = zip(memories, problem.pull, FOLLOW, problem.memory_c, strict=True)
    for block, (memory, pull, share, start) in enumerate(known, 1):
        row = at + block * count
        parts.append((at[1:], memory[:-1], np.full(count - 1, -pull)))
        parts += [
            (row, memory, one),
            (row, temp, -share * one),
            (row[1:], memory[:-1], (share - 1) * one[1:]),
        ]
        starts.append(np.concatenate(([(1 - share) * start], np.zeros(count - 1))))
    parts += [(at + 4 * count, temp, one), (at + 4 * count, hot, -one)]
    parts += [(at + 5 * count, temp, one), (at + 5 * count, cold, one)]
    infinite = np.full(count, np.inf)
    low = [fixed, *starts, -infinite, problem.low_c]
    high = [fixed, *starts, problem.high_c, infinite]
    if problem.demand_price:
        kw = np.full(count, problem.max_w / 1000)
        row = at + 6 * count
        parts += [(row, u1, kw), (row, u2, kw), (row, np.full(count, 8 * count), -one)]
        low.append(-infinite)
        high.append((problem.demand_free_w - problem.others_w) / 1000)
    rows, columns, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    return rows, columns, values, np.concatenate(low), np.concatenate(high)
