"""Chattering and budgets, with a clock by hand."""

from __future__ import annotations

from agent.alarms import Priority
from agent.alarms.flood import TRACKS_MAX, Budget, Chatter


def test_more_raises_than_may_within_the_window_is_chatter() -> None:
    chatter = Chatter(raises_max=3, window_s=60, hold_s=100)
    assert [chatter.raised("a", at) for at in (0, 10, 20, 30)] == [False, False, False, True]
    assert not chatter.raised("b", 30)


def test_slow_ones_never_chatter() -> None:
    chatter = Chatter(raises_max=3, window_s=60, hold_s=100)
    assert not any(chatter.raised("a", at * 21) for at in range(100))


def test_it_is_quiet_after_the_hold_without_a_raise() -> None:
    chatter = Chatter(raises_max=1, window_s=60, hold_s=100)
    chatter.raised("a", 0)
    assert chatter.raised("a", 1)
    assert not chatter.is_quiet("a", 500)  # its condition holds
    chatter.noticed("a", 500, raised=False)
    chatter.noticed("a", 550, raised=False)
    assert not chatter.is_quiet("a", 599)
    assert chatter.is_quiet("a", 600)
    chatter.noticed("a", 600, raised=True)
    assert not chatter.is_quiet("a", 5000)


def test_memory_is_bounded_and_what_was_forgotten_is_quiet() -> None:
    chatter = Chatter(raises_max=1, window_s=60, hold_s=100)
    for at in range(TRACKS_MAX + 10):
        chatter.raised(f"a{at}", 0)
    assert len(chatter._tracks) == TRACKS_MAX
    assert chatter.is_quiet("a0", 0)


def test_each_priority_has_a_budget_of_its_own_that_comes_back() -> None:
    budget = Budget(60, 0)
    taken = [budget.take(Priority.LOW, 0) for _ in range(100)]
    assert sum(taken) == 60
    assert budget.take(Priority.CRITICAL, 0)
    assert sum(budget.take(Priority.LOW, 10) for _ in range(100)) == 10
    assert sum(budget.take(Priority.LOW, 10_000) for _ in range(100)) == 60
