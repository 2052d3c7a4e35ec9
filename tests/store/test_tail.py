from __future__ import annotations

from agent.model import Reading
from agent.store.tail import Tail
from tests.conftest import group_of

GROUP = group_of()


def tail_of(count: int, first: int) -> Tail:
    """Readings whose time is their number."""
    tail = Tail(first)
    tail.extend(Reading(GROUP, at, (0.0, 0.0)) for at in range(first, first + count))
    return tail


def times(tail: Tail) -> list[int]:
    return [reading.time_ms for reading in tail.since(tail.first)]


def test_an_empty_tail_ends_before_it_begins() -> None:
    tail = Tail(8)
    assert (tail.first, tail.last) == (8, 7)
    assert tail.since(8) == []
    assert tail.numbered(0, 10, tail.last) == []


def test_numbers_stay_when_the_oldest_are_forgotten() -> None:
    tail = tail_of(10, 5)
    for until in (7, 3):  # what is gone already is no matter
        tail.forget(until)
        assert (tail.first, tail.last) == (8, 14)
    assert [seq for seq, _ in tail.numbered(0, 100, 14)] == list(range(8, 15))
    assert all(seq == reading.time_ms for seq, reading in tail.numbered(9, 100, 14))
    tail.forget(14)
    assert (tail.first, tail.last) == (15, 14)


def test_a_look_is_bounded_by_number_and_by_count() -> None:
    tail = tail_of(10, 5)
    assert [seq for seq, _ in tail.numbered(6, 3, 14)] == [7, 8, 9]
    assert [seq for seq, _ in tail.numbered(6, 3, 7)] == [7]
    assert tail.numbered(6, 3, 4) == []  # nothing is released
    assert tail.numbered(14, 3, 14) == []
    assert [reading.time_ms for reading in tail.between(6, 8)] == [6, 7, 8]
    assert tail.between(6, 5) == []


def test_only_what_is_named_is_shifted_also_if_some_of_it_was_forgotten() -> None:
    tail = tail_of(6, 1)
    tail.forget(2)
    tail.shift(1, 4, 100)
    assert times(tail) == [103, 104, 5, 6]
    tail.shift(7, 9, 100)
    assert times(tail) == [103, 104, 5, 6]
