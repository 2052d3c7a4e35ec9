"""The agent's side: starts the child, publishes what it says. No numpy here."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent.analysis.site.meters import group_plan, meters
from agent.analysis.site.options import LEARN, RUN, AnalysisOptions, MeterOptions, built_in_jobs
from agent.analysis.site.plan import Plan
from agent.analysis.site.points import DEVICE, published
from agent.hub import Hub, Listener
from agent.model import NAN, Group, Reading
from agent.schedule import Alert, Job, Outcome, Result, Turn, Work, frames
from agent.schedule.child import Limits, Process, Stopped, run_child
from agent.schedule.options import When

BOOK_FILE = "analysis.db"  # as in `book`, which knows numpy
ARGV = (sys.executable, "-P", "-m", "agent.analysis.site.child")
SAID_MAX = 100_000  # frames in one run
LEARN_S_MAX = 3600.0
OWN = ("agent", "analysis", "control", "job")
Text = Annotated[str, Field(max_length=4000)]


class Doors(NamedTuple):
    """The parts of the agent that the analyses reach. `certain`: whether the clock is right."""

    hub: Hub
    publish: Listener
    alarm: Callable[[Alert], None]
    now_s: Callable[[], float]
    certain: Callable[[], bool]


class Place(NamedTuple):
    """Where the files are, and the site's clock."""

    store: Path
    data_dir: Path
    zone: str
    tariff_dirs: Sequence[Path] = ()


class _Said(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Values(_Said):
    say: Literal["values"]
    group: Text
    time_ms: int
    values: dict[str, float | None]


class _Alert(_Said):
    say: Literal["alert"]
    id: Annotated[str, Field(max_length=160)]
    raised: bool
    text_pt: Text
    text_en: Text
    detail: Text
    value: float | None


class _Progress(_Said):
    say: Literal["progress"]
    share: float
    text: Text


class _Done(_Said):
    say: Literal["done"]
    how: Literal["well", "failed", "out of memory"]
    text: Text


_SAID: TypeAdapter[_Values | _Alert | _Progress | _Done] = TypeAdapter(
    Annotated[_Values | _Alert | _Progress | _Done, Field(discriminator="say")]
)


class Analyses:
    """The built-in analyses of a site, as jobs. `main` is the device whose bill the site's tariff is."""

    def __init__(
        self,
        options: AnalysisOptions,
        said: Iterable[MeterOptions],
        doors: Doors,
        place: Place,
        *,
        tariff: str = "",
        main: str = "",
        outdoor: str = "",
    ) -> None:
        self._options, self._doors, self._place = options, doors, place
        self._said = {each.name: each for each in said}
        self._tariff, self._main = tariff, main
        self._outdoor = options.outdoor_point or outdoor
        self._groups: dict[str, Group] = {}

    @property
    def jobs(self) -> list[Job]:
        """One that looks at what is new, one that learns."""
        from zoneinfo import ZoneInfo  # noqa: PLC0415

        zone = ZoneInfo(self._place.zone)
        return [
            Job(name, self._work(name, when), when.schedule(zone), when.words, when.missed)
            for name, when in built_in_jobs(self._options).items()
        ]

    def plan(self) -> Plan:
        """What there is now: lines and devices may change while we run."""
        groups = [group for group in self._doors.hub.groups if group.device.name not in OWN]
        return Plan(
            store=str(self._place.store),
            book=str(self._place.data_dir / BOOK_FILE),
            zone=self._place.zone,
            tariff_dirs=[str(each) for each in self._place.tariff_dirs],
            backfill_days=self._options.backfill_days,
            keep_days=self._options.keep_days,
            anomalies=self._options.anomalies,
            outdoor=self._outdoor,
            groups=[group_plan(group) for group in groups],
            meters=meters(groups, self._said, self._tariff, self._main),
        )

    def declare(self, plan: Plan) -> None:
        """Make what `plan` publishes known; a group that is as it was stays the same."""
        wanted = published(plan)
        for name, group in list(self._groups.items()):
            if name not in wanted or wanted[name].points != group.points:
                self._doors.hub.forget(self._groups.pop(name))
        for name, group in wanted.items():
            if name not in self._groups:
                self._groups[name] = group
                self._doors.hub.declare(group)

    def _work(self, name: str, when: When) -> Work:
        time_s = max(when.time_s_max, LEARN_S_MAX) if name == LEARN else when.time_s_max
        limits = Limits(time_s, when.memory_mb_max)

        async def work(turn: Turn) -> Outcome:
            if not self._doors.certain():
                return Outcome(Result.FAILED, "the clock is not trusted: nothing is analysed until it is")
            plan = self.plan()
            self.declare(plan)
            if not plan.groups:
                return Outcome(Result.WELL, "there are no devices")
            return await run_child(
                ARGV, limits, lambda child: self._converse(child, turn, name, plan, limits)
            )

        return work

    async def _converse(self, child: Process, turn: Turn, name: str, plan: Plan, limits: Limits) -> Outcome:
        assert child.stdin  # noqa: S101 - it was asked for
        assert child.stdout  # noqa: S101
        start = {
            "task": "analyse" if name == RUN else "learn",
            "due_ms": turn.due_ms,
            "now_ms": round(self._doors.now_s() * 1000),
            "memory_mb": limits.memory_mb,
            "cpu_s": math.ceil(limits.time_s) + 1,
            "parent": os.getpid(),
        }
        child.stdin.write(frames.packed(start, plan.model_dump_json().encode()))
        await child.stdin.drain()
        for _ in range(SAID_MAX):
            try:
                said = _SAID.validate_json(await frames.receive(child.stdout))
            except (frames.BadFrame, ValidationError) as error:
                raise Stopped(Result.FAILED, f"it said something that it may not: {error}") from None
            if isinstance(said, _Done):
                return Outcome(Result(said.how), said.text)
            self._hear(said, turn)
            await asyncio.sleep(0)
        raise Stopped(Result.FLOODED, f"it said more than {SAID_MAX} things in one run")

    def _hear(self, said: _Values | _Alert | _Progress, turn: Turn) -> None:
        if isinstance(said, _Progress):
            turn.progress(said.share, said.text)
        elif isinstance(said, _Alert):
            value = NAN if said.value is None else said.value
            texts = (said.text_pt, said.text_en, said.detail)
            self._doors.alarm(Alert(said.id, said.raised, *texts, value, source=f"job.{RUN}"))
        elif (group := self._groups.get(said.group)) is not None:
            row = [said.values.get(point.name) for point in group.points]
            values = [NAN if value is None else value for value in row]
            self._doors.publish([Reading(group, said.time_ms, values)])


__all__ = ["DEVICE", "Analyses", "Doors", "Place"]
