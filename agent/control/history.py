"""What a room was like, in quarter hours: what is learned from, and what the next day is guessed from.

Rules: one row per quarter of the clock (Unix time), the newest last; a quarter without samples is NaN in
every measured column, never 0, and a hole is filled with such rows. Bounded: the oldest rows leave. A sample
says what was since the one before it, so that of the last instant belongs to the quarter that ends there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.control.room import QUARTER_MS, QUARTERS_PER_DAY

TEMPERATURE, OUTDOOR, SUN_W_M2, POWER, OCCUPIED, QUARTER, PEAK_W = range(7)
COLUMNS = 7
DAYS_MAX = 28
ROWS_MAX = DAYS_MAX * QUARTERS_PER_DAY
END_S, LATE_S = 240, 600
"""The temperature of a row is the mean of its last minutes: the state at its end, less noise. Where none came
then (cycles ten minutes apart), the last of the last ten minutes."""

Floats = NDArray[np.float64]


@dataclass
class History:
    """Rows [n, COLUMNS], `PEAK_W` being what all samples but one kept to; `last` is the number of the newest
    quarter since 1970."""

    rows: Floats = field(default_factory=lambda: np.empty((0, COLUMNS)))
    last: int = -1

    def add(self, number: int, row: list[float]) -> None:
        """Append the row of a closed quarter; one that is not newer than the last is dropped."""
        if self.last >= 0 and number <= self.last:
            return
        missing = min(number - self.last - 1, ROWS_MAX) if self.last >= 0 else 0
        hole = np.full((missing, COLUMNS), np.nan)
        if missing:
            newest = int(self.rows[-1, QUARTER])
            hole[:, QUARTER] = (newest + 1 + np.arange(missing)) % QUARTERS_PER_DAY
            hole[:, OCCUPIED] = 0.0
        self.rows = np.concatenate((self.rows, hole, np.array([row])))[-ROWS_MAX:]
        self.last = number

    def recent(self, column: int, count: int) -> Floats:
        """The newest `count` values of a column, or as many as there are."""
        return self.rows[-count:, column]


@dataclass
class OpenQuarter:
    """The samples of the running quarter, until it closes."""

    number: int = -1
    sums: list[float] = field(default_factory=lambda: [0.0] * COLUMNS)
    counts: list[int] = field(default_factory=lambda: [0] * COLUMNS)
    occupied: float = 0.0
    quarter: int = 0
    late_c: float | None = None
    most_w: tuple[float, ...] = ()

    def sample(self, now_ms: int, values: dict[int, float | None]) -> None:
        """Note what was seen at `now_ms`; the temperature counts only in the last minutes."""
        left_s = (-now_ms % QUARTER_MS) / 1000
        if left_s <= LATE_S and values.get(TEMPERATURE) is not None:
            self.late_c = values[TEMPERATURE]
        if (power_w := values.get(POWER)) is not None:
            self.most_w = tuple(sorted((*self.most_w, power_w))[-2:])
        for column, value in values.items():
            if value is None or (column == TEMPERATURE and left_s > END_S):
                continue
            self.sums[column] += value
            self.counts[column] += 1

    def close(self) -> list[float]:
        """The row of this quarter; empties it."""
        row = [
            total / count if count else float("nan")
            for total, count in zip(self.sums, self.counts, strict=True)
        ]
        row[OCCUPIED], row[QUARTER] = self.occupied, float(self.quarter)
        if not self.counts[TEMPERATURE] and self.late_c is not None:
            row[TEMPERATURE] = self.late_c
        if self.most_w:
            # One sample may be a glitch of the meter; where there is no other it has to do.
            row[PEAK_W] = self.most_w[0]
        self.sums, self.counts, self.late_c, self.most_w = [0.0] * COLUMNS, [0] * COLUMNS, None, ()
        return row
