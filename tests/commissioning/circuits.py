"""Circuits in phasors: what a meter with any wiring would read. Independent of the code under test.

Loads are between a phase and neutral or between two phases, as in any building with 127/220 V.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.commissioning.metering import MeterReading, Triple

A = cmath.rect(1, math.radians(-120))  # L2 follows L1 by 120 degrees


@dataclass(frozen=True)
class Load:
    """`watts` at an angle (lagging positive) from phase `a` to phase `b`, or to neutral (`b` -1).

    Watts below zero feed in.
    """

    watts: float
    angle_deg: float
    a: int
    b: int = -1


@dataclass(frozen=True)
class Circuit:
    """Phasors of the three phases: volts to neutral and the currents that the loads draw."""

    volts: tuple[complex, complex, complex]
    amps: tuple[complex, complex, complex]


def three(values: Sequence[float]) -> Triple:
    first, second, third = values
    return first, second, third


def circuit(loads: Sequence[Load], volts: Triple = (127.0, 127.0, 127.0)) -> Circuit:
    phasors = (complex(volts[0]), volts[1] * A, volts[2] * A * A)
    amps = [0j, 0j, 0j]
    for load in loads:
        across = phasors[load.a] - (phasors[load.b] if load.b >= 0 else 0)
        apparent = complex(load.watts, abs(load.watts) * math.tan(math.radians(load.angle_deg)))
        current = (apparent / across).conjugate()
        amps[load.a] += current
        if load.b >= 0:
            amps[load.b] -= current
    return Circuit(phasors, (amps[0], amps[1], amps[2]))


def meter(
    now: Circuit,
    *,
    volts_from: tuple[int, int, int] = (0, 1, 2),
    amps_from: tuple[int, int, int] = (0, 1, 2),
    turned: tuple[bool, bool, bool] = (False, False, False),
    tells_sequence: bool = False,
) -> MeterReading:
    """What a meter reads whose terminals are wired to these phases, its transformers turned round or not."""
    volts = [now.volts[phase] for phase in volts_from]
    amps = [now.amps[phase] * (-1 if turn else 1) for phase, turn in zip(amps_from, turned, strict=True)]
    powers = [volt * amp.conjugate() for volt, amp in zip(volts, amps, strict=True)]
    angles = [math.degrees(cmath.phase(volt)) for volt in volts]
    return MeterReading(
        voltage_v=three([abs(volt) for volt in volts]),
        current_a=three([abs(amp) for amp in amps]),
        active_power_w=three([power.real for power in powers]),
        reactive_power_var=three([power.imag for power in powers]),
        line_voltage_v=three([abs(volts[k] - volts[(k + 1) % 3]) for k in range(3)]),
        voltage_angle_deg=three(angles) if tells_sequence else (math.nan,) * 3,
        total_active_power_w=sum(power.real for power in powers),
        total_reactive_power_var=sum(power.imag for power in powers),
    )


def without_reactive(reading: MeterReading) -> MeterReading:
    """The same from a simpler meter."""
    return replace(reading, reactive_power_var=(math.nan,) * 3)
