"""Demand charges of group A: what is billed for kilowatts, and the step at 105 % of the contract.

Demand is the mean power over a clock interval of 15 minutes. Billed is the larger of measured and
contracted. Measured above `tolerance` times the contract: the whole excess over the contract is billed
again at `overshoot_factor` times the price. That is a step, so an optimiser must not cross it, unless
this cycle has already crossed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from agent.localtime import DAY_MS, Bools, Floats, date_of, local_ms
from agent.tariff.options import ContractOptions, DemandOptions
from agent.tariff.posts import Post, expect_steps, post_codes
from agent.tariff.tariff import Tariff, last_begun, with_taxes

DEMAND_MS = 900_000
ALL, PEAK, OFF_PEAK = "all", "peak", "off_peak"


@dataclass(frozen=True, slots=True, eq=False)
class DemandTerm:
    """One demand price. `mask` (steps,): the steps whose demand counts for it. Prices have taxes inside;
    `unused_brl_kw` is what a contracted kW costs that was not used (no ICMS on it, as a rule)."""

    window: str
    mask: Bools
    contracted_kw: float
    price_brl_kw: float
    unused_brl_kw: float
    tolerance: float
    overshoot_factor: float


@dataclass(frozen=True, slots=True)
class DemandPrice:
    """What a window costs without taxes, and which posts count for it."""

    window: str
    posts: tuple[Post, ...]
    contracted_kw: float
    price_brl_kw: float


def demand_terms(tariff: Tariff, from_ms: int, steps: int, step_s: int) -> tuple[DemandTerm, ...]:
    """The demand charges that steps from `from_ms` on can raise: none in group B, one for verde, two for
    azul. Prices are those of the first step's day. ValueError as for `prices`."""
    expect_steps(steps, step_s)
    times_ms = from_ms + np.arange(steps, dtype=np.int64) * step_s * 1000
    day = date_of(int(local_ms(times_ms[:1], tariff.zone)[0]) // DAY_MS)
    options, tax = demand_options(tariff, day), tariff.tax_on(day)
    if options is None:
        return ()
    codes = post_codes(tariff, times_ms)
    return tuple(
        DemandTerm(
            price.window,
            np.isin(codes, price.posts),
            price.contracted_kw,
            with_taxes(price.price_brl_kw, tax),
            with_taxes(price.price_brl_kw, tax, icms=tax.icms_on_unused_demand),
            options.tolerance,
            options.overshoot_factor,
        )
        for price in demand_prices(tariff, day)
    )


def demand_cost_brl(term: DemandTerm, demand_kw: Floats | float) -> Floats:
    """R$ with taxes of a month whose highest 15-minute demand in the window is `demand_kw`."""
    measured = np.asarray(demand_kw, dtype=np.float64)
    unused = np.maximum(term.contracted_kw - measured, 0)
    excess = np.where(
        measured > term.contracted_kw * term.tolerance,
        np.maximum(measured - term.contracted_kw, 0),
        0,
    )
    billed = measured + term.overshoot_factor * excess
    return np.asarray(billed * term.price_brl_kw + unused * term.unused_brl_kw)


def demand_options(tariff: Tariff, day: date) -> DemandOptions | None:
    """The table of demand prices of a day."""
    return tariff.file.version[tariff.version_on(day)].demand


def contract_on(tariff: Tariff, day: date) -> ContractOptions | None:
    """The contract of a day."""
    tables = tariff.file.contract
    return tables[last_begun([each.valid_from for each in tables], day)] if tables else None


def demand_prices(tariff: Tariff, day: date) -> tuple[DemandPrice, ...]:
    """The demand prices of a day, without taxes."""
    options, contract = demand_options(tariff, day), contract_on(tariff, day)
    if options is None or contract is None:
        return ()
    if tariff.file.modality == "verde":
        return (DemandPrice(ALL, tuple(Post), contract.demand_kw or 0.0, options.single_brl_kw or 0.0),)
    return (
        DemandPrice(PEAK, (Post.PEAK,), contract.peak_demand_kw or 0.0, options.peak_brl_kw or 0.0),
        DemandPrice(
            OFF_PEAK,
            (Post.OFF_PEAK, Post.INTERMEDIATE),
            contract.off_peak_demand_kw or 0.0,
            options.off_peak_brl_kw or 0.0,
        ),
    )
