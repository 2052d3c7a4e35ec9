"""Plans: comfort kept, dear hours avoided, both solvers of one mind where the model lets them."""

from dataclasses import replace

import highspy
import numpy as np
import pytest

from agent.control.linear import linear, solver
from agent.control.plan import Plan, Problem, dynamic, roll

COUNT = 96
OPEN = slice(32, 72)


def problem(**changed: object) -> Problem:
    """A room that drifts to 30 °C, open from 8 to 18 h, one price."""
    occupied = np.zeros(COUNT, dtype=bool)
    occupied[OPEN] = True
    asked = occupied | np.append(occupied[1:], False)
    plain = Problem(
        temp_c=27.0,
        memory_c=(27.0, 27.0, 27.0),
        back=0.13,
        pull=(0.05, 0.03, 0.02),
        drift=np.full(COUNT, 0.03 * 31.0),
        cool1=np.full(COUNT, 2.0),
        cool2=np.full(COUNT, 1.6),
        knee=0.5,
        max_w=1200.0,
        price=np.full(COUNT, 0.85),
        low_c=np.where(occupied, 21.0, -np.inf),
        high_c=np.where(asked, 24.8, np.inf),
        discomfort=15.0,
        others_w=np.zeros(COUNT),
    )
    return replace(plain, **changed)


def highs(each: Problem) -> Plan:
    plan = linear(each, highspy, 5.0)
    assert plan is not None
    return plan


@pytest.mark.parametrize("solve", [highs, dynamic])
def test_off_at_night_and_in_the_band_by_day(solve: object) -> None:
    plan = solve(problem())  # type: ignore[operator]
    temps, loads = np.array(plan.temp_c), np.array(plan.load)
    assert temps[31:72].max() < 24.95
    assert temps[OPEN].mean() > 24.5
    assert loads[:20].sum() < 0.5
    assert loads[73:].sum() == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("solve", [highs, dynamic])
def test_a_dear_hour_is_prepared_for(solve: object) -> None:
    price = np.full(COUNT, 0.5)
    price[60:68] = 5.0
    plain, shifted = (solve(each) for each in (problem(), problem(price=price)))  # type: ignore[operator]
    assert sum(shifted.load[60:68]) < 0.8 * sum(plain.load[60:68])
    assert sum(shifted.load[48:60]) > sum(plain.load[48:60])


def test_a_demand_price_flattens() -> None:
    free, priced = highs(problem()), highs(problem(demand_price=30.0))
    assert max(priced.load) < max(free.load) - 0.05


def test_demand_below_the_peak_that_is_billed_anyway_is_free() -> None:
    assert highs(problem(demand_price=30.0, demand_free_w=2000.0)).load == pytest.approx(
        highs(problem()).load
    )


@pytest.mark.parametrize("solve", [highs, dynamic])
def test_never_infeasible(solve: object) -> None:
    """A unit that cannot do it still gets the best there is."""
    weak = problem(temp_c=45.0, cool1=np.full(COUNT, 0.05), cool2=np.full(COUNT, 0.05))
    plan = solve(weak)  # type: ignore[operator]
    assert np.isfinite(plan.temp_c).all()
    assert min(plan.load[30:40]) > 0.95


def test_the_dynamic_programme_checks_the_linear_one() -> None:
    """Neither may beat the other by much where walls remember little; the linear one is exact."""
    for start in (24.0, 27.0, 31.0):
        exact, checked = highs(problem(temp_c=start)), dynamic(problem(temp_c=start))
        assert exact.cost <= checked.cost * 1.001
        assert checked.cost <= exact.cost * 1.08


def test_the_linear_programme_knows_the_memories() -> None:
    """What it says of temperatures is what the model says when its loads are rolled."""
    each = problem(pull=(0.1, 0.05, 0.02), back=0.2)
    plan = highs(each)
    again = roll(each, np.array(plan.load))
    assert again.temp_c == pytest.approx(plan.temp_c)
    assert max(again.temp_c[32:72]) < 24.9


def test_same_problem_same_plan() -> None:
    assert highs(problem()) == highs(problem())
    assert dynamic(problem()) == dynamic(problem())


def test_a_late_solver_says_so() -> None:
    assert linear(problem(), highspy, 0.0) is None
    assert solver()(problem()) is not None
