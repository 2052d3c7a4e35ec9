"""Which wiring explains the angles that a meter sees between its voltages and its currents. Pure.

Each of the three elements of a meter sees a voltage and a current. With the right wires the angle
between them is that of the load (-30 to 60 degrees mostly). A current of another phase adds 120
degrees one way or the other, a reversed transformer 180. So every possible wiring is undone in turn,
and judged by how much the angles that remain look like loads.

Rules, so that nobody is called for nothing.
1. Without generation a doubt begins only where active power is clearly negative, where all three
   phases are strongly capacitive alike, or one is so and another idle. A load between two phases may
   drive one of them to pf 0, but not both ways.
2. With generation power may be negative, and beside capacitors strongly capacitive: only a strongly
   capacitive phase next to one beyond 85 degrees raises a doubt, and only swapped currents are looked
   for. A reversed transformer cannot be told from export: check again while nothing feeds in.
3. Near pf 0 on every phase (capacitors, idle motors) nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from agent.commissioning.metering import PHASES, MeterReading, Site

COSINE_MIN = 0.2  # less is pf 0, whose sign means nothing
REJECTED = 1.3
REJECTED_WITH_GENERATION = 0.1  # export may look like much: only clear cases
AMBIGUOUS_WITHIN = 0.4
SINGLE, DOUBLE = 1, 2


class Wiring(NamedTuple):
    """`currents[k]`: the phase whose current element k gets; `reversed_[k]`: the wrong way round."""

    currents: tuple[int, int, int]
    reversed_: tuple[bool, bool, bool]

    @property
    def faults(self) -> int:
        """How many things were done wrong: crossed or rotated wires, each reversal, or all three."""
        crossed = self.currents != PHASES
        turned = 1 if all(self.reversed_) else sum(self.reversed_)
        return crossed + turned

    @property
    def moved(self) -> tuple[int, ...]:
        """The elements that do not get what they should."""
        return tuple(k for k in PHASES if self.currents[k] != k or self.reversed_[k])


class Explanation(NamedTuple):
    """A wiring and how badly the angles fit it: 0 is a perfect load on every phase, REJECTED none."""

    wiring: Wiring
    sequence: int
    misfit: float


RIGHT = Wiring((0, 1, 2), (False, False, False))
_SWAPS = ((1, 0, 2), (0, 2, 1), (2, 1, 0))
_ROTATIONS = ((1, 2, 0), (2, 0, 1))


def _wirings() -> Iterator[Wiring]:
    for currents in ((0, 1, 2), *_SWAPS, *_ROTATIONS):
        for signs in product((False, True), repeat=3):
            wiring = Wiring(currents, (signs[0], signs[1], signs[2]))
            if 1 <= wiring.faults <= DOUBLE:
                yield wiring


WIRINGS = tuple(_wirings())


class Angle(NamedTuple):
    """The angle of an element's apparent power, degrees; without reactive power its sign is unknown."""

    deg: float
    signed: bool

    def turned_back(self, by_deg: float) -> tuple[float, ...]:
        """What remains when `by_deg` is taken off, -180 to 180: one angle, or the two it may be."""
        both = (self.deg,) if self.signed else (self.deg, -self.deg)
        return tuple((deg - by_deg + 180) % 360 - 180 for deg in both)


def angles(reading: MeterReading, site: Site) -> dict[int, Angle]:
    """The angle of each element that carries enough current to have one."""
    most_a = max((amps for amps in reading.current_a if math.isfinite(amps)), default=0.0)
    # Where generation nearly covers a phase, what is left over has any angle.
    least_a = max(site.current_min_a, (0.3 if site.generation else 0.03) * most_a)
    if not math.isnan(site.ct_primary_a):
        least_a = max(least_a, 0.01 * site.ct_primary_a)
    found = {}
    for k in PHASES:
        volts, amps, watts = reading.voltage_v[k], reading.current_a[k], reading.active_power_w[k]
        if not (amps >= least_a and volts > 0 and math.isfinite(watts)):
            continue
        var = reading.reactive_power_var[k]
        if math.isfinite(var):
            if math.hypot(watts, var) > 0.02 * volts * amps:
                found[k] = Angle(math.degrees(math.atan2(var, watts)), signed=True)
        else:
            cosine = max(-1.0, min(1.0, watts / (volts * amps)))
            found[k] = Angle(math.degrees(math.acos(cosine)), signed=False)
    return found


def is_doubtful(found: dict[int, Angle], *, generation: bool) -> bool:
    """Whether the angles cannot be those of a load (or of generation) wired rightly."""
    if generation:
        degs = [angle.deg for angle in found.values() if angle.signed]
        return any(-150 < deg < -60 for deg in degs) and any(deg > 85 for deg in degs)
    if any(math.cos(math.radians(angle.deg)) < -COSINE_MIN for angle in found.values()):
        return True
    degs = [angle.deg for angle in found.values() if angle.signed]
    if degs and min(degs) < -55 and max(degs) > 85:
        return True
    return len(degs) == 3 and all(-80 < deg < -60 for deg in degs) and max(degs) - min(degs) < 15


def may_be_export(found: dict[int, Angle]) -> bool:
    """Whether every phase looks like a load, or like one with generation beside it."""
    return all(-60 < angle.deg < 195 or angle.deg < -165 or (not angle.signed) for angle in found.values())


def is_telling(found: dict[int, Angle]) -> bool:
    """Whether some phase is far enough from pf 0 for a conclusion."""
    return any(abs(math.cos(math.radians(angle.deg))) >= COSINE_MIN for angle in found.values())


def explanations(found: dict[int, Angle], turns: float, *, generation: bool) -> list[Explanation]:
    """The wirings that explain the angles, the best first: several if they explain about as well.

    `turns`: the phase sequence if it is known. If not, the usual one is tried first, then the reversed
    one, which is also what a meter looks like that counts lagging reactive power as negative.
    """
    sequences: Sequence[int] = (1, -1) if math.isnan(turns) else (int(turns),)
    for faults in (SINGLE,) if generation else (SINGLE, DOUBLE):
        for sequence in sequences:
            fitting = _fitting(found, faults, sequence, generation=generation)
            if fitting:
                return [each for each in fitting if each.misfit < fitting[0].misfit + AMBIGUOUS_WITHIN]
    return []


def _fitting(found: dict[int, Angle], faults: int, sequence: int, *, generation: bool) -> list[Explanation]:
    judged = [
        Explanation(wiring, sequence, _misfit(found, wiring, sequence, generation=generation))
        for wiring in WIRINGS
        if wiring.faults == faults
        and any(k in found for k in wiring.moved)
        and (wiring.currents in _SWAPS or not generation)
    ]
    most = REJECTED_WITH_GENERATION if generation else REJECTED
    return sorted((each for each in judged if each.misfit < most), key=lambda each: each.misfit)


def _misfit(found: dict[int, Angle], wiring: Wiring, sequence: int, *, generation: bool) -> float:
    """How little the loads that this wiring would mean look like loads."""
    best = _of_loads(found, wiring, sequence, feeding_in=False)
    if generation:
        best = min(best, _of_loads(found, wiring, sequence, feeding_in=True))
    rare = 0.15 if wiring.currents in _ROTATIONS or all(wiring.reversed_) else 0.0
    return best + rare


def _of_loads(found: dict[int, Angle], wiring: Wiring, sequence: int, *, feeding_in: bool) -> float:
    """The worst phase counts most; phases unlike each other count a little."""
    loads = []
    for k, angle in found.items():
        shift_deg = 120.0 * sequence * (wiring.currents[k] - k) + 180.0 * wiring.reversed_[k]
        turned = angle.turned_back(shift_deg + 180.0 * feeding_in)
        # While active power is fed in, the reactive power of the loads is still drawn.
        loads.append(min((-deg if feeding_in else deg for deg in turned), key=strangeness))
    spread_deg = max(loads) - min(loads)
    return max(map(strangeness, loads)) + spread_deg / 300


def strangeness(load_deg: float) -> float:
    """0 for the angle of a usual load (-25 to 55 degrees), 1 for one rarely seen (-55, 85), then more."""
    return max(0.0, abs(load_deg - 15) - 40) / 30
