"""The states of ISA-18.2 as a table of what leads where."""

from __future__ import annotations

import math

import pytest

from agent.alarms.alarm import Alarm, Priority, State, Words, from_json

FRESH = Alarm("a", Words("pt", "en"))
UP = FRESH.up(1000, 5.0)


@pytest.mark.parametrize(
    ("alarm", "state"),
    [
        (FRESH, State.NORMAL),
        (UP, State.UNACKNOWLEDGED),
        (UP.seen(2000, "ana"), State.ACKNOWLEDGED),
        (UP.down(2000), State.RETURNED),
        (UP.down(2000).seen(3000, "ana"), State.NORMAL),
        (UP.seen(2000, "ana").down(3000), State.NORMAL),
        (UP.down(2000).up(3000), State.UNACKNOWLEDGED),
        (UP.shelved(9000), State.SHELVED),
        (UP.shelved(9000).unshelved(), State.UNACKNOWLEDGED),
        (UP.shelved(9000).down(2000).unshelved(), State.NORMAL),
        (UP.down(2000).shelved(9000).unshelved(), State.NORMAL),
        (FRESH.shelved(9000).up(2000), State.SHELVED),
        (FRESH.shelved(9000).up(2000).unshelved(), State.UNACKNOWLEDGED),
        (UP.explained(suppressed=True), State.SUPPRESSED),
        (UP.explained(suppressed=True).explained(suppressed=False), State.UNACKNOWLEDGED),
        (UP.seen(2000, "ana").explained(suppressed=True).explained(suppressed=False), State.UNACKNOWLEDGED),
        (UP.explained(suppressed=True).down(2000).explained(suppressed=False), State.NORMAL),
        (UP.shelved(9000).explained(suppressed=True), State.SUPPRESSED),
    ],
)
def test_where_each_change_leads(alarm: Alarm, state: State) -> None:
    assert alarm.state is state
    assert alarm.over is (state is State.NORMAL)


def test_it_counts_how_often_it_was_raised_since_it_was_over() -> None:
    again = UP.down(2000).up(3000)
    assert again.count == 2
    assert again.down(4000).seen(5000, "ana").up(6000).count == 1


def test_priorities_are_in_order() -> None:
    assert [each.rank for each in Priority] == [1, 2, 3, 4]
    assert Priority.CRITICAL.at_least(Priority.HIGH)
    assert not Priority.LOW.at_least(Priority.MEDIUM)


@pytest.mark.parametrize(
    "alarm", [UP, UP.down(2).seen(3, "ana"), UP.shelved(9), UP.explained(suppressed=True)]
)
def test_json_and_back(alarm: Alarm) -> None:
    back = from_json(alarm.as_json(), unseen=alarm.unseen, suppressed=alarm.suppressed)
    assert back == alarm


def test_no_value_is_null() -> None:
    said = FRESH.up(1000).as_json()
    assert said["value"] is None
    assert math.isnan(from_json(said, unseen=True, suppressed=False).value)
