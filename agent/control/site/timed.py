"""The planner under a limit that holds whatever it does, and what is needed to do the same again.

Rules: one plan at a time in a thread of its own; one that hangs is left behind, and until it ends nothing
new is asked (None at once). `outcomes` says what came of each question, for the record.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from enum import IntEnum

from agent.control.planner import Day, Planned, Planner

LIMIT_S = 8.0


class Outcome(IntEnum):
    """What came of a question."""

    NOTHING = -1
    LATE = 0
    IN_TIME = 1


class Timed:
    """A `Planner`. Call it from one thread; `reset` before each cycle."""

    def __init__(self, planner: Planner, limit_s: float = LIMIT_S) -> None:
        self._planner, self._limit_s = planner, limit_s
        self._thread: threading.Thread | None = None
        self.outcomes: list[Outcome] = []

    def reset(self) -> None:
        self.outcomes = []

    def __call__(self, day: Day) -> Planned | None:
        planned = self._in_time(day)
        self.outcomes.append(_outcome(planned))
        return planned

    def _in_time(self, day: Day) -> Planned | None:
        if self._thread is not None and self._thread.is_alive():
            return None
        answers: queue.SimpleQueue[Planned | BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put(self._planner(day))
            except BaseException as error:
                answers.put(error)

        # A daemon: one that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=work, name="control planner", daemon=True)
        self._thread.start()
        try:
            answer = answers.get(timeout=self._limit_s)
        except queue.Empty:
            return None
        self._thread.join(self._limit_s)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _outcome(planned: Planned | None) -> Outcome:
    if planned is None:
        return Outcome.NOTHING
    return Outcome.LATE if planned.late else Outcome.IN_TIME


class Again:
    """A `Planner` that fares as one did before: `planner`, or `late` where the solver was, or nothing."""

    def __init__(self, planner: Planner, late: Planner) -> None:
        self._planner, self._late = planner, late
        self._outcomes: list[int] = []

    def expect(self, outcomes: Iterable[int]) -> None:
        """What became of the next questions."""
        self._outcomes = list(outcomes)

    def __call__(self, day: Day) -> Planned | None:
        outcome = self._outcomes.pop(0) if self._outcomes else Outcome.IN_TIME
        if outcome == Outcome.NOTHING:
            return None
        return self._late(day) if outcome == Outcome.LATE else self._planner(day)
