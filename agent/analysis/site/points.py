"""What is published as `analysis.*`, for a plan: groups of points with their units. Pure.

A group's name is `<topic>-<device>`; the child speaks of a group by that name and of its points by theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.analysis.site.meters import slugs
from agent.analysis.site.plan import GroupPlan, MeterPlan, Plan
from agent.model import Device, Group, Kind, Point

DEVICE = Device("analysis", "uicps-agent")
CLASSES = {0: "adequate", 1: "precarious", 2: "critical"}
EVENT_KINDS = {0: "sag", 1: "swell", 2: "interruption"}
PRODIST = tuple(
    f"{length}_{kind}" for kind in EVENT_KINDS.values() for length in ("momentary", "temporary", "long")
)
IEEE_1159 = (
    *("instantaneous_sag", "momentary_sag", "temporary_sag", "undervoltage"),
    *("instantaneous_swell", "momentary_swell", "temporary_swell", "overvoltage"),
    *("momentary_interruption", "temporary_interruption", "sustained_interruption"),
)
TOMORROW = tuple(f"tomorrow_h{hour:02}" for hour in range(24))


def published(plan: Plan) -> dict[str, Group]:
    """Every group by its name."""
    groups = [group for meter in plan.meters for group in _of_meter(meter)]
    words = slugs(dict.fromkeys(group.device for group in plan.groups))
    groups += [_ingest(device, word) for device, word in words.items()]
    if plan.anomalies:
        groups += [_unusual(group, words[group.device]) for group in plan.groups if group.points]
        groups += [_drift(meter) for meter in plan.meters if meter.same_as]
    return {group.name: group for group in groups}


def _group(topic: str, device: str, points: Iterator[Point]) -> Group:
    return Group(DEVICE, f"{topic}-{device}", tuple(points), 0)


def _of_meter(meter: MeterPlan) -> Iterator[Group]:
    if meter.volts:
        yield _group("voltage", meter.device, _voltage(meter))
        yield _group("event", meter.device, _event(meter.slug))
    if meter.frequency:
        yield _group("frequency", meter.device, _frequency(meter.slug))
    if meter.power:
        yield _group("energy", meter.device, _energy(meter))
        yield _group("outlook", meter.device, _outlook(meter.slug))
    if meter.power and meter.tariff:
        yield _group("bill", meter.device, _bill(meter.slug))


def _voltage(meter: MeterPlan) -> Iterator[Point]:
    word = meter.slug
    yield Point(f"{word}_voltage_class", "", Kind.STATE, CLASSES)
    yield Point(f"{word}_voltage_readings")
    yield Point(f"{word}_voltage_flagged")
    yield Point(f"{word}_voltage_nominal", "V")
    yield Point(f"{word}_drp", "%")
    yield Point(f"{word}_drc", "%")
    if meter.unbalance or len(meter.line_voltage) == 3 or len(meter.voltage) == 3:
        yield Point(f"{word}_unbalance", "%")
        yield Point(f"{word}_fd95", "%")
    if meter.thd or meter.harmonics:
        yield Point(f"{word}_dtt95", "%")
    if meter.harmonics:
        yield from (Point(f"{word}_{part}95", "%") for part in ("dttp", "dtti", "dtt3_"))
    yield Point(f"{word}_event_resolution", "s")
    yield from (Point(f"{word}_{name}s_7d") for name in PRODIST)


def _event(word: str) -> Iterator[Point]:
    """One reading for each event, at its begin."""
    yield Point(f"{word}_event", "", Kind.STATE, EVENT_KINDS)
    yield Point(f"{word}_event_extreme", "pu")
    yield Point(f"{word}_event_duration", "s")
    yield Point(f"{word}_event_phases")
    yield Point(f"{word}_event_cut", "", Kind.STATE, {0: "no", 1: "yes"})
    yield Point(f"{word}_event_prodist", "", Kind.STATE, dict(enumerate(PRODIST)))
    yield Point(f"{word}_event_ieee_1159", "", Kind.STATE, dict(enumerate(IEEE_1159)))


def _frequency(word: str) -> Iterator[Point]:
    """Of the last seven days."""
    yield Point(f"{word}_frequency_least", "Hz")
    yield Point(f"{word}_frequency_most", "Hz")
    yield Point(f"{word}_frequency_outside_steady", "%")
    yield Point(f"{word}_frequency_disturbed_longest", "s")
    yield Point(f"{word}_frequency_beyond_extremes", "s")


def _energy(meter: MeterPlan) -> Iterator[Point]:
    """Of the local calendar month so far, but for `demand`, that of the last quarter of an hour."""
    word = meter.slug
    yield Point(f"{word}_demand", "kW")
    yield Point(f"{word}_demand_month_most", "kW")
    yield Point(f"{word}_load_factor_month")
    yield Point(f"{word}_energy_month", "kWh")
    yield Point(f"{word}_missing_month", "h")
    if meter.energy:
        yield Point(f"{word}_counter_resets_month")
    if meter.reactive:
        yield Point(f"{word}_power_factor_month")
        yield Point(f"{word}_power_factor_low_inductive", "%")
        yield Point(f"{word}_power_factor_low_capacitive", "%")


def _outlook(word: str) -> Iterator[Point]:
    yield Point(f"{word}_load_expected", "kW")
    yield Point(f"{word}_tomorrow_energy", "kWh")
    yield Point(f"{word}_tomorrow_most", "kW")
    yield from (Point(f"{word}_{name}", "kW") for name in TOMORROW)
    yield Point(f"{word}_month_peak_expected", "kW")
    yield Point(f"{word}_month_peak_high", "kW")


def _bill(word: str) -> Iterator[Point]:
    """So far (`cost`) and of the whole month (`bill`), taxes inside."""
    for name in ("off_peak", "intermediate", "peak"):
        yield Point(f"{word}_energy_{name}_month", "kWh")
    yield Point(f"{word}_reactive_energy_excess_month", "kWh")
    yield Point(f"{word}_reactive_demand_excess_month", "kW")
    yield Point(f"{word}_demand_overshoot_month", "kW")
    for word_of in ("cost", "bill"):
        yield Point(f"{word}_{word_of}", "BRL")
        for part in ("energy", "flag", "demand", "overshoot", "reactive"):
            yield Point(f"{word}_{word_of}_{part}", "BRL")


def _ingest(device: str, word: str) -> Group:
    points = (
        Point(f"{word}_ingest", "1/min"),
        Point(f"{word}_ingest_usual", "1/min"),
        Point(f"{word}_ingest_anomaly"),
    )
    return _group("ingest", device, iter(points))


def _unusual(group: GroupPlan, word: str) -> Group:
    points = (Point(f"{word}_{name}_anomaly") for name in group.points)
    return Group(DEVICE, f"unusual-{group.device}-{group.name}", tuple(points), 0)


def _drift(meter: MeterPlan) -> Group:
    return _group("drift", meter.device, iter([Point(f"{meter.slug}_drift_anomaly")]))
