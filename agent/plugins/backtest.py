"""A plug-in on stored history: what it would have published, raised and commanded, and nothing of it done.

At every instant it sees what was stored before that instant, and no more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from typing import NamedTuple

from agent.model import NAN
from agent.plugins.author import Refused, Seen
from agent.plugins.host import Program, many_runs
from agent.plugins.live import alarm_texts, check_published
from agent.plugins.outline import Outline
from agent.plugins.rows import Rows, rows
from agent.schedule.job import Outcome, Turn
from agent.store.onlooker import Onlooker
from agent.store.series import Columns, Steps

RUNS_MAX = 100_000
LATEST_MS = 3_600_000  # what is older is not the present


class Wish(NamedTuple):
    """One thing that the plug-in wanted: `kind` is publish, raise, clear or submit."""

    time_ms: int
    kind: str
    name: str
    value: float
    detail: str = ""


class Replayed(NamedTuple):
    """One run, and what it wanted."""

    time_ms: int
    outcome: Outcome
    wishes: Sequence[Wish]


class _PastSites:
    def __init__(self, history: Onlooker, found: Outline, may_write: Collection[str] | None) -> None:
        self.history, self.outline, self.may_write = history, found, may_write

    def at(self, time_ms: int) -> _PastSite:
        return _PastSite(self, time_ms)


class _PastSite:
    def __init__(self, sites: _PastSites, time_ms: int) -> None:
        self._sites, self._time_ms = sites, time_ms
        self.wishes: list[Wish] = []

    async def latest(self, point: str) -> Seen:
        """The newest value of the hour before."""
        self._check([point])
        found = Seen(NAN, 0, good=False)
        period_ms = (self._time_ms - LATEST_MS, self._time_ms)
        async for part in self._sites.history.columns([point], *period_ms):
            if int(part.time_ms[-1]) >= found.time_ms:
                found = Seen(float(part.values[-1, 0]), int(part.time_ms[-1]), int(part.quality[-1]) == 2)
        return found

    async def history(
        self, point: str, period_ms: tuple[int, int], step_ms: int
    ) -> AsyncGenerator[Rows, None]:
        async with aclosing(self._parts(point, period_ms, step_ms)) as parts:
            async for part in parts:
                for each in rows([part]):
                    yield each

    def _parts(
        self, point: str, period_ms: tuple[int, int], step_ms: int = 0
    ) -> AsyncGenerator[Columns, None] | AsyncGenerator[Steps, None]:
        """Nothing that the instant of the run could not know."""
        self._check([point])
        past, period_ms = self._sites.history, (period_ms[0], min(period_ms[1], self._time_ms))
        return past.downsample([point], *period_ms, step_ms) if step_ms else past.columns([point], *period_ms)

    def _check(self, points: Sequence[str]) -> None:
        unknown = [point for point in points if point not in self._sites.history.points]
        if unknown:
            raise Refused(f"{unknown[0]}: there is no such point in the readings")

    def publish(self, at_ms: int | None, values: dict[str, float]) -> None:
        check_published(self._sites.outline, values)
        time_ms = self._time_ms if at_ms is None else at_ms
        if time_ms > self._time_ms:
            raise Refused(f"publish: expected a time that is not in the future, found {time_ms}")
        self.wishes += [Wish(time_ms, "publish", name, value) for name, value in values.items()]

    def alarm(self, name: str, *, raised: bool, detail: str, value: float) -> None:
        alarm_texts(self._sites.outline, name)
        self.wishes.append(Wish(self._time_ms, "raise" if raised else "clear", name, value, detail))

    def submit(self, point: str, value: float, lease_s: float) -> None:
        allowed = self._sites.may_write
        if allowed is not None and point not in allowed:
            raise Refused(f"{point}: not among the points that it may write (may_write)")
        self.wishes.append(Wish(self._time_ms, "submit", point, value, f"for {lease_s:g} s"))


async def replay(
    program: Program,
    history: Onlooker,
    found: Outline,
    times_ms: Sequence[int],
    *,
    may_write: Collection[str] | None = None,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> AsyncGenerator[Replayed, None]:
    """Run it for each of `times_ms`; `may_write` None: it may write everything (nothing is written)."""
    sites = _PastSites(history, found, may_write)
    turns = [Turn(time_ms, progress) for time_ms in times_ms]
    async with aclosing(many_runs(program, sites, turns)) as done:
        async for time_ms, site, outcome in done:
            assert isinstance(site, _PastSite)  # noqa: S101 - it is one of ours
            yield Replayed(time_ms, outcome, site.wishes)
