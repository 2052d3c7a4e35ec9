"""Reactive excess (energia reativa excedente), hour by hour, as ANEEL resolutions 414/2010 and 1000/2021
charge it. Source: a distributor's page that quotes the former (EDP, "energia reativa, legislação").

    ERE_t = E_t (0.92 / f_t - 1)        kWh billed on top, each hour t whose power factor f_t is below 0.92
    DRE_t = D_t 0.92 / f_t              kW, D_t the mean of the hour; billed is the largest of the month (of
                                        each post) less the billed demand

In the capacitive hours (six in the night, named by the distributor) only capacitive excess counts, in
the others only inductive. Hours that feed in, on the whole, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.localtime import Bools, Floats


@dataclass(frozen=True, slots=True, eq=False)
class ReactiveExcess:
    """By hour, shape (hours,): excess energy in kWh, demand corrected for the power factor in kW (0 where
    the power factor is well), and the power factor itself (NaN without current)."""

    energy_kwh: Floats
    corrected_demand_kw: Floats
    power_factor: Floats


def reactive_excess(
    active_kwh: Floats,
    reactive_kvarh: Floats,
    demand_kw: Floats,
    capacitive_hours: Bools,
    power_factor_min: float = 0.92,
) -> ReactiveExcess:
    """The excess of each hour. `reactive_kvarh` is positive when inductive; `demand_kw` is the hour's
    mean demand; `capacitive_hours` says which hours count capacitive excess. NaN: no excess."""
    apparent = np.hypot(active_kwh, reactive_kvarh)
    with np.errstate(divide="ignore", invalid="ignore"):
        power_factor = np.where(apparent > 0, active_kwh / apparent, np.nan)
        counted = np.where(capacitive_hours, reactive_kvarh < 0, reactive_kvarh > 0)
        low = counted & (active_kwh >= 0) & (power_factor < power_factor_min)
        # E (0.92 / f - 1) written without f: an hour without active energy has f = 0 and a finite excess.
        energy = np.where(low, power_factor_min * apparent - active_kwh, 0.0)
        corrected = np.where(low & (active_kwh > 0), demand_kw * power_factor_min / power_factor, 0.0)
    return ReactiveExcess(energy, np.nan_to_num(corrected, nan=0.0, posinf=0.0), power_factor)
