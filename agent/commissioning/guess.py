"""What unknown registers may mean: every type and byte order tried, ranked by how likely the value is. Pure.

Rules.
1. A value alone proves little: 220.3 as a 32-bit float is hardly chance, 2203 in a 16-bit register may be.
   So each guess has a weight by how rarely random registers look so.
2. Values confirm each other: power is volts x amperes x power factor (`relations.py`), neighbours
   share their coding, an energy counter grows as fast as the power says (with a second sample).
3. It ranks, with reasons, and never decides: the technician compares with the display.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.commissioning.relations import relations
from agent.commissioning.views import Hit, View, views
from agent.drivers.modbus.codec import Order, Type, words

VOLTS = (127.0, 220.0, 380.0)
HERTZ = (50.0, 60.0)
ORDINARY_V = (115.0, 120.0, 127.0, 220.0, 230.0, 240.0, 380.0, 400.0)
MAINS_SCALES = (1.0, 0.1, 0.01, 0.001)
USUAL = {1.0: -0.4, 0.1: 0.7, 0.01: 0.3, 0.001: 0.0}  # tenths of a volt are the custom
ALIGNED = 0.5  # a list of 32-bit values is read from its first one on
HALF = 3.0  # the weight that is a score of one half


class Guess(NamedTuple):
    """A possible meaning of the registers from `address` on; `score` is 0 to 1, the reasons in English.

    value = raw x scale, in `unit`.
    """

    address: int
    type: Type
    order: Order
    scale: float
    value: float
    unit: str
    quantity: str
    score: float
    reasons: tuple[str, ...]


def guess(
    registers: Sequence[int],
    address: int = 0,
    *,
    later: Sequence[int] = (),
    seconds: float = 0.0,
    most: int = 40,
) -> list[Guess]:
    """What 16-bit `registers` read from `address` on may mean, the likeliest first, at most `most`.

    `later`: the same registers read `seconds` after, to find the counters.
    """
    seen = list(views(registers))
    hits = [hit for view in seen for hit in (*_voltages(view), *_frequencies(view), *_factors(view))]
    hits += relations(seen, [hit for hit in hits if hit.quantity == "voltage"], hits)
    if later and seconds > 0:
        hits += _counters(seen, list(views(later)), seconds, _watts(hits))
    return _ranked(hits, address)[:most]


def _voltages(view: View) -> Iterator[Hit]:
    for scale in view.scales(MAINS_SCALES):
        for at, raw in view.raws.items():
            value = raw * scale
            near = min(VOLTS, key=lambda nominal: abs(value / nominal - 1))
            if abs(value / near - 1) > 0.2:
                continue
            close = min(abs(value / nominal - 1) for nominal in ORDINARY_V) < 0.04
            usual = 0.5 if view.is_float else USUAL[scale]
            weight = view.rarity(raw) + (1.0 if close else 0.0) + usual
            yield Hit(view, at, scale, "voltage", "V", weight, f"within 20 % of {near:g} V")


def _frequencies(view: View) -> Iterator[Hit]:
    for scale in view.scales(MAINS_SCALES):
        for at, raw in view.raws.items():
            value = raw * scale
            near = min(HERTZ, key=lambda nominal: abs(value - nominal))
            if abs(value - near) > 1.0 or (scale == 1.0 and not view.is_float):
                continue
            exact = 1.0 if abs(value - near) < 0.2 else 0.0
            weight = view.rarity(raw) + 0.5 + exact
            yield Hit(view, at, scale, "frequency", "Hz", weight, f"a mains frequency, {near:g} Hz")


def _factors(view: View) -> Iterator[Hit]:
    for scale in view.scales((0.01, 0.001)):
        for at, raw in view.raws.items():
            if 0.3 <= abs(raw * scale) <= 1.0:
                weight = 0.2 * view.rarity(raw)
                yield Hit(view, at, scale, "power_factor", "", weight, "may be a power factor")


def _watts(hits: Sequence[Hit]) -> float:
    """The power that the relations found, to hold counters against; NaN if none."""
    found = [hit for hit in hits if hit.quantity in ("active_power", "active_power_total")]
    if not found:
        return math.nan
    best = max(found, key=lambda hit: (hit.quantity == "active_power_total", hit.weight))
    return abs(best.value)


WATT_HOURS = (1.0, 10.0, 100.0, 1000.0, 0.1)
ENERGY_KWH_MAX = 1e7
COUNTER_WEIGHTS = {1: 0.8, 2: 1.6, 4: 0.6}  # by words: most counters have 32 bits


def _counters(before: Sequence[View], after: Sequence[View], seconds: float, watts: float) -> Iterator[Hit]:
    """Whole numbers and floats that grew a little, and perhaps just as much as the power says."""
    for view, then in zip(before, after, strict=True):
        for at, raw in view.raws.items():
            grown = then.raws.get(at, raw) - raw
            if raw <= 0 or not 0 < grown <= max(raw * 0.005, 2) or grown < raw * 1e-9:
                continue
            weight = COUNTER_WEIGHTS[view.words] + (0.3 if view.is_float else 0.0)
            hit = Hit(view, at, 1.0, "energy", "", weight, f"grew by {grown:g}")
            yield _as_energy(hit, grown, watts * seconds / 3600)


def _as_energy(hit: Hit, grown: float, expected_wh: float) -> Hit:
    """The counter with its unit, if it grew as the power says (to within its own step)."""
    if not expected_wh > 0:
        return hit
    step = 0.0 if hit.view.is_float else 1.0
    for wh in WATT_HOURS:
        if hit.view.raws[hit.at] * wh / 1000 > ENERGY_KWH_MAX or grown < 3 * step:
            continue
        if abs(grown * wh - expected_wh) <= 0.15 * expected_wh + step * wh:
            reason = f"{hit.reason}: {grown * wh:g} Wh where the power gives {expected_wh:.3g} Wh"
            return hit._replace(scale=wh / 1000, unit="kWh", weight=hit.weight + 3, reason=reason)
    return hit


def _ranked(hits: Sequence[Hit], address: int) -> list[Guess]:
    """One guess per place and coding: its best meaning, with every reason for it."""
    support = _support(hits)
    gathered: dict[tuple[int, Type, Order, float, str], list[Hit]] = {}
    for hit in hits:
        key = (hit.at, hit.view.type, hit.view.order, hit.scale, hit.quantity)
        gathered.setdefault(key, []).append(hit)
    best: dict[tuple[int, str, str], Guess] = {}
    for (at, kind, order, scale, quantity), same in gathered.items():
        others = support.get((kind, order), 0) - 1
        chosen = [_heaviest(same, confirms=False), _heaviest(same, confirms=True)]
        weight = sum(hit.weight for hit in chosen if hit) + 0.3 * min(max(others, 0), 6)
        reasons = tuple(hit.reason for hit in chosen if hit)
        if same[0].view.is_float and at % same[0].view.words == 0:
            weight += ALIGNED
        if others > 0:
            reasons += (f"{others} others are likely in {kind} {order}",)
        score = round(weight / (weight + HALF), 3)
        first = same[0]
        made = Guess(address + at, kind, order, scale, first.value, first.unit, quantity, score, reasons)
        if (at, kind, order) not in best or best[at, kind, order].score < score:
            best[at, kind, order] = made
    return sorted(_with_rivals(sorted(best.values(), key=_place_in_list)), key=_place_in_list)


def _place_in_list(each: Guess) -> tuple[float, int, str, str]:
    return -each.score, each.address, each.type, each.order


def _with_rivals(ranked: Sequence[Guess]) -> Iterator[Guess]:
    """Registers hold one value: a guess that shares some with a likelier one is less likely."""
    taken: set[int] = set()
    for each in ranked:
        places = set(range(each.address, each.address + words(each.type)))
        if places & taken:
            yield each._replace(score=round(each.score * 0.8, 3))
        else:
            yield each
            taken |= places


def _heaviest(hits: Sequence[Hit], *, confirms: bool) -> Hit | None:
    """The best reason of its sort: several relations by chance must not add up."""
    return max((hit for hit in hits if hit.confirms is confirms), key=lambda hit: hit.weight, default=None)


def _support(hits: Sequence[Hit]) -> dict[tuple[str, str], int]:
    """How many places hold a mains voltage or frequency, or fit a relation, in each coding."""
    places: dict[tuple[str, str], set[int]] = {}
    for hit in hits:
        if hit.quantity != "power_factor" and hit.weight >= 1:
            places.setdefault((hit.view.type, hit.view.order), set()).add(hit.at)
    return {coding: len(at) for coding, at in places.items()}
