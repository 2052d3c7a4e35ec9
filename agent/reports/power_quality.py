"""The power quality of a meter over a week or more: readings in, part by part; indices, events, gaps out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from agent.analysis.meters import Meter, Quantities
from agent.analysis.power_quality.events import Event, flagged
from agent.analysis.power_quality.frequency import Excursion, FrequencyWatch, excursions, watch_frequency
from agent.analysis.power_quality.harmonics import DistortionIndices, dtt95
from agent.analysis.power_quality.limits import Between, Limits, VoltageBand
from agent.analysis.power_quality.percentile import Exceeded
from agent.analysis.power_quality.power import PowerFactor, power_factor
from agent.analysis.power_quality.unbalance import (
    fd95,
    unbalance_of_lines_percent,
    unbalance_of_phases_percent,
)
from agent.analysis.power_quality.unseen import Sight
from agent.analysis.power_quality.voltage import (
    VoltageIndices,
    band_of,
    classes,
    nominal_of,
    voltage_indices,
)
from agent.analysis.power_quality.watch import Watch, watch
from agent.localtime import DAY_MS, Bools, Floats, Ints
from agent.model import Group, Quality
from agent.reports.series import IntervalSeries, Pace, Part, pace

EXTENSION_DAYS_MAX = 7
NAMES = (
    "voltage_v",
    "line_voltage_v",
    "thd_voltage_percent",
    "frequency_hz",
    "active_power_w",
    "reactive_power_var",
)

Progress = Callable[[float], None]


class Readings(Protocol):
    """History as the store gives it: by group, each in the order of time, in parts of bounded size."""

    def columns(self, points: Collection[str], from_ms: int, to_ms: int) -> AsyncIterator[Part]: ...


class Gap(NamedTuple):
    """From the first interval that lacks readings to the end of the last."""

    from_ms: int
    to_ms: int


class NoReadings(Exception):  # noqa: N818 - what was asked for is not there
    """There is nothing to report on; the text says what, and the way out."""


@dataclass(frozen=True, slots=True, eq=False)
class PowerQuality:
    """All that the report says of one meter. Arrays are by 10-minute interval of [`from_ms`, `to_ms`), which
    goes on beyond what was asked for (`asked_to_ms`) until there are 1008 valid readings."""

    meter: Meter
    limits: Limits
    from_ms: int
    to_ms: int
    asked_to_ms: int
    pace: Pace
    nominal_v: float
    nominal_is_assumed: bool
    between: Between
    band: VoltageBand
    start_ms: Ints
    voltage_v: Floats  # (n, phases), root mean square; NaN where there is no valid reading
    coverage: Floats  # (n,), of the worst phase
    expurgated: Bools  # (n,)
    valid: Bools  # (n,)
    classes: Ints  # (n, phases)
    voltage: VoltageIndices
    unbalance: Exceeded | None
    unbalance_percent: Floats  # (n,), NaN where not known
    distortion: DistortionIndices | None
    thd_percent: Floats  # (n, phases)
    frequency: FrequencyWatch | None
    excursions: tuple[Excursion, ...]
    frequency_hz: Floats  # (n,), means
    power_factor: PowerFactor | None
    active_w: Floats  # (n,)
    reactive_var: Floats  # (n,)
    events: tuple[Event, ...]
    gaps: tuple[Gap, ...]
    completeness: float  # of the period asked for, 0 to 1
    uncertain_share: float
    sight: Sight


class Gathering:
    """What is kept of the readings of one meter while they pass."""

    def __init__(
        self, meter: Meter, limits: Limits, nominal_v: float | None = None, between: Between | None = None
    ) -> None:
        self._meter, self._limits = meter, limits
        self.nominal_v = np.nan if nominal_v is None else nominal_v
        self.nominal_is_assumed = nominal_v is None
        self.by_lines = not meter.voltage_v
        self.between: Between = between or ("phase_phase" if self.by_lines else "phase_neutral")
        self.pace: Pace | None = None
        self.series = {
            name: IntervalSeries(limits.window.interval_ms, _channels(name, quantities))
            for name in NAMES
            if (quantities := getattr(meter, name))
        }
        self._watches: dict[Group, Watch | None] = {}
        self._frequency: dict[Group, FrequencyWatch] = {}
        self._ended: list[Event] = []
        self.readings = self.uncertain = 0

    def take(self, part: Part) -> None:
        """One part of the history."""
        found = pace(part)
        for name in self.series:
            values = matrix(part, getattr(self._meter, name), added=name.startswith(("active", "reactive")))
            if values is None:
                continue
            self.series[name].take(part.group, part.time_ms, values, found.real_ms)
            if name == ("line_voltage_v" if self.by_lines else "voltage_v"):
                self._look(part, values, found)
            elif name == "frequency_hz":
                state = self._frequency.get(part.group, FrequencyWatch())
                self._frequency[part.group] = watch_frequency(
                    state, part.time_ms, values[:, 0], found.real_ms, self._limits
                )

    def _look(self, part: Part, voltage_v: Floats, found: Pace) -> None:
        self.pace = found
        self.readings += part.time_ms.size
        self.uncertain += int((part.quality == Quality.UNCERTAIN).sum())
        if np.isnan(self.nominal_v):
            self.nominal_v = nominal_of(voltage_v, self.between, self._limits)
        if not np.isnan(self.nominal_v):
            self._watches[part.group], ended = watch(
                self._watches.get(part.group),
                part.time_ms,
                voltage_v,
                found.real_ms,
                declared_v=self.nominal_v,
                rules=self._limits.events,
            )
            self._ended += ended

    @property
    def events(self) -> tuple[Event, ...]:
        """Those that ended, and those that had not."""
        pending = [event for each in self._watches.values() if each for event in each.pending]
        return tuple(sorted([*self._ended, *pending], key=lambda each: each.start_ms))

    @property
    def frequency(self) -> FrequencyWatch | None:
        """The sums of the group that was seen longest."""
        return max(self._frequency.values(), key=lambda each: each.seen_s, default=None)


async def power_quality(
    readings: Readings,
    meter: Meter,
    period_ms: tuple[int, int],
    limits: Limits,
    *,
    nominal_v: float | None = None,
    between: Between | None = None,
    now_ms: int,
    progress: Progress = lambda share: None,
) -> PowerQuality:
    """The indices of `meter` over the period, both ends on the grid of 10 minutes; readings that do not count
    are replaced by those of up to EXTENSION_DAYS_MAX days after it. NoReadings: there is no voltage."""
    from_ms, asked_to_ms = period_ms
    gathering = Gathering(meter, limits, nominal_v, between)
    await _gather(readings, gathering, meter.ids(*NAMES), period_ms, progress)
    if not gathering.readings:
        raise NoReadings(f"{meter.device.name}: no voltage is stored of this period")
    if np.isnan(gathering.nominal_v):
        name = meter.device.name
        raise NoReadings(f"{name}: its voltages are near no usual one: set nominal_v in [[meter]]")
    to_ms = asked_to_ms
    while _lacks(gathering, from_ms, to_ms, limits) and to_ms < asked_to_ms + EXTENSION_DAYS_MAX * DAY_MS:
        until_ms = to_ms + DAY_MS
        if until_ms > now_ms:
            break
        before = gathering.readings
        await _gather(readings, gathering, meter.ids(*NAMES), (to_ms, until_ms), lambda share: None)
        if gathering.readings == before:
            break  # nothing came any more
        to_ms = until_ms
    found = _judged(gathering, meter, limits, (from_ms, to_ms, asked_to_ms))
    needed_ms = max(found.voltage.to_ms, asked_to_ms)
    if not found.voltage.complete or needed_ms >= to_ms:
        return found
    return _judged(gathering, meter, limits, (from_ms, needed_ms, asked_to_ms))


async def _gather(
    readings: Readings,
    gathering: Gathering,
    ids: set[str],
    period_ms: tuple[int, int],
    progress: Progress,
) -> None:
    from_ms, to_ms = period_ms
    # An async generator of the store holds a connection: it is closed however we leave.
    async with aclosing(readings.columns(ids, from_ms, to_ms)) as parts:  # type: ignore[type-var]
        async for part in parts:
            gathering.take(part)
            progress((int(part.time_ms[-1]) - from_ms) / max(to_ms - from_ms, 1))


def _lacks(gathering: Gathering, from_ms: int, to_ms: int, limits: Limits) -> bool:
    """Whether a week that was asked for is short of readings; a shorter period is not a week."""
    week_ms = limits.window.readings * limits.window.interval_ms
    if to_ms - from_ms < week_ms:
        return False
    name = "line_voltage_v" if gathering.by_lines else "voltage_v"
    grid = gathering.series[name].on_grid(from_ms, to_ms)
    covered = (grid.coverage >= limits.window.coverage_min).all(axis=1)
    valid = covered & ~flagged(grid.start_ms, gathering.events, limits)
    return int(valid.sum()) < limits.window.readings


def _judged(
    gathering: Gathering, meter: Meter, limits: Limits, times_ms: tuple[int, int, int]
) -> PowerQuality:
    from_ms, to_ms, asked_to_ms = times_ms
    grids = {name: each.on_grid(from_ms, to_ms) for name, each in gathering.series.items()}
    grid = grids["line_voltage_v" if gathering.by_lines else "voltage_v"]
    rows = grid.start_ms.size
    nothing, nothing_1 = np.full((rows, 1), np.nan), np.full(rows, np.nan)
    coverage = grid.coverage.min(axis=1)
    covered = np.asarray(coverage >= limits.window.coverage_min, dtype=np.bool_)
    expurgated = flagged(grid.start_ms, gathering.events, limits)
    valid = covered & ~expurgated
    band = band_of(gathering.nominal_v, gathering.between, limits)
    unbalance_percent = _unbalance(meter, {name: each.rms for name, each in grids.items()}, nothing_1)
    thd = grids["thd_voltage_percent"].rms if "thd_voltage_percent" in grids else nothing
    seen = {name: grids[name].mean[:, 0] if name in grids else nothing_1 for name in NAMES[3:]}
    active, reactive = seen["active_power_w"], seen["reactive_power_var"]
    asked = slice(0, (asked_to_ms - from_ms) // limits.window.interval_ms)
    has_power = not np.isnan(active).all() and not np.isnan(reactive).all()
    return PowerQuality(
        meter=meter,
        limits=limits,
        from_ms=from_ms,
        to_ms=to_ms,
        asked_to_ms=asked_to_ms,
        pace=gathering.pace or Pace(0.0, 1000.0),
        nominal_v=gathering.nominal_v,
        nominal_is_assumed=gathering.nominal_is_assumed,
        between=gathering.between,
        band=band,
        start_ms=grid.start_ms,
        voltage_v=np.where(covered[:, None], grid.rms, np.nan),
        coverage=coverage,
        expurgated=expurgated,
        valid=valid,
        classes=classes(np.where(valid[:, None], grid.rms, np.nan), band),
        voltage=voltage_indices(grid.start_ms, grid.rms, valid, band, limits),
        unbalance=None
        if np.isnan(unbalance_percent).all()
        else fd95(unbalance_percent, valid, gathering.nominal_v, limits),
        unbalance_percent=np.where(covered, unbalance_percent, np.nan),
        distortion=None if np.isnan(thd).all() else dtt95(thd, valid, gathering.nominal_v, limits),
        thd_percent=thd,
        frequency=gathering.frequency,
        excursions=excursions(gathering.frequency, limits) if gathering.frequency else (),
        frequency_hz=seen["frequency_hz"],
        power_factor=power_factor(active, reactive, limits.power_factor.minimum) if has_power else None,
        active_w=active,
        reactive_var=reactive,
        events=gathering.events,
        gaps=tuple(_gaps(grid.start_ms[asked], covered[asked], limits.window.interval_ms)),
        completeness=float(np.clip(coverage[asked], 0, 1).mean()) if rows else 0.0,
        uncertain_share=gathering.uncertain / max(gathering.readings, 1),
        sight=_sight(meter, gathering.pace),
    )


def _sight(meter: Meter, found: Pace | None) -> Sight:
    return Sight(
        period_s=(found.real_ms if found else 1000.0) / 1000,
        has_thd=bool(meter.thd_voltage_percent),
        has_line_voltages=bool(meter.line_voltage_v),
        phases=max(meter.phases, len(meter.line_voltage_v)),
    )


def _unbalance(meter: Meter, rms: dict[str, Floats], nothing: Floats) -> Floats:
    """From line voltages if there are any, which is exact; else from the phases, taken at 120 degrees."""
    if meter.line_voltage_v and not np.isnan(rms["line_voltage_v"]).all():
        return unbalance_of_lines_percent(rms["line_voltage_v"])
    return unbalance_of_phases_percent(rms["voltage_v"]) if meter.phases == 3 else nothing


def _gaps(start_ms: Ints, covered: Bools, interval_ms: int) -> list[Gap]:
    edges = np.flatnonzero(np.diff(np.concatenate([[True], covered, [True]]).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    return [
        Gap(int(start_ms[begin]), int(start_ms[end - 1]) + interval_ms)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]


def _channels(name: str, quantities: Quantities) -> int:
    return 1 if name.startswith(("active", "reactive")) else len(quantities)


def matrix(part: Part, quantities: Quantities, *, added: bool = False) -> Floats | None:
    """The values of `quantities` in base units, readings x quantities (`added`: x 1, their sum); None where
    this part does not have them all."""
    places = [part.points.index(each.id) for each in quantities if each.id in part.points]
    if not quantities or len(places) < len(quantities):
        return None
    values = part.values[:, places] * np.array([each.factor for each in quantities])
    return np.asarray(values.sum(axis=1, keepdims=True) if added else values, dtype=np.float64)
