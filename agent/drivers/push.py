"""Driver `push`: devices that are not read, but told of: weather, prices, occupancy, another system's meters.

Rules. What is handed in is a reading like any other: dated, kept, forwarded, "not available" when nothing
comes for `silence_s`. A batch is taken whole or not at all. Whoever hands in gives the time, or none, which
means now; a time ahead of us, or further back than `age_s_max`, is refused. While the box's own clock is not
right, nothing can be said of anybody's time: only readings without one are taken.
"""

from __future__ import annotations

import asyncio
import difflib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from agent.drivers.listening import Gone, Listening, Publish, Speaker
from agent.drivers.profile import POINTS_PER_GROUP_MAX, DeviceOptions, PointOptions, Said, Sources
from agent.model import NAN, Point, Quality, Reading
from agent.schema import Name, Options

AHEAD_S_MAX = 5.0
MINUTE_S = 60.0


class PushGroup(Options):
    name: Name
    point: Annotated[list[PointOptions], Field(min_length=1, max_length=POINTS_PER_GROUP_MAX)]


class PushProfile(Options):
    """What such a device tells. Points that come together are a group."""

    driver: Literal["push"]
    title: Said
    source: Sources
    group: Annotated[list[PushGroup], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> PushProfile:
        groups = [group.name for group in self.group]
        points = [point.name for group in self.group for point in group.point]
        for noun, names in (("group", groups), ("point", points)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"expected each {noun} once, found twice: {', '.join(twice)}")
        return self


class PushDeviceOptions(DeviceOptions):
    """A device that is told of. `silence_s`: nothing for so long, and it is not available."""

    silence_s: Annotated[float, Field(ge=5, le=30 * 86400)] = 3600.0


class PushOptions(Options):
    """Devices that others hand readings in for, with the permission `push`."""

    driver: Literal["push"]
    name: Name
    age_s_max: Annotated[float, Field(ge=1, le=366 * 86400)] = 7 * 86400.0
    readings_per_min_max: Annotated[int, Field(ge=1, le=1_000_000)] = 6000
    device: Annotated[list[PushDeviceOptions], Field(min_length=1, max_length=1000)]


class Sample(NamedTuple):
    """Some values of a device by point (None: not available), at one instant (None: now)."""

    time_ms: int | None
    values: Mapping[str, float | None]
    quality: Quality = Quality.GOOD


class NotTaken(Exception):  # noqa: N818 - says why
    """Nothing was taken. `code` says why, the text where, what was expected and what was found."""

    def __init__(self, code: str, text: str, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.code, self.wait_s = code, wait_s


class _Told(Speaker):
    """One device; what is known of its points."""

    def __init__(self, options: PushDeviceOptions, profile: PushProfile) -> None:
        super().__init__(options, profile.group, options.silence_s)
        self.points = {point.name: point for group in self.groups for point in group.points}


class PushLine(Listening):
    """Driver `push`; `take` works while it runs."""

    def __init__(
        self,
        options: PushOptions,
        profiles: Mapping[str, PushProfile],
        *,
        now_s: Callable[[], float] = time.time,
        certain: Callable[[], bool] = lambda: True,
        monotonic_s: Callable[[], float] = time.monotonic,
        tick_s: float = 1.0,
    ) -> None:
        self._told = {each.name: _Told(each, profiles[each.profile]) for each in options.device}
        devices, clocks = list(self._told.values()), {"now_s": now_s, "monotonic_s": monotonic_s}
        super().__init__(options.name, "push", devices, **clocks, tick_s=tick_s)
        self._options, self._certain = options, certain
        self._publish: Publish | None = None
        self._minute_s, self._in_minute = -math.inf, 0

    @asynccontextmanager
    async def _opened(self, publish: Publish) -> AsyncIterator[Gone]:
        """What was handed in stays true when the line is left."""
        self._publish = publish
        try:
            yield asyncio.get_running_loop().create_future()
        finally:
            self._publish = None

    def take(self, device: str, samples: Sequence[Sample]) -> int:
        """Publish what is told of `device`; how many readings it was. NotTaken: nothing was."""
        told = self._told[device]
        try:
            readings = [
                each for at, sample in enumerate(samples) for each in self._readings(told, at, sample)
            ]
            self._allow(len(readings))
        except NotTaken as refusal:
            for counters in (self.counters, told.counters):
                counters[refusal.code] += 1
            raise
        if self._publish is None:
            raise NotTaken("not_available", f"line {self.name} is not running now: try again", wait_s=1.0)
        for reading in readings:
            told.voices[told.groups.index(reading.group)].heard(self._monotonic_s())
        self._publish(sorted(readings, key=lambda reading: reading.time_ms))
        for counters in (self.counters, told.counters):
            counters["readings"] += len(readings)
        return len(readings)

    # ---------------------------------------------------------------- one sample

    def _readings(self, told: _Told, at: int, sample: Sample) -> Iterator[Reading]:
        """A reading of each group that `sample` tells of."""
        place = f"readings[{at}]"
        if not sample.values:
            raise NotTaken("invalid_readings", f"{place}.values: expected at least one value, found none")
        for name, value in sample.values.items():
            if text := _fault(told.points, name, value):
                raise NotTaken("invalid_readings", f"{place}.values.{name[:64]}: {text}")
        time_ms = self._time_ms(sample.time_ms, f"{place}.time")
        for group in told.groups:
            if any(point.name in sample.values for point in group.points):
                values = [_float(sample.values.get(point.name)) for point in group.points]
                known = not all(map(math.isnan, values))
                yield Reading(group, time_ms, values, sample.quality if known else Quality.BAD)

    def _time_ms(self, time_ms: int | None, place: str) -> int:
        now_ms = self._now_ms()
        if time_ms is None:
            return now_ms
        if not self._certain():
            text = "expected no time: the clock of this box is not right yet, it cannot judge one"
            raise NotTaken("clock_untrusted", f"{place}: {text}", wait_s=30.0)
        ahead_s = (time_ms - now_ms) / 1000
        if ahead_s > AHEAD_S_MAX or -ahead_s > self._options.age_s_max:
            found = f"{abs(ahead_s):.0f} s {'ahead' if ahead_s > 0 else 'back'}"
            text = f"expected at most {AHEAD_S_MAX:g} s ahead and {self._options.age_s_max:g} s back"
            raise NotTaken("invalid_readings", f"{place}: {text} of this box's clock, found {found}")
        return time_ms

    def _allow(self, readings: int) -> None:
        now_s, most = self._monotonic_s(), self._options.readings_per_min_max
        if now_s - self._minute_s >= MINUTE_S:
            self._minute_s, self._in_minute = now_s, 0
        if self._in_minute + readings > most:
            text = f"expected at most {most} readings a minute on line {self.name}: try again later"
            raise NotTaken("too_many", text, wait_s=self._minute_s + MINUTE_S - now_s)
        self._in_minute += readings


def _fault(points: Mapping[str, Point], name: str, value: float | None) -> str:
    """What is wrong with a value, "" if nothing."""
    point = points.get(name)
    if point is None:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f", did you mean '{near[0]}'?" if near else f"; known points: {', '.join(points)}"
        return f"expected a point of the device's profile{hint}"
    if value is None:
        return ""
    if not math.isfinite(value):
        return f"expected a finite number or null, found {value}"
    if point.states and value not in point.states:
        known = ", ".join(f"{code} {word}" for code, word in point.states.items())
        return f"expected one of {known}, found {value:g}"
    return ""


def _float(value: float | None) -> float:
    return NAN if value is None else float(value)
