"""Voltage unbalance FD = V-/V+ in percent (PRODIST 8, desequilíbrio de tensão) and FD95.

Three ways, best first: phase to phase voltages (exact, the CIGRE formula; the neutral does not matter);
phase voltages with their angles (exact); phase voltages alone, whose angles are taken as 120 degrees (an
estimate: the report says so). A meter's own figure needs none of them.
"""

from __future__ import annotations

import numpy as np

from agent.analysis.power_quality.limits import LOW_VOLTAGE_V_MAX, Limits
from agent.analysis.power_quality.percentile import Exceeded, exceeded_in_5_percent
from agent.localtime import Bools, Floats

_A = np.exp(2j * np.pi / 3)
_NOMINAL_DEG = np.array([0.0, -120.0, 120.0])


def unbalance_of_lines_percent(line_v: Floats) -> Floats:
    """FD (n,) of the voltages L1-L2, L2-L3, L3-L1 (n, 3). NaN where they form no triangle."""
    squares = line_v**2
    with np.errstate(invalid="ignore", divide="ignore"):
        beta = (squares**2).sum(axis=1) / squares.sum(axis=1) ** 2
        # Equal voltages have beta = 1/3; rounding must not push the root below zero or above one.
        root = np.sqrt(np.clip(3 - 6 * beta, None, 1))
        return np.asarray(100 * np.sqrt((1 - root) / (1 + root)), dtype=np.float64)


def unbalance_of_phases_percent(phase_v: Floats, angle_deg: Floats | None = None) -> Floats:
    """FD (n,) of the voltages to neutral L1, L2, L3 (n, 3) and the angles of their phasors (n, 3), in
    degrees, L2 near -120. Without angles they are taken as 0, -120, 120: an estimate."""
    phasors = phase_v * np.exp(1j * np.deg2rad(_NOMINAL_DEG if angle_deg is None else angle_deg))
    positive = phasors @ np.array([1, _A, _A**2])
    negative = phasors @ np.array([1, _A**2, _A])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(100 * np.abs(negative) / np.abs(positive), dtype=np.float64)


def fd95(unbalance_percent: Floats, valid: Bools, nominal_v: float, limits: Limits) -> Exceeded:
    """FD95 of 10-minute values (n,)."""
    low = nominal_v <= LOW_VOLTAGE_V_MAX
    limit = limits.unbalance.low_percent_max if low else limits.unbalance.medium_percent_max
    return exceeded_in_5_percent(unbalance_percent, valid, limits.window.readings, limit)
