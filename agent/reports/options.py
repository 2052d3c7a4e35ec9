"""What can be chosen about reports: `[reports]`. Light: the agent's own process reads it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Annotated, Literal

from pydantic import Field

from agent.schedule.options import When, when_faults
from agent.schema import Name, Options

Language = Literal["pt-BR", "en"]
LANGUAGES: tuple[Language, ...] = ("pt-BR", "en")
Kind = Literal["power-quality", "energy", "commissioning"]
KINDS: tuple[Kind, ...] = ("power-quality", "energy", "commissioning")

Cron = Annotated[str, Field(max_length=200)]


class ReportsOptions(Options):
    """`[reports]`. A cron of "" makes none by itself; no `meters`: all of them."""

    power_quality_cron: Cron = "20 1 * * tue"
    energy_cron: Cron = "40 1 2 * *"
    languages: Annotated[list[Language], Field(min_length=1, max_length=2)] = Field(
        default_factory=lambda: list(LANGUAGES[:1])
    )
    meters: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=list)
    count_max: Annotated[int, Field(ge=2, le=10_000)] = 400
    size_max_mb: Annotated[int, Field(ge=4, le=10_000)] = 200
    time_s_max: Annotated[float, Field(ge=10, le=6 * 3600)] = 1800.0
    memory_mb_max: Annotated[int, Field(ge=64, le=4096)] = 256

    @property
    def jobs(self) -> dict[str, When]:
        """The jobs that make them, by name, with when that is; those that are off are left out."""
        crons = {"report-power-quality": self.power_quality_cron, "report-energy": self.energy_cron}
        return {
            name: When(cron=cron, time_s_max=self.time_s_max, memory_mb_max=self.memory_mb_max)
            for name, cron in crons.items()
            if cron
        }


def report_faults(options: ReportsOptions, zone: tzinfo) -> Iterator[tuple[str, str]]:
    """What is wrong with the times, as key path and text."""
    for name, when in options.jobs.items():
        key = name.removeprefix("report-").replace("-", "_")
        yield from ((f"reports.{key}_cron", text) for _, text in when_faults(when, zone))
