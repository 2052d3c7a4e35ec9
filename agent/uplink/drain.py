"""How quickly a backlog shrinks, and how long that will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

SPAN_S = 30.0
MARKS_MAX = 1000


class Drain:
    """Counts what went over the last SPAN_S."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque(maxlen=MARKS_MAX)
        self._began_s = clock()

    def begin(self) -> None:
        """A new link: what was before says nothing about it."""
        self._marks.clear()
        self._began_s = self._clock()

    def count(self, readings: int) -> None:
        """So many of the backlog were delivered."""
        self._marks.append((self._clock(), readings))

    @property
    def per_s(self) -> float:
        """Readings a second; 0 if none went lately."""
        now_s = self._clock()
        recent = [(at_s, count) for at_s, count in self._marks if at_s > now_s - SPAN_S]
        if not recent:
            return 0.0
        whole = len(recent) < len(self._marks) or len(self._marks) == MARKS_MAX
        since_s = recent[0][0] if whole else self._began_s
        return sum(count for _, count in recent) / max(now_s - since_s, 0.5)

    def eta_s(self, backlog: int) -> float | None:
        """Seconds until `backlog` readings are gone at this rate; None if nobody can know."""
        if not backlog:
            return 0.0
        return round(backlog / self.per_s, 1) if self.per_s else None
