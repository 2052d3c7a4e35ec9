"""The solver under a limit that holds whatever it does, and what is needed to do the same again.

Rules: one solver at a time in a thread of its own; one that hangs is left behind, and until it ends nothing
new is asked of it (None at once: late). `outcomes` says of each call whether it was in time, for the
record.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable

from agent.control.plan import Plan, Problem, Solve

LIMIT_S = 8.0


class Timed:
    """A `Solve`. Call it from one thread; `reset` before each cycle."""

    def __init__(self, solve: Solve, limit_s: float = LIMIT_S) -> None:
        self._solve, self._limit_s = solve, limit_s
        self._thread: threading.Thread | None = None
        self.outcomes: list[bool] = []

    def reset(self) -> None:
        self.outcomes = []

    def __call__(self, problem: Problem) -> Plan | None:
        plan = self._in_time(problem)
        self.outcomes.append(plan is not None)
        return plan

    def _in_time(self, problem: Problem) -> Plan | None:
        if self._thread is not None and self._thread.is_alive():
            return None
        answers: queue.SimpleQueue[Plan | BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put(self._solve(problem))
            except BaseException as error:
                answers.put(error)

        # A daemon: one that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=work, name="control solver", daemon=True)
        self._thread.start()
        try:
            answer = answers.get(timeout=self._limit_s)
        except queue.Empty:
            return None
        self._thread.join(self._limit_s)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Again:
    """A `Solve` that is late where it was late before."""

    def __init__(self, solve: Solve) -> None:
        self._solve = solve
        self._outcomes: list[bool] = []

    def expect(self, outcomes: Iterable[bool]) -> None:
        """What became of the next calls."""
        self._outcomes = list(outcomes)

    def __call__(self, problem: Problem) -> Plan | None:
        in_time = self._outcomes.pop(0) if self._outcomes else True
        return self._solve(problem) if in_time else None
