"""The next day from the last days: outdoor temperature and sun, by the box alone.

Rules: pure. A quarter of tomorrow is the weighted mean of that quarter on recent days, newer ones weighing
more, moved by how today differs from them so far; what was never measured is a plain guess, said as such.
"""

from __future__ import annotations

import numpy as np

from agent.control.grey_box import Floats, Ints, stand_in
from agent.control.history import OUTDOOR, SUN_W_M2, History
from agent.control.room import HORIZON, QUARTERS_PER_DAY

DAYS = 5
FADE_PER_DAY = 0.65
TODAY_QUARTERS = 8
FORGET_QUARTERS = 32.0


def ahead(history: History, column: int, now: float | None) -> Floats | None:
    """`HORIZON` values from now on; None if the column was never measured. `now`: its value, if known."""
    days = _by_age(np.array(history.recent(column, DAYS * QUARTERS_PER_DAY)))
    known = ~np.isnan(days)
    if not known.any():
        return None if now is None else np.full(HORIZON, now)
    weight = FADE_PER_DAY ** np.arange(len(days))[:, None] * known
    total = weight.sum(axis=0)
    mean = float(np.nanmean(days))
    usual = np.where(total > 0, np.nan_to_num(days * weight).sum(axis=0) / np.maximum(total, 1e-9), mean)
    if column == SUN_W_M2:
        return usual
    return usual + _today(history, column, usual, now) * np.exp(-np.arange(HORIZON) / FORGET_QUARTERS)


def _by_age(values: Floats) -> Floats:
    """Rows of one day each, yesterday first; column 0 is the quarter that runs now."""
    missing = -len(values) % QUARTERS_PER_DAY
    padded = np.concatenate((np.full(missing, np.nan), values))
    return padded.reshape(-1, QUARTERS_PER_DAY)[::-1]


def _today(history: History, column: int, usual: Floats, now: float | None) -> float:
    """How the last two hours differ from what is usual for them."""
    last = np.array(history.recent(column, TODAY_QUARTERS))
    differences = last - usual[-len(last) :]
    if now is not None:
        differences = np.append(differences, now - usual[0])
    known = differences[~np.isnan(differences)]
    return float(known.mean()) if len(known) else 0.0


def outdoor(history: History, quarter: Ints, now: float | None) -> Floats:
    """Outdoor temperature; a warm day's shape around the room's own mean where none is measured."""
    found = ahead(history, OUTDOOR, now)
    if found is not None:
        return found
    return stand_in(quarter)


def sun(history: History) -> Floats:
    """Sun; none where none is measured: the hours of the day carry it then."""
    found = ahead(history, SUN_W_M2, None)
    return np.zeros(HORIZON) if found is None else found
