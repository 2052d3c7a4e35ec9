"""What control did in each room over a month, from its own record: what it saved against the plain schedule,
how warm the room was, how often units started, on which rung of the ladder it stood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agent.control.grey_box import history_of, rows, times_ms
from agent.control.history import OCCUPIED, TEMPERATURE, History
from agent.control.options import RoomOptions, room_of
from agent.control.site.record import Record
from agent.control.site.savings import Savings, savings
from agent.control.state import Parameters
from agent.localtime import Floats, Ints

PriceAt = Callable[[Ints], Floats]


@dataclass(frozen=True, slots=True)
class RoomReport:
    """`saved` None: no model was accepted yet, or fewer than three whole days. Shares are 0 to 1, NaN without
    an occupied quarter; `rungs` are decisions by rung, `starts` by unit."""

    id: str
    band_c: tuple[float, float]
    commanded: bool
    saved: Savings | None
    quarters: int
    in_band_share: float
    warm_share: float
    mean_c: float
    highest_c: float
    starts: Mapping[str, int] = field(default_factory=dict)
    rungs: Mapping[int, int] = field(default_factory=dict)


def hvac(
    record: Record, rooms: Sequence[RoomOptions], period_ms: tuple[int, int], price_at: PriceAt
) -> tuple[RoomReport, ...]:
    """Every room that was recorded in the period."""
    memory = record.memory()
    histories = record.histories(memory.get("lasts", {}))
    models = Parameters.from_json(memory["loop"]["parameters"]).models if "loop" in memory else {}
    starts, rungs = _decided(record, period_ms)
    found = []
    for options in rooms:
        history = _within(histories.get(options.id), period_ms)
        if history is None:
            continue
        model, room = models.get(options.id), room_of(options)
        saved = savings(room, model, history, price_at(times_ms(history))) if model else None
        found.append(
            _room(options, history, saved, starts.get(options.id, {}), rungs.get(options.id, Counter()))
        )
    return tuple(found)


def _within(history: History | None, period_ms: tuple[int, int]) -> History | None:
    """The part of the history that is in the period; None: there is none."""
    if history is None:
        return None
    at = np.flatnonzero((times_ms(history) >= period_ms[0]) & (times_ms(history) < period_ms[1]))
    if not at.size:
        return None
    return history_of(rows(history)[at], history.last - (len(history) - 1 - int(at[-1])))


def _room(
    options: RoomOptions,
    history: History,
    saved: Savings | None,
    starts: Mapping[str, int],
    rungs: Mapping[int, int],
) -> RoomReport:
    table = rows(history)
    temp = table[:, TEMPERATURE]
    here = (table[:, OCCUPIED] > 0) & ~np.isnan(temp)
    low, high = options.comfort_min_c, options.comfort_max_c
    seen = temp[here]
    some = bool(seen.size)
    return RoomReport(
        options.id,
        (low, high),
        options.mode == "control",
        saved,
        int(seen.size),
        float(((seen >= low) & (seen <= high)).mean()) if some else np.nan,
        float((seen > high).mean()) if some else np.nan,
        float(seen.mean()) if some else np.nan,
        float(seen.max()) if some else np.nan,
        dict(starts),
        dict(sorted(rungs.items())),
    )


def _decided(
    record: Record, period_ms: tuple[int, int]
) -> tuple[dict[str, dict[str, int]], dict[str, Counter[int]]]:
    """Starts by room and unit, decisions by room and rung, in the period."""
    starts: dict[str, dict[str, int]] = {}
    rungs: dict[str, Counter[int]] = {}
    was_on: dict[tuple[str, str], bool] = {}
    for cycle in record.cycles(record.begin_before(period_ms[0]), period_ms[1]):
        if cycle.time_ms < period_ms[0]:
            continue
        for each in cycle.decisions:
            room, unit, on = each["room"], each["unit"], bool(each["on"])
            rungs.setdefault(room, Counter())[int(each["rung"])] += 1
            counts = starts.setdefault(room, {})
            counts.setdefault(unit, 0)
            if on and was_on.get((room, unit)) is False:
                counts[unit] += 1
            was_on[room, unit] = on
    return starts, rungs
