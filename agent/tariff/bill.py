"""The bill of a cycle, line by line, from what was used.

Rules: energy, flag and taxes are those of each day (a table that changes within the cycle splits the
lines); demand is billed once a cycle, at the mean of its days' prices, under the contract and taxes of
the last day. Amounts have the taxes inside. What could not be known is in `notes`, never left unsaid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from agent.localtime import Bools, Floats, date_of
from agent.tariff.demand import (
    DemandPrice,
    contract_on,
    demand_options,
    demand_prices,
)
from agent.tariff.options import DemandOptions, Flag, TaxOptions
from agent.tariff.posts import POSTS, Post
from agent.tariff.tariff import Tariff, last_begun, with_taxes
from agent.tariff.usage import Usage, joined, usage


@dataclass(frozen=True, slots=True)
class Item:
    """One line. `code`: energy, flag, minimum, demand, unused_demand, overshoot, reactive_energy,
    reactive_demand, public_lighting. `part`: the post, the window or the flag, "" if none.
    `price_brl` is per unit, without taxes; `amount_brl` has them inside."""

    code: str
    part: str
    quantity: float
    unit: str
    price_brl: float
    amount_brl: float


UNITS = {
    "energy": "kWh",
    "flag": "kWh",
    "minimum": "kWh",
    "demand": "kW",
    "overshoot": "kW",
    "reactive_energy": "kWh",
    "reactive_demand": "kW",
}


@dataclass(frozen=True, slots=True)
class Bill:
    """A cycle's lines. `notes`: "flag_assumed:2026-08", "missing_hours:3.5", "older_than_tariff",
    "example_prices", "forecast"."""

    tariff_id: str
    first_day: date
    last_day: date
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()

    @property
    def total_brl(self) -> float:
        """What is to be paid."""
        return sum(item.amount_brl for item in self.items)

    def amount_brl(self, code: str) -> float:
        """The sum of all lines of one code."""
        return sum(item.amount_brl for item in self.items if item.code == code)


@dataclass(frozen=True, slots=True)
class _Span:
    """Days of a cycle with the same prices."""

    rows: Bools
    version: int
    flag: Flag
    flag_brl_kwh: float
    tax: TaxOptions


def bill(tariff: Tariff, used: Usage) -> Bill:
    """What `used` costs. ValueError if it has no day."""
    if not used.days.size:
        raise ValueError("expected at least one day of usage, found none")
    first, last = date_of(int(used.days[0])), date_of(int(used.days[-1]))
    items = (
        *_energy_items(tariff, used),
        *_minimum_items(tariff, used, last),
        *_demand_items(tariff, used, last),
        *_reactive_items(tariff, used, last),
        *_fixed_items(tariff.tax_on(last)),
    )
    return Bill(tariff.id, first, last, items, tuple(_notes(tariff, used, first)))


def forecast_bill(
    tariff: Tariff,
    so_far: Usage,
    rest_from_ms: int,
    rest_kw: Floats,
    rest_kvar: Floats | None = None,
) -> Bill:
    """The bill of the whole cycle: what was used, then 15-minute means still expected from `rest_from_ms`."""
    whole = bill(tariff, joined(so_far, usage(tariff, rest_from_ms, rest_kw, rest_kvar)))
    return Bill(whole.tariff_id, whole.first_day, whole.last_day, whole.items, (*whole.notes, "forecast"))


def _spans(tariff: Tariff, used: Usage) -> Iterator[_Span]:
    versions = [each.valid_from for each in tariff.file.version]
    groups: dict[tuple[int, Flag, float, int], list[int]] = {}
    taxes: dict[int, TaxOptions] = {}
    for row, number in enumerate(used.days):
        day = date_of(int(number))
        tax = tariff.tax_on(day)
        taxes[id(tax)] = tax
        flag = tariff.flag_of(f"{day:%Y-%m}")[0]
        key = (last_begun(versions, day), flag, tariff.flag_brl_kwh(day), id(tax))
        groups.setdefault(key, []).append(row)
    for (version, flag, flag_brl_kwh, tax_id), rows in groups.items():
        yield _Span(np.isin(np.arange(used.days.size), rows), version, flag, flag_brl_kwh, taxes[tax_id])


def _energy_items(tariff: Tariff, used: Usage) -> Iterator[Item]:
    for span in _spans(tariff, used):
        energy_kwh = used.energy_kwh[span.rows].sum(axis=0)
        price = tariff.energy_brl_kwh(span.version)
        for post in POSTS:
            if energy_kwh[post] > 0:
                yield _taxed("energy", post.name.lower(), energy_kwh[post], price[post], span.tax)
        if span.flag_brl_kwh > 0:
            yield _taxed("flag", span.flag, energy_kwh.sum(), span.flag_brl_kwh, span.tax)


def _minimum_items(tariff: Tariff, used: Usage, last: date) -> Iterator[Item]:
    """Group B pays a minimum of kWh (custo de disponibilidade), at the off-peak price."""
    contract = contract_on(tariff, last)
    lacking = (contract.minimum_kwh if contract else 0.0) - float(used.energy_kwh.sum())
    if lacking > 0:
        price = tariff.energy_brl_kwh(tariff.version_on(last))
        yield _taxed("minimum", "", lacking, price[Post.OFF_PEAK], tariff.tax_on(last))


def _demand_items(tariff: Tariff, used: Usage, last: date) -> Iterator[Item]:
    options, tax = demand_options(tariff, last), tariff.tax_on(last)
    if options is None:
        return
    for price in _mean_prices(tariff, used):
        measured_kw = float(used.demand_kw[:, price.posts].max())
        yield from _window_items(price, measured_kw, options, tax)


def _window_items(
    price: DemandPrice, measured_kw: float, options: DemandOptions, tax: TaxOptions
) -> Iterator[Item]:
    window, brl_kw, contracted_kw = price.window, price.price_brl_kw, price.contracted_kw
    yield _taxed("demand", window, measured_kw, brl_kw, tax)
    if measured_kw < contracted_kw:
        amount = with_taxes((contracted_kw - measured_kw) * brl_kw, tax, icms=tax.icms_on_unused_demand)
        yield Item("unused_demand", window, contracted_kw - measured_kw, "kW", brl_kw, amount)
    if measured_kw > contracted_kw * options.tolerance:
        factor = options.overshoot_factor
        yield _taxed("overshoot", window, measured_kw - contracted_kw, factor * brl_kw, tax)


def _mean_prices(tariff: Tariff, used: Usage) -> list[DemandPrice]:
    """The demand prices of the cycle: contract of its last day, price the mean over its days."""
    daily = [demand_prices(tariff, date_of(int(day))) for day in used.days]
    return [
        DemandPrice(
            price.window,
            price.posts,
            price.contracted_kw,
            float(np.mean([each[at].price_brl_kw for each in daily if each])),
        )
        for at, price in enumerate(daily[-1])
    ]


def _reactive_items(tariff: Tariff, used: Usage, last: date) -> Iterator[Item]:
    at = last_begun([each.valid_from for each in tariff.file.version], last)
    options, tax = tariff.file.version[at].reactive, tariff.tax_on(last)
    if options is None:
        return
    energy_kwh = used.reactive_kwh.sum(axis=0)
    for post in POSTS:
        if energy_kwh[post] > 0:
            brl_kwh = options.energy_brl_kwh
            yield _taxed("reactive_energy", post.name.lower(), energy_kwh[post], brl_kwh, tax)
    for price in _mean_prices(tariff, used):
        billed_kw = max(float(used.demand_kw[:, price.posts].max()), price.contracted_kw)
        excess_kw = float(used.corrected_demand_kw[:, price.posts].max()) - billed_kw
        brl_kw = price.price_brl_kw if options.demand_brl_kw is None else options.demand_brl_kw
        if excess_kw > 0:
            yield _taxed("reactive_demand", price.window, excess_kw, brl_kw, tax)


def _fixed_items(tax: TaxOptions) -> Iterator[Item]:
    if tax.public_lighting_brl:
        brl = tax.public_lighting_brl
        yield Item("public_lighting", "", 1.0, "", brl, brl)


def _taxed(code: str, part: str, quantity: float, price_brl: float, tax: TaxOptions) -> Item:
    amount = with_taxes(float(quantity) * float(price_brl), tax)
    return Item(code, part, float(quantity), UNITS[code], float(price_brl), amount)


def _notes(tariff: Tariff, used: Usage, first: date) -> Iterator[str]:
    if tariff.file.example:
        yield "example_prices"
    if first < tariff.file.version[0].valid_from:
        yield "older_than_tariff"
    months = sorted({f"{date_of(int(day)):%Y-%m}" for day in used.days})
    if tariff.file.flags:
        yield from (f"flag_assumed:{month}" for month in months if not tariff.flag_of(month)[1])
    if used.missing_h.sum() > 0:
        yield f"missing_hours:{used.missing_h.sum():g}"
