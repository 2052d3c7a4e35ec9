"""What one more kWh costs, step by step: the array an optimiser works on."""

from __future__ import annotations

import numpy as np

from agent.localtime import DAY_MS, Floats, Ints, date_of, local_ms
from agent.tariff.posts import expect_steps, post_codes, version_at
from agent.tariff.tariff import Tariff, with_taxes

_SLICE_S = 300  # posts change on quarters of an hour: steps that do not begin on one are cut finer


def prices(tariff: Tariff, from_ms: int, steps: int, step_s: int) -> Floats:
    """R$/kWh of each of `steps` steps of `step_s` seconds from `from_ms` on: energy (TUSD + TE), flag and
    taxes; shape (steps,). A step over a change of post has the mean price of its parts.

    ValueError on steps that are not 1 to 1 000 000, or shorter than a second.
    """
    expect_steps(steps, step_s)
    parts = -(-step_s // _SLICE_S)
    part_ms = step_s * 1000 / parts
    middles = from_ms + (np.arange(steps * parts) + 0.5) * part_ms
    fine = prices_at(tariff, middles.astype(np.int64))
    return np.asarray(fine.reshape(steps, parts).mean(axis=1), dtype=np.float64)


def prices_at(tariff: Tariff, times_ms: Ints) -> Floats:
    """R$/kWh with flag and taxes at each instant."""
    local = local_ms(times_ms, tariff.zone)
    table = np.array([tariff.energy_brl_kwh(at) for at in range(len(tariff.file.version))])
    bare = table[version_at(tariff, local), post_codes(tariff, times_ms)]
    days, at = np.unique(local // DAY_MS, return_inverse=True)
    flag = np.array([tariff.flag_brl_kwh(date_of(int(day))) for day in days])
    factor = np.array([with_taxes(1.0, tariff.tax_on(date_of(int(day)))) for day in days])
    return np.asarray((bare + flag[at]) * factor[at], dtype=np.float64)
