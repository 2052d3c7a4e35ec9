"""History as the frames that a plug-in is sent: made where it is read, not in the agent's own process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from agent.store.columns import Floats
from agent.store.series import Columns, Steps

ROWS_PER_FRAME = 32_768

Rows = tuple[int, bytes]  # how many; their times (int64) and their values (float64, row by row)


def rows(found: Iterable[Columns | Steps]) -> Iterator[Rows]:
    """Of one point: its value, or with steps mean, least, most, last and count."""
    for part in found:
        values = _five(part) if isinstance(part, Steps) else part.values
        for at in range(0, len(part.time_ms), ROWS_PER_FRAME):
            own = slice(at, at + ROWS_PER_FRAME)
            times = part.time_ms[own].astype("<i8")
            yield len(times), times.tobytes() + values[own].astype("<f8").tobytes()


def _five(step: Steps) -> Floats:
    five = (step.mean, step.least, step.most, step.last, step.counts.astype(np.float64))
    return np.concatenate(five, axis=1)
