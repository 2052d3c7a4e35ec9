"""Is a freshly started agent well, and does it stay so? Decided from what is seen once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from agent.deploy.host import UnitState

STEP_S = 1.0
START_S_MAX = 150.0  # the unit's own TimeoutStartSec, and some
FALLS_MAX = 3
SICK_S_MAX = 15.0


class Seen(NamedTuple):
    """One look: what systemd says, and what the agent says about itself ("": well)."""

    unit: UnitState
    complaint: str


def watch(
    look: Callable[[], Seen],
    well_s: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """ "" once the agent was well for `well_s` without a break, or why it is given up."""
    began_s = monotonic()
    verdict = Verdict(look().unit.restarts, began_s, well_s)
    while True:
        said = verdict.after(look(), monotonic())
        if said is not None:
            return said
        sleep(STEP_S)


class Verdict:
    """What the looks so far add up to."""

    def __init__(self, restarts: int, began_s: float, well_s: float) -> None:
        self._restarts, self._began_s, self._well_s = restarts, began_s, well_s
        self._well_from_s: float | None = None
        self._sick_from_s: float | None = None

    def after(self, seen: Seen, now_s: float) -> str | None:
        """None: go on looking."""
        falls = seen.unit.restarts - self._restarts
        if seen.unit.active == "failed" or falls >= FALLS_MAX:
            return f"it does not stay up ({falls} restarts)"
        if seen.unit.active == "active" and not seen.complaint:
            return self._well(now_s)
        if self._well_from_s is not None and seen.unit.active != "active":
            return "it fell after it had started"
        return self._sick(seen, now_s)

    def _well(self, now_s: float) -> str | None:
        self._sick_from_s = None
        self._well_from_s = now_s if self._well_from_s is None else self._well_from_s
        return "" if now_s - self._well_from_s >= self._well_s else None

    def _sick(self, seen: Seen, now_s: float) -> str | None:
        if self._well_from_s is None:
            why = seen.complaint or f"systemd says {seen.unit.active}"
            return f"not up after {START_S_MAX:.0f} s: {why}" if now_s - self._began_s > START_S_MAX else None
        self._sick_from_s = now_s if self._sick_from_s is None else self._sick_from_s
        return f"not well: {seen.complaint}" if now_s - self._sick_from_s > SICK_S_MAX else None
