"""Voltage distortion (PRODIST 8, distorção harmônica): DTT and its even, odd and triple parts, and the value
of each that 5 % of the readings exceed, worst phase.

    DTT all orders from 2;  DTTp even, not triple;  DTTi odd, not triple;  DTT3 triple (3, 6, 9, ...)

A meter that gives only its THD gives DTT; the parts need the single harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.analysis.power_quality.limits import LOW_VOLTAGE_V_MAX, Limits
from agent.analysis.power_quality.percentile import Exceeded, exceeded_in_5_percent
from agent.localtime import Bools, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Distortion:
    """Percent of the fundamental; each of shape (...), the orders summed away."""

    total_percent: Floats
    even_percent: Floats
    odd_percent: Floats
    triple_percent: Floats


@dataclass(frozen=True, slots=True)
class DistortionIndices:
    """DTT95, DTTp95, DTTi95, DTT395; the last three None where the meter gives no single harmonics."""

    total: Exceeded
    even: Exceeded | None = None
    odd: Exceeded | None = None
    triple: Exceeded | None = None


def distortion(harmonics_percent: Floats) -> Distortion:
    """From harmonics (..., orders) in percent of the fundamental, the first being order 2. A harmonic that
    the meter does not give counts as absent (NaN is no distortion), a row without any stays NaN."""
    order = np.arange(2, 2 + harmonics_percent.shape[-1])
    triple = order % 3 == 0
    even, odd = (order % 2 == 0) & ~triple, (order % 2 == 1) & ~triple
    unknown = np.isnan(harmonics_percent).all(axis=-1)

    def part(chosen: Bools) -> Floats:
        root = np.sqrt(np.nansum(harmonics_percent[..., chosen] ** 2, axis=-1))
        return np.where(unknown, np.nan, root)

    return Distortion(part(order > 0), part(even), part(odd), part(triple))


def dtt95(
    total_percent: Floats,
    valid: Bools,
    nominal_v: float,
    limits: Limits,
    parts: Distortion | None = None,
) -> DistortionIndices:
    """From 10-minute values (n, phases); `parts` (n, phases) where the single harmonics are known."""
    table = limits.harmonics.low if nominal_v <= LOW_VOLTAGE_V_MAX else limits.harmonics.medium

    def worst(values: Floats, limit: float) -> Exceeded:
        by_phase = [exceeded_in_5_percent(each, valid, limits.window.readings, limit) for each in values.T]
        return max(by_phase, key=lambda each: (each.readings > 0, each.complete, each.value))

    total = worst(total_percent, table.total_percent_max)
    if parts is None:
        return DistortionIndices(total)
    return DistortionIndices(
        total,
        worst(parts.even_percent, table.even_percent_max),
        worst(parts.odd_percent, table.odd_percent_max),
        worst(parts.triple_percent, table.triple_percent_max),
    )
