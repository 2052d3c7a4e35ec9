"""What needs numpy, done aside: in one child for the cycle that needs it, and most cycles need none.

Rules.
1. The child ends with the cycle (`rest`): what it loads is in memory for a second.
2. A child that cannot be started, dies or is late is not asked again in this cycle. Plans are done without:
   those of before are a day long. Without an almanac nobody knows who is in: it is then made here, at the
   price of the memory.
3. What a plan raises costs that plan: the child goes on, what was learned and tuned stays, and so does the
   plan of before.
4. The same numbers as at home: a history made here can be replayed there.

Calls block; one caller at a time.
"""

from __future__ import annotations

import logging
from typing import Any

from agent.apart import Apart
from agent.control.planner import Day, Planned
from agent.control.site.outlooks import Almanac, Terms
from agent.supervise import Episode

log = logging.getLogger(__name__)

LIMIT_S = 10.0
"""For one answer: twice what the solver may take."""
PLANNED, ALMANAC = "agent.control.outline:planned", "agent.control.site.almanac:almanac"


class Aside:
    """`plan` and `almanac` in a child; `rest` after the cycle."""

    def __init__(self, apart: Apart | None = None) -> None:
        self._apart = apart or Apart(LIMIT_S)
        self._failed = False
        self._episode = Episode(log, "control: planning in a process of its own")
        self._wrong = Episode(log, "control: a plan")

    def plan(self, day: Day) -> Planned | None:
        """A `Planner`; None: no child that answers, or no plan from it."""
        try:
            planned: Planned | None = None if self._failed else self._asked(PLANNED, day)
        except Exception as error:  # a bug, or numbers that nobody foresaw
            self._wrong.failed(f"{day.room.id}: {error!r}")
            return None
        if planned is not None:
            self._wrong.ended()
        return planned

    def almanac(self, terms: Terms, first: int) -> Almanac:
        """What `almanac.almanac` says."""
        found: Almanac | None = None if self._failed else self._asked(ALMANAC, terms, first)
        if found is None:
            from agent.control.site.almanac import almanac  # noqa: PLC0415 - see rule 2

            found = almanac(terms, first)
        return found

    def _asked(self, function: str, *given: object) -> Any:
        try:
            answer = self._apart(function, *given)
        except (OSError, MemoryError) as error:
            self._failed = True
            self._episode.failed(error)
            return None
        self._episode.ended()
        return answer

    def rest(self) -> None:
        """End the child, if there is one; the next cycle tries again."""
        self._failed = False
        self._apart.rest()
