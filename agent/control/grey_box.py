"""A room's grey box in arrays: what learning, forecasts and plans compute with. Its words are in `model`.

Rules: pure. A history is [n, COLUMNS], what is learned [SIZE], the features of a quarter [SIZE] are what each
learned number is multiplied with.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from agent.control import model
from agent.control.history import COLUMNS, History
from agent.control.model import (
    COOL1,
    COOL2,
    COOL_OUT,
    DAY,
    DAY_HATS,
    KNEE,
    MEM,
    OPEN,
    OPEN_HATS,
    OUT,
    OUT_REFERENCE_C,
    SIZE,
    SUN,
)
from agent.control.room import QUARTER_MS, QUARTERS_PER_DAY

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLLOW = np.array(model.FOLLOW)
_DAY_HATS, _OPEN_HATS = np.array(model.hats(DAY_HATS)), np.array(model.hats(OPEN_HATS))
_STAND_IN_C = np.array([model.stand_in_c(quarter) for quarter in range(QUARTERS_PER_DAY)])


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


def rows(history: History) -> Floats:
    """The rows of a history as they stand, [n, COLUMNS]: who writes into them writes into the history."""
    return np.frombuffer(history.values).reshape(-1, COLUMNS)


def history_of(table: Floats, last: int) -> History:
    """The history with these rows, the last of them that of quarter `last`."""
    return History(array("d", table.astype(np.float64).tobytes()), last)


def times_ms(history: History) -> Ints:
    """When each row begins, Unix ms."""
    count = len(history)
    return np.asarray((history.last - count + 1 + np.arange(count, dtype=np.int64)) * QUARTER_MS)


def features(exogenous: Floats, temp: Floats, memory: Floats) -> Floats:
    """What each learned number is multiplied with, [n, SIZE]; rows of `outside()`, memories [n, 3]."""
    whole = exogenous.copy()
    whole[:, OUT] -= temp
    whole[:, MEM] = memory - temp[:, None]
    return whole


def outside(quarter: Ints, occupied: Floats, outdoor_c: Floats, sun_w_m2: Floats) -> Floats:
    """The features that no plan changes, power still 0, [n, SIZE]; `OUT` holds the outdoor temperature."""
    found = np.zeros((len(quarter), SIZE))
    found[:, OUT] = outdoor_c
    found[:, DAY] = _DAY_HATS[quarter]
    found[:, OPEN] = _OPEN_HATS[quarter] * occupied[:, None]
    found[:, SUN] = sun_w_m2 / 1000
    return found


def with_power(exogenous: Floats, load: Floats, *, knee: float = KNEE) -> Floats:
    """The same with units at that `load`, power over `max_w`."""
    exogenous[:, COOL1] = -np.minimum(load, knee)
    exogenous[:, COOL2] = -np.maximum(load - knee, 0.0)
    exogenous[:, COOL_OUT] = load * (exogenous[:, OUT] - OUT_REFERENCE_C) / 10
    return exogenous


def memories(temp: Floats) -> Floats:
    """The memories after each row, [n, 3]; gaps hold what was remembered."""
    return np.array(model.remembered(temp.tolist())).reshape(-1, 3)


def stand_in(quarter: Ints) -> Floats:
    """`model.stand_in_c` at each of these quarters."""
    return _STAND_IN_C[quarter]
