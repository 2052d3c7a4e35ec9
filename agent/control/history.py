"""What a room was like, in quarter hours: what is learned from, and what the next day is guessed from.

Rules: one row per quarter of the clock (Unix time), the newest last; a quarter without samples is NaN in
every measured column, never 0, and a hole is filled with such rows. Bounded: the oldest rows leave. A sample
says what was since the one before it, so that of the last instant belongs to the quarter that ends there.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.control.room import QUARTER_MS, QUARTERS_PER_DAY

TEMPERATURE, OUTDOOR, SUN_W_M2, POWER, OCCUPIED, QUARTER, PEAK_W = range(7)
COLUMNS = 7
DAYS_MAX = 28
ROWS_MAX = DAYS_MAX * QUARTERS_PER_DAY
END_S, LATE_S = 240, 600
"""The temperature of a row is the mean of its last minutes: the state at its end, less noise. Where none came
then (cycles ten minutes apart), the last of the last ten minutes."""


@dataclass
class History:
    """`values`: the rows one after the other, `COLUMNS` each, `PEAK_W` being what all samples but one kept to
    (`grey_box.rows` is the same as an array). They are replaced and never changed, so that a copy is cheap.
    `last` is the number of the newest quarter since 1970."""

    values: array[float] = field(default_factory=lambda: array("d"))
    last: int = -1

    def __len__(self) -> int:
        """How many quarters."""
        return len(self.values) // COLUMNS

    @property
    def newest(self) -> array[float]:
        """The row of quarter `last`."""
        return self.values[-COLUMNS:]

    def row(self, number: int) -> array[float]:
        """The row of a quarter that is in here."""
        end = len(self.values) - (self.last - number) * COLUMNS
        return self.values[end - COLUMNS : end]

    def add(self, number: int, row: Iterable[float]) -> None:
        """Append the row of a closed quarter; one that is not newer than the last is dropped."""
        if self.last >= 0 and number <= self.last:
            return
        missing = min(number - self.last - 1, ROWS_MAX) if self.last >= 0 else 0
        values = self.values + self._hole(missing) + array("d", row)
        self.values, self.last = values[-ROWS_MAX * COLUMNS :], number

    def _hole(self, count: int) -> array[float]:
        hole = array("d", [math.nan] * (count * COLUMNS))
        for at in range(count):
            hole[at * COLUMNS + QUARTER] = (self.newest[QUARTER] + 1 + at) % QUARTERS_PER_DAY
            hole[at * COLUMNS + OCCUPIED] = 0.0
        return hole

    def recent(self, column: int, count: int) -> array[float]:
        """The newest `count` values of a column, or as many as there are."""
        return self.values[-count * COLUMNS :][column::COLUMNS]


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
