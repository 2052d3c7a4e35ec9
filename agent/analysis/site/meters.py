"""A meter as the child is told of it: what its points say (`agent.analysis.meters`), what the configuration
adds, and single harmonics, `voltage_l1_harmonic_5` (percent of the fundamental). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from agent.analysis.meters import PHASES, Meter, Quantity
from agent.analysis.meters import meters as meters_among
from agent.analysis.site.options import MeterOptions
from agent.analysis.site.plan import GroupPlan, MeterPlan
from agent.model import Group, Kind

HARMONICS_MAX = 50


def group_plan(group: Group) -> GroupPlan:
    """`group` as the child is told of it; points that are states are no matter of levels."""
    wanted = [point for point in group.points if point.kind is not Kind.STATE]
    return GroupPlan(
        device=group.device.name,
        name=group.name,
        points=[point.name for point in wanted],
        totals=[point.name for point in wanted if point.kind is Kind.TOTAL],
        interval_ms=group.interval_ms,
    )


def meters(
    groups: Sequence[Group], said: Mapping[str, MeterOptions], tariff: str, main: str = ""
) -> list[MeterPlan]:
    """Every meter among the devices of `groups`. The bill of `tariff` is that of the device `main`, or of the
    only meter; a meter with a `tariff` of its own has its own bill."""
    names: dict[str, set[str]] = {}
    for group in groups:
        names.setdefault(group.device.name, set()).update(point.name for point in group.points)
    words = slugs(names)
    found = {
        name: _meter(meter, words[name], names[name], said.get(name) or MeterOptions(name=name))
        for name, meter in meters_among(groups).items()
        if not (name in said and said[name].skip)
    }
    only = next(iter(found)) if len(found) == 1 else main
    return [
        meter.model_copy(update={"tariff": _tariff(said.get(name), tariff if name == only else "")})
        for name, meter in found.items()
    ]


def _tariff(said: MeterOptions | None, otherwise: str) -> str:
    return otherwise if said is None or said.tariff is None else said.tariff


def _meter(meter: Meter, slug: str, names: set[str], said: MeterOptions) -> MeterPlan:
    energy = said.energy or (_names(meter.import_wh)[0] if len(meter.import_wh) == 1 else "")
    return MeterPlan(
        device=meter.device.name,
        slug=slug,
        voltage=_given(said.voltage, meter.voltage_v),
        line_voltage=_given(said.line_voltage, meter.line_voltage_v),
        thd=_names(meter.thd_voltage_percent),
        harmonics=_harmonics(names),
        unbalance="voltage_unbalance" if "voltage_unbalance" in names else "",
        frequency=said.frequency or next(iter(_names(meter.frequency_hz)), ""),
        power=_given(said.power, meter.active_power_w),
        reactive=_given(said.reactive, meter.reactive_power_var),
        energy=energy,
        w_per_unit=_factor(meter.active_power_w),
        var_per_unit=_factor(meter.reactive_power_var),
        kwh_per_unit=_factor(meter.import_wh) / 1000 if meter.import_wh else 1.0,
        nominal_v=said.nominal_v,
        between=said.between,
        same_as=said.same_as or "",
    )


def _names(found: Iterable[Quantity]) -> list[str]:
    return [each.id.partition(".")[2] for each in found]


def _given(said: Sequence[str] | None, found: Iterable[Quantity]) -> list[str]:
    return _names(found) if said is None else list(said)


def _factor(found: Sequence[Quantity]) -> float:
    """Of all phases that of the first."""
    return found[0].factor if found else 1.0


def _harmonics(names: set[str]) -> list[list[str]]:
    rows = []
    for phase in PHASES:
        row = [f"voltage_{phase}_harmonic_{order}" for order in range(2, HARMONICS_MAX + 1)]
        there = [name if name in names else "" for name in row]
        if any(there):
            rows.append(there[: max(at for at, name in enumerate(there) if name) + 1])
    return rows


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Names as parts of points' names (a-z, 0-9, _); where they would be alike, later ones have a number."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        word = slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "device"
        at = 1
        while slug in taken:
            at += 1
            slug = f"{word}_{at}"
        taken.add(slug)
        found[name] = slug
    return found
