"""What `[[job]]` may say, and the part of it that `[[plugin]]` shares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Annotated

from pydantic import Field

from agent.schedule.when import Cron, Every, Missed, Once, Schedule
from agent.schema import Name, Options

# Of the agent's own commands: those that look at, keep or send what is there. Nothing that asks back, nothing
# that puts another file in the place of the readings.
COMMANDS = ("backup", "report", "thingsboard", "control", "tariff")
NAME_CHARS_MAX = 40  # it is a part of the names of points, which have 64


class When(Options):
    """When it runs (one of the first three, or none: only when told to) and what it may use."""

    every_s: Annotated[float, Field(ge=10, le=7 * 86400)] | None = None
    cron: Annotated[str, Field(max_length=200)] | None = None
    at: datetime | None = None
    missed: Missed = "once"
    time_s_max: Annotated[float, Field(ge=1, le=6 * 3600)] = 60.0
    memory_mb_max: Annotated[int, Field(ge=16, le=4096)] = 128

    def schedule(self, zone: tzinfo) -> Schedule | None:
        """As a schedule; ValueError says what is wrong with it."""
        if self.every_s is not None:
            return Every(self.every_s)
        if self.cron is not None:
            return Cron(self.cron, zone)
        return None if self.at is None else Once(self.at, zone)

    @property
    def words(self) -> str:
        """For people, and to see whether it was changed."""
        if self.every_s is not None:
            return f"every {self.every_s:g} s"
        if self.cron is not None:
            return f"cron {self.cron}"
        return "by hand" if self.at is None else f"at {self.at.isoformat()}"


class JobOptions(When):
    """`[[job]]`: a command of `uicps-agent`, run in a process of its own."""

    name: Annotated[Name, Field(max_length=NAME_CHARS_MAX)]
    command: Annotated[list[str], Field(min_length=1, max_length=64)]
    time_s_max: Annotated[float, Field(ge=1, le=6 * 3600)] = 600.0
    memory_mb_max: Annotated[int, Field(ge=16, le=4096)] = 256


def when_faults(when: When, zone: tzinfo) -> Iterator[tuple[str, str]]:
    """What is wrong with the time of a job, as key and text."""
    given = [key for key in ("every_s", "cron", "at") if getattr(when, key) is not None]
    if len(given) > 1:
        yield given[1], f"expected one of every_s, cron and at, found {' and '.join(given)}"
        return
    try:
        schedule = when.schedule(zone)
    except ValueError as error:
        yield "cron", str(error)
        return
    if isinstance(schedule, Cron) and schedule.after(0) is None:
        yield "cron", f"expected a day that comes, found {when.cron!r}"


def job_faults(jobs: Sequence[JobOptions], zone: tzinfo) -> Iterator[tuple[str, str]]:
    """What is wrong with `[[job]]`s, as key path and text."""
    for at, job in enumerate(jobs):
        yield from ((f"job[{at}].{key}", text) for key, text in when_faults(job, zone))
        if job.command[0] not in COMMANDS:
            text = f"expected one of {', '.join(COMMANDS)} first, found {job.command[0]!r}"
            yield f"job[{at}].command", text


def slug(name: str) -> str:
    """A job's name as a part of a point's."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
