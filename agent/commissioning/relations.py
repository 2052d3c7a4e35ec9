"""Values that confirm each other: amperes, watts and power factors around a known voltage. Pure.

power = volts x amperes x power factor, to within the steps of the registers. Three phases at once, whose
sum is a fourth value, or whose power factors are there too, are hardly chance; a single phase counts
only among near neighbours. Amperes and watts are looked for in one coding (type, order, scale).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.commissioning.views import Hit, View

AMPERE_SCALES = (0.001, 0.01, 0.1, 1.0)
POWER_SCALES = (0.1, 1.0, 0.01, 10.0)
KILOWATTS = (1.0, 1000.0)
NEAR_WORDS, NEAR_FLOAT_WORDS = 14, 40
AMPERES, WATTS = (0.02, 6000.0), (0.5, 1e7)
VOLTAGES_MAX, FACTORS_MAX = 8, 400


class _Series(NamedTuple):
    """Three values of one coding, a step apart; or one (`at` of length 1)."""

    at: tuple[int, ...]
    values: tuple[float, ...]
    steps: tuple[float, ...]  # of the last digit, relative


def relations(seen: Sequence[View], voltages: Sequence[Hit], hits: Sequence[Hit]) -> list[Hit]:
    """Meanings that follow from the likeliest voltages; the voltages themselves are confirmed too."""
    found: list[Hit] = []
    factors = [hit for hit in hits if hit.quantity == "power_factor"][:FACTORS_MAX]
    for triple in _voltage_series(voltages, 3):
        found += _around(triple, seen, factors)
    if not found:
        for single in _voltage_series(voltages, 1):
            found += _around(single, seen, factors)
    return found


def _voltage_series(voltages: Sequence[Hit], count: int) -> list[list[Hit]]:
    """Voltages of one coding and a step apart, alike to 20 %; the likeliest first."""
    by_place = {(hit.view.type, hit.view.order, hit.scale, hit.at): hit for hit in voltages}
    series = []
    for (kind, order, scale, at), hit in by_place.items():
        wanted = [by_place.get((kind, order, scale, at + n * hit.view.words)) for n in range(count)]
        whole = [each for each in wanted if each is not None]
        if len(whole) == count and max(h.value for h in whole) < 1.2 * min(h.value for h in whole):
            series.append(whole)
    return sorted(series, key=lambda each: -sum(hit.weight for hit in each))[:VOLTAGES_MAX]


class _Search(NamedTuple):
    """Where amperes and watts are looked for: around these volts, in this view and these scales."""

    volts: Sequence[Hit]
    view: View
    ampere_scale: float
    watt_scale: float
    factors: Sequence[Hit]

    @property
    def alone(self) -> bool:
        """One phase of whole numbers proves little: it must be in the usual order too."""
        return len(self.volts) == 1 and not self.view.is_float


def _around(volts: Sequence[Hit], seen: Sequence[View], factors: Sequence[Hit]) -> Iterator[Hit]:
    for view in seen:
        if view.words > 2 or view.is_float != volts[0].view.is_float or not _alike(view, volts[0].view):
            continue
        for ampere_scale in view.scales(AMPERE_SCALES):
            for watt_scale in view.scales(POWER_SCALES, KILOWATTS):
                yield from _found(_Search(volts, view, ampere_scale, watt_scale, factors))


def _alike(view: View, other: View) -> bool:
    """Whether both could be of one device: the same order; a single register has only that of its bytes."""
    if view.words == 1 or other.words == 1:
        swapped = ("BADC", "DCBA")
        return (view.order in swapped) == (other.order in swapped)
    return view.order == other.order


def _found(search: _Search) -> Iterator[Hit]:
    volts, view = search.volts, search.view
    taken = {hit.at + n for hit in volts for n in range(hit.view.words)}
    for amperes in _series(search, search.ampere_scale, AMPERES, taken):
        occupied = taken | {place + n for place in amperes.at for n in range(view.words)}
        for watts in _series(search, search.watt_scale, WATTS, occupied):
            if search.alone and not volts[0].at < amperes.at[0] < watts.at[0]:
                continue
            yield from _judged(search, amperes, watts)


def _series(search: _Search, scale: float, bounds: tuple[float, float], taken: set[int]) -> Iterator[_Series]:
    """Runs of as many values as there are volts, within bounds, not far from them, in free registers."""
    view, count, near = search.view, len(search.volts), search.volts[0].at
    reach = NEAR_WORDS if search.alone else NEAR_FLOAT_WORDS
    for at in view.raws:
        places = tuple(at + n * view.words for n in range(count))
        if abs(at - near) > reach or not all(place in view.raws for place in places):
            continue
        values = tuple(view.raws[place] * scale for place in places)
        if not all(bounds[0] <= abs(value) <= bounds[1] for value in values):
            continue
        if not any(place + n in taken for place in places for n in range(view.words)):
            steps = tuple(1e-6 if view.is_float else 0.5 / abs(view.raws[place]) for place in places)
            yield _Series(places, values, steps)


def _judged(search: _Search, amperes: _Series, watts: _Series) -> Iterator[Hit]:
    """The meanings of both, if their quotients are power factors and something confirms it."""
    ratios = [
        power / (volt.value * amps)
        for power, volt, amps in zip(watts.values, search.volts, amperes.values, strict=True)
    ]
    steps = [sum(pair) for pair in zip(watts.steps, amperes.steps, strict=True)]
    if max(map(abs, ratios)) > 1.02 or min(map(abs, ratios)) < 0.3 or max(steps) > 0.03:
        return
    factors = [_factor(search, watts, *pair) for pair in zip(ratios, steps, strict=True)]
    total = _total(search, watts) if len(ratios) == 3 else None
    if total is None and None in factors:
        return
    yield from _confirmed(search, amperes, watts, factors)
    if total:
        yield total


def _factor(search: _Search, watts: _Series, ratio: float, step: float) -> Hit | None:
    """A power factor that is there and fits the quotient, to within the last digits of all."""
    fitting = [
        hit
        for hit in search.factors
        if abs(hit.value / ratio - 1) <= 0.006 + step + 0.5 * hit.scale / abs(ratio) * (not hit.view.is_float)
        and hit.view.is_float == search.view.is_float
        and hit.at > max(watts.at)
        and (hit.view.words == 1 or hit.view.is_float)
    ]
    return min(fitting, key=lambda hit: abs(hit.at - watts.at[0]), default=None)


def _total(search: _Search, watts: _Series) -> Hit | None:
    wanted = math.fsum(watts.values)
    for at, raw in search.view.raws.items():
        if at not in watts.at and abs(raw * search.watt_scale - wanted) <= 0.002 * abs(wanted):
            reason = "the sum of the three powers"
            weight = search.view.rarity(raw) + 3
            return Hit(search.view, at, search.watt_scale, "active_power_total", "W", weight, reason, True)
    return None


def _confirmed(
    search: _Search, amperes: _Series, watts: _Series, factors: Sequence[Hit | None]
) -> Iterator[Hit]:
    view = search.view
    extra = (3.0 if len(search.volts) == 3 else 1.5) + (0.6 if view.words == 2 else 0.0)
    for volt, factor, at, amps, of, power in zip(
        search.volts, factors, amperes.at, amperes.values, watts.at, watts.values, strict=True
    ):
        fits = f"{volt.value:g} V x {amps:.4g} A"
        reason = f"{power:.5g} W fits {fits}"
        known = search.ampere_scale, search.watt_scale
        weights = [view.rarity(view.raws[place]) + extra for place in (at, of)]
        yield volt._replace(weight=extra, reason=reason, confirms=True)
        yield Hit(view, at, known[0], "current", "A", weights[0], reason, confirms=True)
        yield Hit(view, of, known[1], "active_power", "W", weights[1], reason, confirms=True)
        if factor:
            yield factor._replace(weight=1 + extra, reason=f"watts over {fits}", confirms=True)
