"""The grey box of a room: one temperature, three memories of it, 15 minutes a step.

Rules: pure. `T' = T + a(out - T) + sum b_i (mem_i - T) + gains(hour) + sun - cooling(power, out)`, with
memories of 45 min (furniture), 3 h and 24 h (walls): without the first a start cools too slowly in its first
minutes. It is linear in what is learned, and in temperatures and powers: a plan is a linear programme.
Cooling has two slopes, the first kilowatts cool more than the last (inverters at part load): concave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.control.room import QUARTERS_PER_DAY

Floats = NDArray[np.float64]

MEMORY_H = (0.75, 3.0, 24.0)
FOLLOW = 1 - np.exp(-0.25 / np.array(MEMORY_H))
DAY_HATS, OPEN_HATS = 12, 8
# Places in the vector of what is learned.
OUT = 0
MEM = slice(1, 4)
DAY = slice(4, 4 + DAY_HATS)
OPEN = slice(DAY.stop, DAY.stop + OPEN_HATS)
SUN = OPEN.stop
COOL1, COOL2, COOL_OUT = SUN + 1, SUN + 2, SUN + 3
SIZE = SUN + 4
KNEE = 0.5
OUT_REFERENCE_C = 30.0
# What the model missed lately says how the next hours differ: how fast it is believed, how it fades.
SURPRISE_SHARE, SURPRISE_FADE, SURPRISE_K_MAX, MISS_K_MAX = 0.25, 10.0, 0.3, 0.8


def hats(count: int) -> Floats:
    """Triangles around the clock: the share of each of `count` knots in each quarter, [96, count]."""
    at = np.arange(QUARTERS_PER_DAY)[:, None] / QUARTERS_PER_DAY * count
    away = np.abs(at - np.arange(count))
    away = np.minimum(away, count - away)
    return np.asarray(np.maximum(1 - away, 0.0))


_DAY_HATS, _OPEN_HATS = hats(DAY_HATS), hats(OPEN_HATS)


def _prior() -> Floats:
    """A brick office nobody has measured: warms a little faster, is cooled a little slower than most."""
    prior = np.zeros(SIZE)
    prior[OUT] = 0.012
    prior[MEM] = 0.20, 0.10, 0.02
    prior[OPEN] = 0.06
    prior[DAY] = 0.02
    prior[[SUN, COOL1, COOL2, COOL_OUT]] = 0.1, 2.2, 1.8, 0.05
    return prior


PRIOR = _prior()
LOWER = np.zeros(SIZE)
LOWER[DAY], LOWER[OPEN] = -0.6, -0.3
LOWER[[COOL1, COOL2]] = 0.02, 0.02
UPPER = np.full(SIZE, 12.0)
UPPER[OUT] = 0.25
UPPER[MEM] = 0.6, 0.4, 0.2


@dataclass(frozen=True, slots=True)
class Model:
    """What was learned of a room. `max_w`: what its units draw at full load, `error_k`: four hours ahead."""

    learned: tuple[float, ...]
    max_w: float
    idle_w: float
    error_k: float
    fitted_ms: int


def features(exogenous: Floats, temp: Floats, memory: Floats) -> Floats:
    """What each learned number is multiplied with, [n, SIZE]; rows of `outside()`, memories [n, 3]."""
    whole = exogenous.copy()
    whole[:, OUT] -= temp
    whole[:, MEM] = memory - temp[:, None]
    return whole


def outside(quarter: NDArray[np.int64], occupied: Floats, outdoor_c: Floats, sun_w_m2: Floats) -> Floats:
    """The features that no plan changes, power still 0, [n, SIZE]; `OUT` holds the outdoor temperature."""
    rows = np.zeros((len(quarter), SIZE))
    rows[:, OUT] = outdoor_c
    rows[:, DAY] = _DAY_HATS[quarter]
    rows[:, OPEN] = _OPEN_HATS[quarter] * occupied[:, None]
    rows[:, SUN] = sun_w_m2 / 1000
    return rows


def with_power(rows: Floats, load: Floats, *, knee: float = KNEE) -> Floats:
    """The same with units at that `load`, power over `max_w`."""
    rows[:, COOL1] = -np.minimum(load, knee)
    rows[:, COOL2] = -np.maximum(load - knee, 0.0)
    rows[:, COOL_OUT] = load * (rows[:, OUT] - OUT_REFERENCE_C) / 10
    return rows


def memories(temp: Floats) -> Floats:
    """The memories before each row, [n, 3]; gaps hold what was remembered."""
    known = temp[~np.isnan(temp)]
    first = float(known[:QUARTERS_PER_DAY].mean()) if len(known) else 25.0
    short, middle, long = first, first, first
    fast, medium, slow = FOLLOW.tolist()
    found = []
    for value in temp.tolist():
        if value == value:  # noqa: PLR0124 - a NaN is not itself, and this loop is the slow part
            short += fast * (value - short)
            middle += medium * (value - middle)
            long += slow * (value - long)
        found.append((short, middle, long))
    return np.array(found).reshape(-1, 3)
