"""What a three-phase meter says at one instant, and what is known of the site. Pure data.

A triple is always L1, L2, L3. NaN means: not known. Active power is positive when the site consumes;
reactive power is positive when the current lags (a motor).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agent.model import NAN

Triple = tuple[float, float, float]
UNKNOWN: Triple = (NAN, NAN, NAN)
PHASES = (0, 1, 2)
PHASE_NAMES = ("L1", "L2", "L3")


@dataclass(frozen=True, slots=True)
class MeterReading:
    """V between each phase and neutral, A, W, var. `sequence`: 1 is L1-L2-L3, -1 reversed."""

    voltage_v: Triple
    current_a: Triple
    active_power_w: Triple
    reactive_power_var: Triple = UNKNOWN
    power_factor: Triple = UNKNOWN
    line_voltage_v: Triple = UNKNOWN  # L1-L2, L2-L3, L3-L1
    voltage_angle_deg: Triple = UNKNOWN
    sequence: float = NAN
    total_active_power_w: float = NAN
    total_reactive_power_var: float = NAN

    @property
    def turns(self) -> float:
        """The phase sequence as far as the meter tells: 1, -1 or NaN."""
        if not math.isnan(self.sequence):
            return math.copysign(1, self.sequence) if self.sequence else NAN
        step_deg = (self.voltage_angle_deg[1] - self.voltage_angle_deg[0]) % 360
        if 90 < step_deg < 150:
            return -1.0
        return 1.0 if 210 < step_deg < 270 else NAN


@dataclass(frozen=True, slots=True)
class Site:
    """What the technician knows. `clamp_a`: currents measured beside the meter, at the same time.

    `generation`: whether something here can feed in (PV, a generator, a regenerative lift). Where
    nobody said, what may be export is only hinted at.
    """

    generation: bool | None = None
    nominal_v: float = NAN  # phase to neutral
    ct_primary_a: float = NAN
    clamp_a: Triple = UNKNOWN
    current_min_a: float = 0.1  # less is noise: nothing is concluded from it


def reading_of(values: Mapping[str, float]) -> MeterReading:
    """A reading from the points of a profile: `voltage_l1`, `current_l1`, `active_power_l1`, ...

    An angle per phase (`phase_angle_l1`, degrees, lagging positive) stands in for reactive power.
    """

    def triple(noun: str, suffixes: tuple[str, str, str] = ("l1", "l2", "l3")) -> Triple:
        first, second, third = (values.get(f"{noun}_{suffix}", NAN) for suffix in suffixes)
        return first, second, third

    voltage_v, current_a, angle_deg = triple("voltage"), triple("current"), triple("phase_angle")
    reactive_power_var = triple("reactive_power")
    if all(map(math.isnan, reactive_power_var)):
        first, second, third = (
            voltage_v[at] * current_a[at] * math.sin(math.radians(angle_deg[at])) for at in PHASES
        )
        reactive_power_var = first, second, third
    return MeterReading(
        voltage_v=voltage_v,
        current_a=current_a,
        active_power_w=triple("active_power"),
        reactive_power_var=reactive_power_var,
        power_factor=triple("power_factor"),
        line_voltage_v=triple("voltage", ("l1_l2", "l2_l3", "l3_l1")),
        voltage_angle_deg=triple("voltage_angle"),
        sequence=values.get("phase_sequence", NAN),
        total_active_power_w=values.get("active_power", NAN),
        total_reactive_power_var=values.get("reactive_power", NAN),
    )
