"""The grey box of a room: one temperature, three memories of it, 15 minutes a step.

Rules: pure. `T' = T + a(out - T) + sum b_i (mem_i - T) + gains(hour) + sun - cooling(power, out)`, with
memories of 45 min (furniture), 3 h and 24 h (walls): without the first a start cools too slowly in its first
minutes. It is linear in what is learned, and in temperatures and powers: a plan is a linear programme.
Cooling has two slopes, the first kilowatts cool more than the last (inverters at part load): concave.

This file is the box in plain numbers, one quarter at a time, for the process that is always there; in
`grey_box` it is arrays, for who learns and plans.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.control.history import OCCUPIED, OUTDOOR, POWER, QUARTER, SUN_W_M2, TEMPERATURE, History
from agent.control.room import QUARTERS_PER_DAY

MEMORY_H = (0.75, 3.0, 24.0)
MEMORY_DAYS = 4
FOLLOW = tuple(1 - math.exp(-0.25 / hours) for hours in MEMORY_H)
DAY_HATS, OPEN_HATS = 12, 8
# Places in the vector of what is learned.
OUT = 0
MEM = slice(1, 4)
DAY = slice(4, 4 + DAY_HATS)
OPEN = slice(DAY.stop, DAY.stop + OPEN_HATS)
SUN = OPEN.stop
COOL1, COOL2, COOL_OUT = SUN + 1, SUN + 2, SUN + 3
SIZE = SUN + 4
KNEE, LOAD_MAX = 0.5, 1.1
OUT_REFERENCE_C = 30.0
# What the model missed lately says how the next hours differ: how fast it is believed, how it fades.
SURPRISE_SHARE, SURPRISE_FADE, SURPRISE_K_MAX, MISS_K_MAX = 0.25, 10.0, 0.3, 0.8

Memory = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Model:
    """What was learned of a room. `max_w`: what its units draw at full load, `error_k`: four hours ahead."""

    learned: tuple[float, ...]
    max_w: float
    idle_w: float
    error_k: float
    fitted_ms: int


def hats(count: int) -> tuple[tuple[float, ...], ...]:
    """Triangles around the clock: the share of each of `count` knots in each quarter, [96][count]."""
    return tuple(
        tuple(_hat(quarter / QUARTERS_PER_DAY * count - knot, count) for knot in range(count))
        for quarter in range(QUARTERS_PER_DAY)
    )


def _hat(away: float, count: int) -> float:
    away = abs(away)
    return max(1 - min(away, count - away), 0.0)


_DAY_HATS, _OPEN_HATS = hats(DAY_HATS), hats(OPEN_HATS)


def stand_in_c(quarter: int) -> float:
    """What the learner sees in place of a missing outdoor sensor, the same in the past and ahead."""
    return 26.0 + 4.0 * math.cos((quarter / 4 - 15) / 24 * 2 * math.pi)


def remembered(temps: Iterable[float]) -> list[Memory]:
    """The memories after each of these quarters, NaN where it is not known: what was remembered holds."""
    temps = list(temps)
    known = [temp for temp in temps if not math.isnan(temp)][:QUARTERS_PER_DAY]
    first = math.fsum(known) / len(known) if known else 25.0
    short, middle, long = first, first, first
    fast, medium, slow = FOLLOW
    found = []
    for value in temps:
        if value == value:  # noqa: PLR0124 - a NaN is not itself, and this loop is the slow part
            short += fast * (value - short)
            middle += medium * (value - middle)
            long += slow * (value - long)
        found.append((short, middle, long))
    return found


def change_k(model: Model, row: Sequence[float], before_c: float, memory: Memory) -> float:
    """What a quarter like `row` of a history makes of a room at `before_c`; NaN if its power is not known."""
    learned, quarter = model.learned, int(row[QUARTER])
    load = (row[POWER] - model.idle_w) / max(model.max_w - model.idle_w, 1.0)
    if math.isnan(load):
        return math.nan
    load = min(max(load, 0.0), LOAD_MAX)
    out_c = stand_in_c(quarter) if math.isnan(row[OUTDOOR]) else row[OUTDOOR]
    sun = 0.0 if math.isnan(row[SUN_W_M2]) else row[SUN_W_M2]
    first = min(load, KNEE)
    return (
        learned[OUT] * (out_c - before_c)
        + _dot(learned[MEM], [each - before_c for each in memory])
        + _dot(learned[DAY], _DAY_HATS[quarter])
        + _dot(learned[OPEN], _OPEN_HATS[quarter]) * row[OCCUPIED]
        + learned[SUN] * sun / 1000
        - learned[COOL1] * first
        - learned[COOL2] * (load - first)
        + learned[COOL_OUT] * load * (out_c - OUT_REFERENCE_C) / 10
    )


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def last_miss_k(model: Model, history: History) -> float:
    """How much warmer the last whole quarter was than the model says, power known; NaN in a gap."""
    temps = history.recent(TEMPERATURE, MEMORY_DAYS * QUARTERS_PER_DAY)
    if len(temps) < 2:
        return math.nan
    *before, now_c = temps
    return now_c - before[-1] - change_k(model, history.newest, before[-1], remembered(before)[-1])
