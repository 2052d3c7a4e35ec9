"""How fast an uplink may send, as a table of what happened."""

from __future__ import annotations

import math
from collections import deque

from agent.uplink.message import Message
from agent.uplink.pace import RECOVERY_S, VALUES_MAX, Pace


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def messages(count: int, values: int) -> deque[Message]:
    return deque(Message("t", b"", "d", values) for _ in range(count))


def test_a_refusal_teaches_messages_and_values() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    assert len(pace.take(messages(10, 100))) == 10
    assert pace.values_max == VALUES_MAX
    pace.refused()
    assert (pace.learned_per_s, pace.values_max) == (5.0, 500)
    clock.now_s += 1
    assert len(pace.take(messages(10, 50))) == 5  # messages are what is short
    clock.now_s += 10
    assert len(pace.take(messages(4, 240))) == 2  # values are


def test_what_is_refused_again_is_halved_to_a_single_value() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    pace.take(messages(1, 100))
    sizes = []
    for _ in range(10):
        pace.refused()
        sizes.append(pace.values_max)
    assert sizes == [50, 25, 12, 6, 3, 1, 1, 1, 1, 1]
    assert pace.learned_per_s == 0.5


def test_time_without_a_refusal_gives_it_back() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    pace.take(messages(10, 100))
    pace.refused()
    for _ in range(3):
        clock.now_s += RECOVERY_S + 1
        pace.take(messages(1, 1))
    assert (pace.learned_per_s, pace.values_max) == (math.inf, VALUES_MAX)
