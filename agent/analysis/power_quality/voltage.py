"""Steady-state voltage: the class of each 10-minute reading, DRP and DRC of a week (PRODIST 8, tensão em
regime permanente).

A reading counts if every phase has one and its interval is not flagged (`events.flagged`); those that do not
count are replaced by later ones until there are 1008. Each index is that of the worst phase, which need not
be the same phase for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent.analysis.power_quality.limits import LOW_VOLTAGE_V_MAX, Between, Limits, VoltageBand
from agent.analysis.power_quality.percentile import first_valid
from agent.localtime import Bools, Floats, Ints

ADEQUATE, PRECARIOUS, CRITICAL, UNKNOWN = 0, 1, 2, -1


@dataclass(frozen=True, slots=True)
class VoltageIndices:
    """DRP and DRC in percent, NaN unless `complete`. `precarious` and `critical` are readings by phase;
    `from_ms` is the first reading, `to_ms` the end of the last (0, 0 without any)."""

    nominal_v: float
    readings: int
    complete: bool
    precarious: tuple[int, ...]
    critical: tuple[int, ...]
    drp_percent: float
    drc_percent: float
    drp_within: bool | None
    drc_within: bool | None
    from_ms: int
    to_ms: int


def band_of(nominal_v: float, between: Between, limits: Limits) -> VoltageBand:
    """The classes of a nominal voltage: its row of the table, or else the per-unit rule."""
    for band in limits.voltage.band:
        if band.between == between and math.isclose(band.nominal_v, nominal_v):
            return band
    per_unit = limits.voltage.low if nominal_v <= LOW_VOLTAGE_V_MAX else limits.voltage.medium
    return VoltageBand(
        nominal_v=nominal_v,
        between=between,
        adequate_v=[nominal_v * each for each in per_unit.adequate_pu],
        precarious_v=[nominal_v * each for each in per_unit.precarious_pu],
    )


def nominal_of(voltage_v: Floats, between: Between, limits: Limits) -> float:
    """The nominal voltage that readings (n, phases) are most likely of, when nobody says; NaN: of none known.

    A phase that is missing does not count, nor do a few readings of an outage.
    """
    live = voltage_v[:, ~np.isnan(voltage_v).all(axis=0)]
    if not live.size:
        return math.nan
    phases = np.nanmedian(live, axis=0)
    about = float(np.median(phases[phases >= phases.max() / 2]))
    known = next(each for each in limits.voltage.nominal if each.between == between)
    for some in (known.usual_v, known.other_v):
        near = min(some, key=lambda each: abs(each - about))
        if abs(near - about) <= limits.voltage.near * near:
            return near
    return math.nan


def classes(voltage_v: Floats, band: VoltageBand) -> Ints:
    """ADEQUATE, PRECARIOUS, CRITICAL or UNKNOWN (NaN) of each reading, same shape. On a limit: the better."""
    found = np.full(voltage_v.shape, CRITICAL, dtype=np.int64)
    found[(voltage_v >= band.precarious_v[0]) & (voltage_v <= band.precarious_v[1])] = PRECARIOUS
    found[(voltage_v >= band.adequate_v[0]) & (voltage_v <= band.adequate_v[1])] = ADEQUATE
    found[np.isnan(voltage_v)] = UNKNOWN
    return found


def voltage_indices(
    start_ms: Ints, rms_v: Floats, valid: Bools, band: VoltageBand, limits: Limits
) -> VoltageIndices:
    """DRP and DRC from 10-minute readings `rms_v` (n, phases) that begin at `start_ms` (n,) in order;
    `valid` (n,) is False for those that are expurgated."""
    known = valid & ~np.isnan(rms_v).any(axis=1)
    at = first_valid(known, limits.window.readings)
    kinds = classes(rms_v[at], band)
    precarious, critical = (kinds == PRECARIOUS).sum(axis=0), (kinds == CRITICAL).sum(axis=0)
    complete = at.size == limits.window.readings
    drp = 100 * float(precarious.max()) / at.size if complete else math.nan
    drc = 100 * float(critical.max()) / at.size if complete else math.nan
    return VoltageIndices(
        nominal_v=band.nominal_v,
        readings=at.size,
        complete=complete,
        precarious=tuple(precarious.tolist()),
        critical=tuple(critical.tolist()),
        drp_percent=drp,
        drc_percent=drc,
        drp_within=drp <= limits.voltage.drp_percent_max if complete else None,
        drc_within=drc <= limits.voltage.drc_percent_max if complete else None,
        from_ms=int(start_ms[at[0]]) if at.size else 0,
        to_ms=int(start_ms[at[-1]]) + limits.window.interval_ms if at.size else 0,
    )


def compensation_percent(indices: VoltageIndices, limits: Limits) -> float:
    """What the distributor would owe of a month's distribution charge (EUSD) with these, low voltage:
    (DRP - 3 %) k1 + (DRC - 0.5 %) k2, each only beyond its limit. NaN unless complete, and above 1 kV, whose
    factors we have not. Indicative only."""
    if not indices.complete or indices.nominal_v > LOW_VOLTAGE_V_MAX:
        return math.nan
    rules = limits.voltage
    drp_beyond = max(indices.drp_percent - rules.drp_percent_max, 0.0)
    drc_beyond = max(indices.drc_percent - rules.drc_percent_max, 0.0)
    return drp_beyond * rules.drp_compensation + drc_beyond * rules.drc_compensation
