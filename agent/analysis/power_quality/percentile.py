"""The 1008 valid readings an index stands on, and the value that 5 % of them exceed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent.localtime import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The value exceeded in 5 % of the readings. `complete`: there were as many as the rule asks for;
    until then `value` is provisional. NaN without any reading. `within` is None when not complete."""

    value: float
    limit: float
    readings: int
    complete: bool

    @property
    def within(self) -> bool | None:
        """Whether the limit is kept; equal is kept."""
        return bool(self.value <= self.limit) if self.complete else None


def first_valid(valid: Bools, readings: int) -> Ints:
    """Where the first `readings` valid ones are: the window is extended over those that are expurgated."""
    return np.flatnonzero(valid)[:readings]


def exceeded_in_5_percent(values: Floats, valid: Bools, readings: int, limit: float) -> Exceeded:
    """Of `values` (n,), of which those that are NaN or not `valid` are passed over. The value is a reading:
    the smallest that no more than 5 % of the readings exceed (the 958th of 1008)."""
    window = np.sort(values[first_valid(valid & ~np.isnan(values), readings)])
    if not window.size:
        return Exceeded(math.nan, limit, 0, False)
    # 95 * n / 100 in whole numbers: 0.95 * 1000 is not 950 in floating point.
    rank = -(-95 * window.size // 100)
    return Exceeded(float(window[rank - 1]), limit, window.size, window.size == readings)
