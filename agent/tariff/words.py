"""A tariff in words: what one day costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date

import numpy as np

from agent.localtime import Floats, day_ms, local_ms, minute_of_day
from agent.tariff.demand import demand_terms
from agent.tariff.posts import POSTS, post_codes
from agent.tariff.prices import prices
from agent.tariff.tariff import Tariff

_QUARTER_S = 900


def describe(tariff: Tariff, day: date) -> Iterator[str]:
    """What a day costs, in lines: the head, one line for each stretch of one price, the demand prices."""
    from_ms, to_ms = day_ms(day, tariff.zone)
    flag, is_known = tariff.flag_of(f"{day:%Y-%m}")
    yield f"{tariff.id}: {tariff.file.label} ({tariff.file.modality}), {day}, {tariff.file.timezone}"
    yield f"source: {tariff.file.source}"
    if tariff.file.example:
        yield "example prices: put the figures of your bill into a file of your own"
    if not tariff.covers(from_ms):
        yield f"no table of this day, the one of {tariff.file.version[0].valid_from} stands in"
    if tariff.file.flags:
        yield f"flag: {flag}{'' if is_known else ' (assumed, this month is not in flags.toml)'}"
    steps = (to_ms - from_ms) // (_QUARTER_S * 1000)
    yield from _stretches(tariff, from_ms, prices(tariff, from_ms, steps, _QUARTER_S))
    for term in demand_terms(tariff, from_ms, steps, _QUARTER_S):
        price = f"{term.price_brl_kw:.2f} R$/kW, contract {term.contracted_kw:g} kW"
        limit_kw = term.contracted_kw * term.tolerance
        yield f"demand {term.window:9} {price}, overshoot above {limit_kw:g} kW"


def _stretches(tariff: Tariff, from_ms: int, brl_kwh: Floats) -> Iterator[str]:
    times_ms = from_ms + np.arange(brl_kwh.size + 1, dtype=np.int64) * _QUARTER_S * 1000
    codes = post_codes(tariff, times_ms[:-1])
    cuts = np.flatnonzero((np.diff(codes) != 0) | (np.abs(np.diff(brl_kwh)) > 1e-12)) + 1
    for begin, end in itertools.pairwise([0, *cuts.tolist(), brl_kwh.size]):
        minutes = minute_of_day(local_ms(times_ms[[begin, end]], tariff.zone)).tolist()
        post = POSTS[codes[begin]].name.lower()
        yield f"{_clock(minutes[0])}-{_clock(minutes[1] or 1440)}  {post:12} {brl_kwh[begin]:.4f} R$/kWh"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
