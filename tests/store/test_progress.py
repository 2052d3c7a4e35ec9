from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.store import progress
from agent.store.progress import GAPS_MAX, Progress

MOST = 60
numbers = st.integers(1, MOST)
spans = st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))
steps = st.lists(st.tuples(st.sampled_from(["passed", "again"]), spans), max_size=20)


def waiting(given: Progress) -> set[int]:
    return {number for first, last in given.spans(MOST) for number in range(first, last + 1)}


def built(changes: list[tuple[str, tuple[int, int]]]) -> tuple[Progress, set[int]]:
    """The same changes on intervals and on a plain set."""
    found, model = Progress(), set(range(1, MOST + 1))
    for change, (first, last) in changes:
        found = getattr(found, change)(first, last)
        touched = set(range(first, last + 1))
        model = model - touched if change == "passed" else model | touched
    return found, model


@given(steps)
def test_intervals_hold_what_a_set_would(changes: list[tuple[str, tuple[int, int]]]) -> None:
    found, model = built(changes)
    assert waiting(found) == model
    assert found.waiting(MOST) == len(model)
    edges = [*found.gaps, (found.beyond + 1, found.beyond + 1)]
    assert all(a[1] + 1 < b[0] for a, b in pairwise(edges))  # sorted, apart


@given(steps, steps)
def test_two_can_be_compared(
    ours: list[tuple[str, tuple[int, int]]], theirs: list[tuple[str, tuple[int, int]]]
) -> None:
    (one, first), (two, second) = built(ours), built(theirs)
    assert waiting(one.common(two)) == first & second
    lacking = {number for a, b in one.minus(two) for number in range(a, min(b, MOST) + 1)}
    assert lacking == first - second


def test_too_many_gaps_send_a_little_again_and_skip_nothing() -> None:
    found, wanted = Progress(), set()
    for at in range(GAPS_MAX * 3):
        found = found.passed(at * 10 + 2 + at % 3, at * 10 + 10)
        wanted |= set(range(at * 10 + 1, at * 10 + 2 + at % 3))
    until = GAPS_MAX * 30
    have = {number for first, last in found.spans(until) for number in range(first, last + 1)}
    assert len(found.gaps) == GAPS_MAX
    assert wanted <= have
    assert found.beyond == until


def test_keeping_up_costs_no_gap() -> None:
    assert Progress().passed(1, 10).passed(11, 20) == Progress(20)
    assert Progress(20).passed(5, 7) == Progress(20)
    assert Progress(10, ((2, 3),)).passed(2, 3) == Progress(10)
    assert progress.Progress(5).minus(Progress(9)) == [(6, 9)]
