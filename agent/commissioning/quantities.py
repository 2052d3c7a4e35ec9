"""What magnitudes alone say about a meter's wiring: voltages, ratios and totals. Pure.

Each function yields `(fault, phases, number, confidence)`: the fault's name as in `wiring.Fault`, the
phases 0 to 2, a number that belongs to it (volts, a ratio) and 1 to 3 for low to high.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import mean, median

from agent.commissioning.metering import PHASES, MeterReading, Site, Triple
from agent.model import NAN

FoundFault = tuple[str, tuple[int, ...], float, int]
LOW, MEDIUM, HIGH = 1, 2, 3
NOMINALS_V = (110, 115, 120, 127, 220, 230, 240, 254, 277)
NOMINAL_V_MIN = 1.0  # less is nothing connected, and divides badly
ROOT3 = math.sqrt(3)


def nominal_v(reading: MeterReading, site: Site) -> float:
    """The voltage between phase and neutral that should be there; NaN if nothing tells."""
    if math.isfinite(site.nominal_v):
        return site.nominal_v
    lines = _known(reading.line_voltage_v)
    volts = _known(reading.voltage_v)
    # With a phase missing, two of the three voltages between phases are low too.
    about = max(lines) / ROOT3 if len(lines) == 3 else max(volts, default=NAN)
    near = min(NOMINALS_V, key=lambda nominal: abs(nominal - about))
    return float(near) if abs(near - about) < 0.12 * near else about


def voltage_faults(reading: MeterReading, site: Site) -> Iterator[FoundFault]:
    """Missing phases, neutral trouble, and a voltage that is not the site's."""
    volts, nominal = reading.voltage_v, nominal_v(reading, site)
    if len(_known(volts)) < 3 or not nominal >= NOMINAL_V_MIN:
        return
    missing = tuple(k for k in PHASES if volts[k] < 0.5 * nominal)
    rest = [volts[k] for k in PHASES if k not in missing]
    if missing:
        if len(missing) == 1 and all(abs(each / nominal / ROOT3 - 1) < 0.08 for each in rest):
            yield "neutral_on_phase", missing, nominal, HIGH
        else:
            yield "phase_missing", missing, nominal, HIGH if rest and min(rest) > 0.7 * nominal else MEDIUM
    elif _is_high_leg(volts):
        yield "high_leg", (max(PHASES, key=lambda k: volts[k]),), max(volts), LOW
    elif (unbalance := (max(volts) - min(volts)) / mean(volts)) > 0.12:
        yield from _unbalanced(reading, unbalance)
    elif math.isfinite(site.nominal_v) and abs(mean(volts) / nominal - 1) > 0.2:
        yield "voltage_ratio", PHASES, mean(volts) / nominal, MEDIUM


def _unbalanced(reading: MeterReading, unbalance: float) -> Iterator[FoundFault]:
    """A neutral that floats moves the phase voltages and leaves those between phases alone."""
    lines = reading.line_voltage_v
    if len(_known(lines)) == 3 and mean(lines) > 0:
        if (max(lines) - min(lines)) / mean(lines) < 0.04:
            yield "neutral_open", PHASES, 100 * unbalance, HIGH
    elif unbalance > 0.2:
        yield "neutral_open", PHASES, 100 * unbalance, MEDIUM


def _is_high_leg(volts: Triple) -> bool:
    """Two alike and one root 3 of them: a delta whose one winding has its middle grounded."""
    low, middle, high = sorted(volts)
    return middle / low < 1.05 and abs(high / ((low + middle) / 2) / ROOT3 - 1) < 0.04


def current_faults(reading: MeterReading, site: Site) -> Iterator[FoundFault]:
    """Current transformers against what the technician knows: their rating, a clamp meter."""
    if math.isfinite(site.ct_primary_a):
        beyond = tuple(k for k in PHASES if reading.current_a[k] > 1.2 * site.ct_primary_a)
        if beyond:
            yield "ct_rating", beyond, site.ct_primary_a, MEDIUM
    ratios = {
        k: reading.current_a[k] / site.clamp_a[k]
        for k in PHASES
        if site.clamp_a[k] >= max(1.0, site.current_min_a) and math.isfinite(reading.current_a[k])
    }
    off = {k: ratio for k, ratio in ratios.items() if abs(math.log(max(ratio, 1e-9))) > math.log(1.15)}
    if off:
        yield "ct_ratio", tuple(off), median(off.values()), HIGH


def power_faults(reading: MeterReading, site: Site) -> Iterator[FoundFault]:
    """Power against volts x amperes of the same phase: both come from the same transformer."""
    ratios: dict[int, float] = {}
    for k in PHASES:
        volts, amps, watts = reading.voltage_v[k], reading.current_a[k], reading.active_power_w[k]
        if not (amps >= site.current_min_a and volts * amps > 20 and math.isfinite(watts)):
            continue
        ratio = _power_ratio(reading, k)
        if math.isfinite(ratio):
            ratios[k] = ratio
    off = {k: ratio for k, ratio in ratios.items() if ratio > 1.15 or ratio < 0.4}
    if off and len(off) == len(ratios) and max(off.values()) < 1.5 * min(off.values()):
        yield "power_ratio", tuple(off), median(off.values()), HIGH if len(off) == 3 else MEDIUM


def _power_ratio(reading: MeterReading, k: int) -> float:
    """Power as the meter says over power as its volts and amperes say; NaN if nothing can be said."""
    volts_amps = reading.voltage_v[k] * reading.current_a[k]
    watts, var, factor = reading.active_power_w[k], reading.reactive_power_var[k], reading.power_factor[k]
    if math.isfinite(factor) and 0.3 <= abs(factor) <= 1:
        return abs(watts) / (volts_amps * abs(factor))
    if math.isfinite(var):
        return math.hypot(watts, var) / volts_amps
    beyond = abs(watts) / volts_amps
    return beyond if beyond > 1.15 else NAN


def total_faults(reading: MeterReading, site: Site) -> Iterator[FoundFault]:
    """The sum of the phases against the total. `phases`: those that the total counts the other way."""
    watts, total = reading.active_power_w, reading.total_active_power_w
    if len(_known(watts)) < 3 or not math.isfinite(total):
        return
    scale_w = sum(map(abs, watts))
    allowed_w = 0.03 * scale_w + 10
    if abs(sum(watts) - total) <= allowed_w or scale_w < 50 or max(reading.current_a) < site.current_min_a:
        return
    for k in PHASES:
        if abs(sum(watts) - 2 * watts[k] - total) <= allowed_w < 2 * abs(watts[k]):
            yield "total", (k,), total, MEDIUM
            return
    if abs(scale_w - abs(total)) <= allowed_w:
        yield "total", tuple(k for k in PHASES if watts[k] * total < 0), total, MEDIUM
        return
    yield "total", (), total, MEDIUM


def _known(values: Triple) -> list[float]:
    return [value for value in values if math.isfinite(value)]
