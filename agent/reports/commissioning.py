"""What is known of a site when it is handed over: its devices, how they answer, how meters are wired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from agent.analysis.meters import Meter, meters
from agent.commissioning.metering import MeterReading, Site, reading_of
from agent.commissioning.wiring import Finding, check, is_usable
from agent.localtime import HOUR_MS, Floats
from agent.model import NAN, Group, Quality
from agent.reports.power_quality import Progress, Readings
from agent.reports.series import Part, pace

LATEST_MS = HOUR_MS
WIRING_READINGS_MAX = 48
NOUNS = ("voltage", "current", "active_power", "reactive_power", "power_factor", "phase_angle")
LINE_GROUP = "line-"
LINE_MEANS = ("stretch", "busy")
LINE_COUNTS = ("requests", "timeouts", "crc_errors", "exceptions")


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """One device as the configuration and its profile say. `address`: unit id, module id or so."""

    name: str
    label: str
    profile: str
    title: str
    sources: tuple[str, ...]
    fingerprint: str  # of the profile's file
    line: str
    address: str


@dataclass(frozen=True, slots=True)
class LineFacts:
    """One line as the configuration says."""

    name: str
    driver: str
    where: str


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What does not come from readings; `versions` and `settings` are names (of texts) and what they are."""

    site: str
    lines: tuple[LineFacts, ...]
    devices: tuple[DeviceFacts, ...]
    versions: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class GroupSeen:
    """How a group answered: readings, how many were bad or of an uncertain time, the longest silence."""

    group: Group
    readings: int = 0
    bad: int = 0
    uncertain: int = 0
    first_ms: int = 0
    last_ms: int = 0
    longest_ms: int = 0
    pace_ms: float = NAN

    def expected(self, period_ms: tuple[int, int]) -> float:
        """How many readings its interval asks for; NaN where it speaks by itself."""
        planned = self.group.interval_ms
        return (period_ms[1] - period_ms[0]) / planned if planned else NAN


@dataclass(frozen=True, slots=True)
class Wiring:
    """The check of one three-phase meter. `usable`: whether there was load enough to conclude anything."""

    meter: Meter
    findings: tuple[Finding, ...]
    readings: int
    usable: int
    last: MeterReading


@dataclass(frozen=True, slots=True)
class Latest:
    """The last value of a point; NaN where there was none in LATEST_MS."""

    id: str
    unit: str
    value: float
    time_ms: int
    state: str = ""


@dataclass(frozen=True, slots=True)
class Commissioning:
    """All that the record says."""

    facts: SiteFacts
    from_ms: int
    to_ms: int
    groups: tuple[GroupSeen, ...]
    line_figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    wiring: tuple[Wiring, ...] = ()
    latest: tuple[Latest, ...] = ()


async def commissioning(
    readings: Readings,
    groups: Sequence[Group],
    facts: SiteFacts,
    period_ms: tuple[int, int],
    *,
    progress: Progress = lambda share: None,
) -> Commissioning:
    """The record over a period (a day, as a rule). `groups`: all that were ever stored."""
    known = {device.name for device in facts.devices}
    own = [group for group in groups if group.device.name in known]
    seen = await _seen(readings, own, period_ms)
    progress(0.4)
    wired = [each for each in meters(own).values() if each.phases == 3 and len(each.current_a) == 3]
    wiring = []
    for at, meter in enumerate(wired):
        wiring += await _wiring(readings, meter, own, period_ms)
        progress(0.4 + 0.4 * (at + 1) / len(wired))
    return Commissioning(
        facts,
        *period_ms,
        tuple(seen),
        await _line_figures(readings, groups, period_ms),
        tuple(wiring),
        tuple(await _latest(readings, own, period_ms[1])),
    )


async def _seen(readings: Readings, groups: Sequence[Group], period_ms: tuple[int, int]) -> list[GroupSeen]:
    """By one point of each group: what it answers is read as a whole."""
    found = {group: GroupSeen(group) for group in groups if group.points}
    ids = {group.point_ids[0] for group in found}
    async with aclosing(readings.columns(ids, *period_ms)) as parts:  # type: ignore[type-var]
        async for part in parts:
            if part.group in found:
                _count(found[part.group], part)
    newest: dict[tuple[str, str], GroupSeen] = {}
    for each in found.values():  # a group that was configured anew has the name of the one before
        key = (each.group.device.name, each.group.name)
        if key not in newest or each.last_ms >= newest[key].last_ms:
            newest[key] = each
    return list(newest.values())


def _count(seen: GroupSeen, part: Part) -> None:
    times = part.time_ms
    edges = np.concatenate([[seen.last_ms], times]) if seen.last_ms else times
    seen.first_ms = seen.first_ms or int(times[0])
    seen.readings += times.size
    seen.bad += int((part.quality == Quality.BAD).sum())
    seen.uncertain += int((part.quality == Quality.UNCERTAIN).sum())
    seen.last_ms, seen.pace_ms = int(times[-1]), pace(part).real_ms
    if edges.size > 1:
        seen.longest_ms = max(seen.longest_ms, int(np.diff(edges).max()))


async def _wiring(
    readings: Readings, meter: Meter, groups: Sequence[Group], period_ms: tuple[int, int]
) -> list[Wiring]:
    """Judged from the reading with the highest current of each half hour, WIRING_READINGS_MAX of them."""
    ids = _wiring_ids(meter, groups)
    step_ms = max((period_ms[1] - period_ms[0]) // WIRING_READINGS_MAX, 1)
    best: dict[int, tuple[float, MeterReading]] = {}
    async with aclosing(readings.columns(ids, *period_ms)) as parts:  # type: ignore[type-var]
        async for part in parts:
            _take_best(best, part, step_ms)
    found = [reading for _, (_, reading) in sorted(best.items())]
    if not found:
        return []
    usable = sum(is_usable(each) for each in found)
    return [Wiring(meter, tuple(check(found, Site())), len(found), usable, found[-1])]


def _wiring_ids(meter: Meter, groups: Sequence[Group]) -> set[str]:
    name = meter.device.name
    return {
        point_id
        for group in groups
        if group.device.name == name
        for point_id in group.point_ids
        if point_id.removeprefix(f"{name}.").startswith(NOUNS)
    }


def _take_best(best: dict[int, tuple[float, MeterReading]], part: Part, step_ms: int) -> None:
    names = [each.partition(".")[2] for each in part.points]
    currents = [at for at, name in enumerate(names) if name in ("current_l1", "current_l2", "current_l3")]
    if len(currents) < 3:
        return  # another group: what is read at another instant is not put beside this
    flow = part.values[:, currents].sum(axis=1)
    known = np.flatnonzero(~np.isnan(flow))
    slots = part.time_ms[known] // step_ms
    for slot in np.unique(slots).tolist():
        rows = known[slots == slot]
        at = int(rows[np.argmax(flow[rows])])
        if slot not in best or flow[at] > best[slot][0]:
            values = dict(zip(names, part.values[at].tolist(), strict=True))
            best[slot] = (float(flow[at]), reading_of(values))


async def _line_figures(
    readings: Readings, groups: Sequence[Group], period_ms: tuple[int, int]
) -> dict[str, dict[str, float]]:
    """The agent's own word on each line: means of stretch and load, what was counted of the rest."""
    wanted: dict[str, tuple[str, str]] = {}
    for group in groups:
        if group.device.name == "agent" and group.name.startswith(LINE_GROUP):
            line = group.name.removeprefix(LINE_GROUP)
            for noun in (*LINE_MEANS, *LINE_COUNTS):
                wanted |= {each: (line, noun) for each in group.point_ids if each.endswith(f"_{noun}")}
    found: dict[str, dict[str, float]] = {}
    seen: dict[str, list[Floats]] = {}
    async with aclosing(readings.columns(set(wanted), *period_ms)) as parts:  # type: ignore[type-var]
        async for part in parts:
            for at, point in enumerate(part.points):
                seen.setdefault(point, []).append(part.values[~np.isnan(part.values[:, at]), at])
    for point, pieces in seen.items():
        line, noun = wanted[point]
        found.setdefault(line, {})[noun] = _figure(np.concatenate(pieces), is_mean=noun in LINE_MEANS)
    return found


def _figure(values: Floats, *, is_mean: bool) -> float:
    """The mean, or what was counted: a counter begins again with the agent."""
    if not values.size:
        return NAN
    if is_mean:
        return float(values.mean())
    steps = np.diff(values)
    return float(np.where(steps < 0, values[1:], steps).sum())


async def _latest(readings: Readings, groups: Sequence[Group], to_ms: int) -> list[Latest]:
    """The last value of every point."""
    points = {
        point_id: point
        for group in groups
        for point_id, point in zip(group.point_ids, group.points, strict=True)
    }
    found: dict[str, Latest] = {}
    async with aclosing(readings.columns(set(points), to_ms - LATEST_MS, to_ms)) as parts:  # type: ignore[type-var]
        async for part in parts:
            for at, point_id in enumerate(part.points):
                known = np.flatnonzero(~np.isnan(part.values[:, at]))
                if known.size:
                    value, time_ms = float(part.values[known[-1], at]), int(part.time_ms[known[-1]])
                    if point_id not in found or time_ms >= found[point_id].time_ms:
                        point = points[point_id]
                        state = point.states.get(round(value), "") if point.states else ""
                        found[point_id] = Latest(point_id, point.unit, value, time_ms, state)
    return [
        found.get(point_id, Latest(point_id, points[point_id].unit, NAN, 0)) for point_id in sorted(points)
    ]
