"""The check of a three-phase meter's wiring from what it reads. Pure: readings in, findings out.

`check` takes one or several readings (several at different loads are worth much more) and says what is
wrong, with the numbers seen, what to swap and how sure it is. A finding must hold in most readings that
allow a conclusion. A correctly wired meter gives none: see the rules of `angles.py`, which are tested
against random circuits. `wiring_text.py` puts findings into words.
"""

from __future__ import annotations

import enum
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agent.commissioning.angles import (
    DOUBLE,
    Explanation,
    angles,
    explanations,
    is_doubtful,
    is_telling,
    may_be_export,
)
from agent.commissioning.metering import PHASES, MeterReading, Site
from agent.commissioning.quantities import current_faults, power_faults, total_faults, voltage_faults
from agent.model import NAN

MAJORITY = 2 / 3


class Fault(enum.StrEnum):
    """What can be wrong."""

    CT_REVERSED = "ct_reversed"
    ALL_CTS_REVERSED = "all_cts_reversed"
    CURRENTS_SWAPPED = "currents_swapped"
    CURRENTS_ROTATED = "currents_rotated"
    VOLTAGES_SWAPPED = "voltages_swapped"
    SEVERAL_CTS = "several_cts"
    UNEXPLAINED_ANGLES = "unexplained_angles"
    SEQUENCE_REVERSED = "sequence_reversed"
    PHASE_MISSING = "phase_missing"
    NEUTRAL_OPEN = "neutral_open"
    NEUTRAL_ON_PHASE = "neutral_on_phase"
    HIGH_LEG = "high_leg"
    VOLTAGE_RATIO = "voltage_ratio"
    CT_RATIO = "ct_ratio"
    CT_RATING = "ct_rating"
    POWER_RATIO = "power_ratio"
    TOTAL = "total"


class Confidence(enum.IntEnum):
    """How sure: LOW is a hint or one of several possibilities, HIGH has hardly another explanation."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `phases` are 0 to 2; `number` is the fault's own (a ratio, volts).

    `currents` and `reversed_` say what each element gets, where CTs are concerned.
    `reading` is the one that shows it best, `seen_in` of `of` readings show it.
    """

    fault: Fault
    phases: tuple[int, ...]
    confidence: Confidence
    reading: MeterReading
    number: float = NAN
    currents: tuple[int, int, int] = (0, 1, 2)
    reversed_: tuple[bool, bool, bool] = (False, False, False)
    seen_in: int = 1
    of: int = 1


Key = tuple[Fault, tuple[int, ...], tuple[int, int, int], tuple[bool, bool, bool]]


def check(readings: Sequence[MeterReading], site: Site | None = None) -> list[Finding]:
    """What is wrong, the surest first; nothing if all is well or nothing can be concluded."""
    site = site or Site()
    found: dict[Key, list[Finding]] = defaultdict(list)
    told = {"voltage": 0, "angle": 0}
    for reading in readings:
        told["voltage"] += 1
        told["angle"] += is_telling(angles(reading, site))
        for finding in _of_one(reading, site):
            key = (finding.fault, finding.phases, finding.currents, finding.reversed_)
            found[key].append(finding)
    kept = []
    for findings in found.values():
        of = told["angle" if findings[0].fault in _BY_ANGLE else "voltage"]
        if len(findings) >= MAJORITY * of:
            kept.append(_together(findings, of))
    return sorted(kept, key=lambda finding: (-finding.confidence, finding.fault, finding.phases))


_BY_ANGLE = {
    Fault.CT_REVERSED,
    Fault.ALL_CTS_REVERSED,
    Fault.CURRENTS_SWAPPED,
    Fault.CURRENTS_ROTATED,
    Fault.VOLTAGES_SWAPPED,
    Fault.SEVERAL_CTS,
    Fault.UNEXPLAINED_ANGLES,
    Fault.POWER_RATIO,
    Fault.TOTAL,
}


def _together(findings: Sequence[Finding], of: int) -> Finding:
    """The clearest of them; three readings that agree make a doubtful one surer."""
    best = max(findings, key=lambda finding: (finding.confidence, max(finding.reading.current_a)))
    confidence = best.confidence
    if len(findings) >= 3 and confidence is Confidence.MEDIUM:
        confidence = Confidence.HIGH
    return replace(best, confidence=confidence, seen_in=len(findings), of=of)


def _of_one(reading: MeterReading, site: Site) -> Iterator[Finding]:
    voltages = [_plain(fault, reading) for fault in voltage_faults(reading, site)]
    yield from voltages
    yield from (_plain(fault, reading) for fault in current_faults(reading, site))
    yield from (_plain(fault, reading) for fault in total_faults(reading, site))
    ratios = [_plain(fault, reading) for fault in power_faults(reading, site)]
    yield from ratios
    swapped = []
    # Angles between voltages that are not there, or powers of another scale, say nothing.
    if not voltages and not ratios:
        swapped = list(_by_angle(reading, site))
        yield from swapped
    if reading.turns < 0 and not any(each.fault is Fault.VOLTAGES_SWAPPED for each in swapped):
        yield Finding(Fault.SEQUENCE_REVERSED, PHASES, Confidence.HIGH, reading)


def _plain(fault: tuple[str, tuple[int, ...], float, int], reading: MeterReading) -> Finding:
    kind, phases, number, confidence = fault
    return Finding(Fault(kind), phases, Confidence(confidence), reading, number)


def _by_angle(reading: MeterReading, site: Site) -> Iterator[Finding]:
    found = angles(reading, site)
    if not is_telling(found) or not is_doubtful(found, generation=bool(site.generation)):
        return
    explained = explanations(found, reading.turns, generation=bool(site.generation))
    if not explained and not site.generation:
        negative = tuple(k for k in found if reading.active_power_w[k] < 0)
        yield Finding(Fault.UNEXPLAINED_ANGLES, negative or tuple(found), Confidence.LOW, reading)
    for each in explained:
        confidence = _confidence(each, explained, len(found), site)
        if site.generation is None and may_be_export(found):
            confidence = Confidence.LOW
        yield _wires(each, confidence, reading)


def _confidence(each: Explanation, explained: Sequence[Explanation], phases: int, site: Site) -> Confidence:
    if len(explained) > 1 or each.wiring.faults == DOUBLE or phases < 2:
        return Confidence.LOW
    if site.generation or each.misfit > 0.5 or phases < 3:
        return Confidence.MEDIUM
    return Confidence.HIGH


def _wires(each: Explanation, confidence: Confidence, reading: MeterReading) -> Finding:
    wiring = each.wiring
    fault = _fault_of(each)
    if fault is Fault.CURRENTS_SWAPPED and reading.turns < 0:
        # Crossed voltage wires do both: they reverse the sequence and part the currents from them.
        fault = Fault.VOLTAGES_SWAPPED
    return Finding(
        fault, wiring.moved, confidence, reading, currents=wiring.currents, reversed_=wiring.reversed_
    )


def _fault_of(each: Explanation) -> Fault:
    wiring = each.wiring
    if wiring.faults == DOUBLE:
        return Fault.SEVERAL_CTS
    if wiring.currents == PHASES:
        return Fault.ALL_CTS_REVERSED if all(wiring.reversed_) else Fault.CT_REVERSED
    return Fault.CURRENTS_SWAPPED if len(wiring.moved) == 2 else Fault.CURRENTS_ROTATED


def is_usable(reading: MeterReading, site: Site | None = None) -> bool:
    """Whether the reading has load enough to conclude anything from its angles."""
    found = angles(reading, site or Site())
    return is_telling(found) and all(math.isfinite(volts) for volts in reading.voltage_v)
