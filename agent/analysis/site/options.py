"""What `[analysis]` and `[[meter]]` may say, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Annotated, Literal

from pydantic import Field

from agent.schedule.options import When
from agent.schedule.when import Every, Schedule
from agent.schema import Name, Options

RUN, LEARN = "analysis", "analysis-learn"  # the names of the jobs
SETTLE_S = 20.0  # after the interval has ended: its last readings are on disk by then

PointName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
PointId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.[a-z][a-z0-9_]*$", max_length=200)]
Names = Annotated[list[PointName], Field(max_length=3)]


class AnalysisOptions(Options):
    """`[analysis]`: when it runs, what it may use and how long it keeps what it made."""

    every_s: Annotated[float, Field(ge=600, le=86400, multiple_of=600)] = 600.0
    enabled: bool = True
    learn_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "03:10"
    missed: Literal["once", "all", "skip"] = "once"
    backfill_days: Annotated[int, Field(ge=0, le=400)] = 35
    keep_days: Annotated[int, Field(ge=15, le=400)] = 70
    anomalies: bool = True
    outdoor_point: PointId | None = None
    time_s_max: Annotated[float, Field(ge=10, le=6 * 3600)] = 480.0
    memory_mb_max: Annotated[int, Field(ge=32, le=4096)] = 128


class MeterOptions(Options):
    """`[[meter]]`: what the points of the device `name` do not say. Lists are in the order of the phases;
    left out: as the points are named (`voltage_l1`, `active_power`, ...)."""

    name: Name
    skip: bool = False
    nominal_v: Annotated[float, Field(ge=50, le=69_000)] | None = None
    between: Literal["phase_neutral", "phase_phase"] | None = None
    tariff: Annotated[str, Field(max_length=64)] | None = None
    same_as: Name | None = None
    voltage: Names | None = None
    line_voltage: Names | None = None
    power: Names | None = None
    reactive: Names | None = None
    frequency: PointName | None = None
    energy: PointName | None = None


class _Settled(When):
    """A little after each interval."""

    def schedule(self, zone: tzinfo) -> Schedule | None:
        return Every(self.every_s, SETTLE_S) if self.every_s else None


def built_in_jobs(options: AnalysisOptions) -> dict[str, When]:
    """When the analyses run, by the names of their jobs."""
    if not options.enabled:
        return {}
    time_s, memory_mb = options.time_s_max, options.memory_mb_max
    hour, minute = map(int, options.learn_at.split(":"))
    return {
        RUN: _Settled(
            every_s=options.every_s, missed=options.missed, time_s_max=time_s, memory_mb_max=memory_mb
        ),
        LEARN: When(cron=f"{minute} {hour} * * *", time_s_max=time_s, memory_mb_max=memory_mb),
    }


def analysis_faults(
    options: AnalysisOptions, meters: Sequence[MeterOptions], points: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, str]]:
    """What is wrong beside the points of each device, as key path and text."""
    seen: dict[str, int] = {}
    for at, meter in enumerate(meters):
        path = f"meter[{at}]"
        if meter.name in seen:
            yield (
                f"{path}.name",
                f"expected each meter once, {meter.name!r} is also meter[{seen[meter.name]}]",
            )
        seen.setdefault(meter.name, at)
        if meter.name not in points:
            yield (
                f"{path}.name",
                f"expected a device of this file ({_some(points)}), found {meter.name!r}",
            )
            continue
        if meter.same_as is not None and (meter.same_as not in points or meter.same_as == meter.name):
            yield (
                f"{path}.same_as",
                f"expected another device of this file ({_some(points)}), found {meter.same_as!r}",
            )
        for key in ("voltage", "line_voltage", "power", "reactive", "frequency", "energy"):
            given = getattr(meter, key) or ()
            for name in (given,) if isinstance(given, str) else given:
                if name not in points[meter.name]:
                    known = _some(points[meter.name])
                    yield f"{path}.{key}", f"expected a point of {meter.name} ({known}), found {name!r}"
    if (point := options.outdoor_point) is not None:
        device, _, name = point.partition(".")
        if name not in points.get(device, ()):
            yield "analysis.outdoor_point", f"expected a point of a device of this file, found {point!r}"


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:12]) or "there are none"
