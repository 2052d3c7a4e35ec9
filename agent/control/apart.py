"""HiGHS in a process of its own, for the seconds in which plans are made: 20 MB that nobody carries.

Rules.
1. The child gets one problem after the other on its standard input and answers each on its output, as
   pickles: it is our own child, nobody else writes there. It ends when its input does, so never outlives us.
2. A child that cannot be started, dies or says nothing is a solver that is late: None, a new one next time.
3. The same numbers as in one's own process: a history made here can be replayed there.
"""

from __future__ import annotations

import logging
import pickle
import select
import subprocess
import sys
from typing import IO

from agent.control.linear import LIMIT_S, solver
from agent.control.plan import Plan, Problem

log = logging.getLogger(__name__)

PROGRAM = "agent.control.apart"
START_S = 20.0  # Python and numpy, on a slow box at a bad time


class Apart:
    """A `Solve`; `rest` after a cycle ends the child. One caller at a time."""

    def __init__(self, limit_s: float = LIMIT_S, start_s: float = START_S, program: str = PROGRAM) -> None:
        self._limit_s, self._wait_s, self._program = limit_s, limit_s + start_s, program
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, problem: Problem) -> Plan | None:
        try:
            return self._asked(problem)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            log.warning("control: planning apart failed: %r", error)
            self.rest()
            return None

    def rest(self) -> None:
        """End the child, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def _asked(self, problem: Problem) -> Plan | None:
        if self._child is None:
            self._child = subprocess.Popen(  # noqa: S603 - our own program
                (sys.executable, "-m", self._program, str(self._limit_s)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        to, answers = self._child.stdin, self._child.stdout
        if to is None or answers is None:
            raise OSError("no pipes")
        to.write(pickle.dumps(problem))
        if not select.select([answers], [], [], self._wait_s)[0]:
            raise TimeoutError(f"no answer in {self._wait_s:.0f} s")
        plan = pickle.load(answers)  # noqa: S301 - from our own child
        return plan if isinstance(plan, Plan) else None


def main(problems: IO[bytes], plans: IO[bytes], limit_s: float) -> None:
    """As a program: a plan for each problem, until there are no more."""
    solve = solver(limit_s)
    while True:
        try:
            problem = pickle.load(problems)  # noqa: S301 - from our own parent
        except EOFError:
            return
        pickle.dump(solve(problem), plans)
        plans.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))
