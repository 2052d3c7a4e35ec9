"""Voltage and frequency of a meter as they stand at one instant: the last 1008 valid readings, the last week.

DRP, DRC and the "95" values are NaN until there are 1008 valid readings; from then on they are those of the
newest 1008, so that each 10 minutes has its own and a report may choose its week.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agent.analysis.power_quality.aggregate import TEN_MINUTES_MS
from agent.analysis.power_quality.events import Event, flagged, ieee_1159_class, prodist_class
from agent.analysis.power_quality.frequency import FrequencyWatch, excursions
from agent.analysis.power_quality.harmonics import Distortion, distortion, dtt95
from agent.analysis.power_quality.limits import Limits
from agent.analysis.power_quality.percentile import Exceeded
from agent.analysis.power_quality.unbalance import (
    fd95,
    unbalance_of_lines_percent,
    unbalance_of_phases_percent,
)
from agent.analysis.power_quality.voltage import UNKNOWN, band_of, classes, voltage_indices
from agent.analysis.site.book import HALF_MS, Book, Tens
from agent.analysis.site.gather import nominal_v
from agent.analysis.site.plan import MeterPlan
from agent.analysis.site.points import EVENT_KINDS, IEEE_1159, PRODIST
from agent.analysis.site.scene import Scene
from agent.analysis.site.states import event_of, frequency_state, watch_state
from agent.localtime import DAY_MS, Bools, Floats, Ints

LOOK_BACK_DAYS = 14  # a week, and what is expurgated of it
WEEK_MS = 7 * DAY_MS
Values = dict[str, float]
_KIND = {name: code for code, name in EVENT_KINDS.items()}


class Window(NamedTuple):
    """The 10-minute intervals of one meter's points up to an instant; `valid` (m,) are those that count."""

    tens: Tens
    points: tuple[str, ...]
    valid: Bools

    def rms(self, points: Sequence[str]) -> Floats:
        return self.tens.intervals.rms[:, [self.points.index(point) for point in points]]

    def mean(self, points: Sequence[str]) -> Floats:
        return self.tens.intervals.mean[:, [self.points.index(point) for point in points]]


def events(book: Book, meter: MeterPlan, from_ms: int, to_ms: int) -> list[Event]:
    """Those that were under way in the period, also those that have not ended."""
    halves = book.meter(meter.device, "voltage", from_ms - DAY_MS, to_ms)
    found = [event_of(each) for half in halves for each in half["events"]]
    state = watch_state(halves[-1]["state"]) if halves else None
    found += state.pending if state else ()
    return [event for event in found if event.end_ms > from_ms and event.start_ms < to_ms]


def covered(tens: Tens, columns: Sequence[int], limits: Limits) -> Bools:
    """(m,): which intervals have enough readings of all `columns`."""
    expected = TEN_MINUTES_MS / np.maximum(tens.period_ms, 1.0)
    counts = tens.intervals.count[:, list(columns)]
    return np.asarray((counts >= limits.window.coverage_min * expected[:, None]).all(axis=1), dtype=np.bool_)


def window(on: Scene, meter: MeterPlan) -> Window:
    """What the indices of an instant stand on. Voltages are of one group; distortion and the meter's own
    unbalance may be of another."""
    wanted = [*meter.volts, *(meter.line_voltage if meter.voltage else []), *meter.thd]
    wanted += [meter.unbalance] if meter.unbalance else []
    wanted += [name for row in meter.harmonics for name in row if name]
    points = tuple(dict.fromkeys(wanted))
    from_ms = on.at_ms - LOOK_BACK_DAYS * DAY_MS
    tens = _tens(on, meter, points, from_ms)
    touched = flagged(tens.intervals.start_ms, events(on.book, meter, from_ms, on.at_ms), on.limits)
    whole = covered(tens, [points.index(name) for name in meter.volts], on.limits)
    return Window(tens, points, whole & ~touched)


def _tens(on: Scene, meter: MeterPlan, points: tuple[str, ...], from_ms: int) -> Tens:
    """The intervals of the group that has the voltages, with the other points put beside them."""
    groups = on.groups(meter.device)
    main = next(group for group in groups if set(meter.volts) <= set(group.points))
    tens = on.book.tens((main.device, main.name), points, from_ms, on.at_ms)
    start_ms = tens.intervals.start_ms
    tens = _rows(tens, (start_ms >= from_ms) & (start_ms + TEN_MINUTES_MS <= on.at_ms))
    for group in groups:
        there = [at for at, name in enumerate(points) if name in group.points]
        if group is not main and there:
            other = on.book.tens((group.device, group.name), points, from_ms, on.at_ms)
            _put_beside(tens, other, np.array(there))
    return tens


def _rows(tens: Tens, keep: Bools) -> Tens:
    found = tens.intervals
    names = ("start_ms", "count", "mean", "rms", "low", "high")
    return Tens(type(found)(**{name: getattr(found, name)[keep] for name in names}), tens.period_ms[keep])


def _put_beside(tens: Tens, other: Tens, columns: Ints) -> None:
    _, mine, theirs = np.intersect1d(
        tens.intervals.start_ms, other.intervals.start_ms, assume_unique=True, return_indices=True
    )
    for name in ("mean", "rms", "low", "high", "count"):
        getattr(tens.intervals, name)[np.ix_(mine, columns)] = getattr(other.intervals, name)[
            np.ix_(theirs, columns)
        ]


def voltage(on: Scene, meter: MeterPlan) -> Values:
    """All of the group `voltage-<meter>`."""
    found, nominal, limits = window(on, meter), nominal_v(on.book, meter), on.limits
    values = _levels(meter, found, nominal, on)
    newest = _newest(found.valid, limits.window.readings)
    values |= _unbalance(meter, found, newest, nominal, limits)
    values |= _distortion(meter, found, newest, nominal, limits)
    halves = on.book.meter(meter.device, "voltage", on.at_ms - DAY_MS, on.at_ms)
    values["event_resolution"] = halves[-1]["period_ms"] / 1000 if halves else math.nan
    seen = events(on.book, meter, on.at_ms - WEEK_MS, on.at_ms)
    counts = Counter(prodist_class(each, limits) for each in seen)
    looked = bool(on.book.meter(meter.device, "voltage", on.at_ms - WEEK_MS, on.at_ms))
    values |= {f"{name}s_7d": float(counts[name]) if looked else math.nan for name in PRODIST}
    return {f"{meter.slug}_{name}": value for name, value in values.items()}


def _newest(valid: Bools, readings: int) -> Bools:
    """The newest `readings` of those that are valid."""
    at = np.flatnonzero(valid)[-readings:]
    chosen = np.zeros(valid.shape, dtype=np.bool_)
    chosen[at] = True
    return chosen


def _levels(meter: MeterPlan, found: Window, nominal: float, on: Scene) -> Values:
    limits = on.limits
    rms, start_ms = found.rms(meter.volts), found.tens.intervals.start_ms
    values = {"voltage_nominal": nominal, "voltage_class": math.nan, "drp": math.nan, "drc": math.nan}
    known = found.valid & ~np.isnan(rms).any(axis=1)
    values["voltage_readings"] = float(min(known.sum(), limits.window.readings))
    newest = _newest(known, limits.window.readings)
    since = int(np.flatnonzero(newest)[0]) if newest.any() else 0
    values["voltage_flagged"] = float((~found.valid[since:]).sum())
    if math.isnan(nominal) or not start_ms.size:
        return values
    band = band_of(nominal, meter.judged_between, limits)
    last = start_ms[-1] == on.at_ms - TEN_MINUTES_MS
    kind = int(classes(rms[-1:], band).max()) if last and found.valid[-1] else UNKNOWN
    values["voltage_class"] = math.nan if kind == UNKNOWN else float(kind)
    indices = voltage_indices(start_ms[newest], rms[newest], known[newest], band, limits)
    return values | {"drp": indices.drp_percent, "drc": indices.drc_percent}


def _unbalance(meter: MeterPlan, found: Window, newest: Bools, nominal: float, limits: Limits) -> Values:
    """The meter's own figure, else of line voltages, else of phase voltages (an estimate)."""
    if meter.unbalance:
        percent = found.mean([meter.unbalance])[:, 0]
    elif len(meter.line_voltage) == 3:
        percent = unbalance_of_lines_percent(found.rms(meter.line_voltage))
    elif len(meter.voltage) == 3:
        percent = unbalance_of_phases_percent(found.rms(meter.voltage))
    else:
        return {}
    whole = fd95(percent, newest, nominal, limits)
    return {
        "unbalance": float(percent[-1]) if percent.size and found.valid[-1] else math.nan,
        "fd95": _complete(whole),
    }


def _complete(found: Exceeded | None) -> float:
    return found.value if found is not None and found.complete else math.nan


def _distortion(meter: MeterPlan, found: Window, newest: Bools, nominal: float, limits: Limits) -> Values:
    parts = _parts(meter, found)
    if parts is None and not meter.thd:
        return {}
    total = found.mean(meter.thd) if meter.thd or parts is None else parts.total_percent
    indices = dtt95(total, newest, nominal, limits, parts)
    values = {"dtt95": _complete(indices.total)}
    if parts is None:
        return values
    three = {"dttp95": indices.even, "dtti95": indices.odd, "dtt3_95": indices.triple}
    return values | {name: _complete(each) for name, each in three.items()}


def _parts(meter: MeterPlan, found: Window) -> Distortion | None:
    if not meter.harmonics:
        return None
    orders = max(map(len, meter.harmonics))
    rows = found.tens.intervals.start_ms.size
    percent = np.full((rows, len(meter.harmonics), orders), np.nan)
    for phase, names in enumerate(meter.harmonics):
        for order, name in enumerate(names):
            if name:
                percent[:, phase, order] = found.mean([name])[:, 0]
    return distortion(percent)


def frequency(on: Scene, meter: MeterPlan) -> Values:
    """All of the group `frequency-<meter>`: the last seven days."""
    kept = on.book.meter(meter.device, "frequency", on.at_ms - WEEK_MS, on.at_ms)
    halves = [frequency_state(each) for each in kept]
    whole = _together(halves)
    found = {each.name: each for each in excursions(whole, on.limits)}
    share = 100 * found["steady"].total_s / whole.seen_s if whole.seen_s else math.nan
    known = bool(halves)
    values = {
        "least": whole.low_hz,
        "most": whole.high_hz,
        "outside_steady": share,
        "disturbed_longest": found["disturbed"].longest_s if known else math.nan,
        "beyond_extremes": found["extreme"].total_s if known else math.nan,
    }
    return {f"{meter.slug}_frequency_{name}": value for name, value in values.items()}


def _together(halves: Sequence[FrequencyWatch]) -> FrequencyWatch:
    total: Counter[str] = Counter()
    longest: dict[str, float] = {}
    for half in halves:
        total.update(half.total_s)
        longest |= {name: max(value, longest.get(name, 0.0)) for name, value in half.longest_s.items()}
    lows = [half.low_hz for half in halves if not math.isnan(half.low_hz)]
    highs = [half.high_hz for half in halves if not math.isnan(half.high_hz)]
    return FrequencyWatch(
        seen_s=sum(half.seen_s for half in halves),
        low_hz=min(lows, default=math.nan),
        high_hz=max(highs, default=math.nan),
        total_s=dict(total),
        longest_s=longest,
    )


def event_values(meter: MeterPlan, event: Event, limits: Limits) -> Values:
    """All of the group `event-<meter>` for one event."""
    values = {
        "event": float(_KIND[event.kind]),
        "event_extreme": event.extreme_pu,
        "event_duration": event.duration_s,
        "event_phases": float(sum(2**phase for phase in event.phases)),
        "event_cut": float(event.cut),
        "event_prodist": float(PRODIST.index(prodist_class(event, limits))),
        "event_ieee_1159": float(IEEE_1159.index(ieee_1159_class(event, limits))),
    }
    return {f"{meter.slug}_{name}": value for name, value in values.items()}


def untold(book: Book, meter: MeterPlan, now_ms: int) -> list[Event]:
    """Events that have ended and were not published yet, the oldest first; noted as published. What began
    before the last one that was published is told once more only if it has another end."""
    told: Mapping[str, Any] = book.note(f"told {meter.device}") or {}
    found = events(book, meter, now_ms - 2 * DAY_MS, now_ms)
    halves = book.meter(meter.device, "voltage", now_ms - HALF_MS * 2, now_ms)
    state = watch_state(halves[-1]["state"]) if halves else None
    pending = {each.start_ms for each in state.pending} if state else set()
    ended = sorted((each for each in found if each.start_ms not in pending), key=lambda each: each.start_ms)
    fresh = [each for each in ended if told.get(_key(each)) != each.end_ms]
    book.put_note(f"told {meter.device}", {_key(each): each.end_ms for each in ended})
    return fresh


def _key(event: Event) -> str:
    return f"{event.kind} {event.start_ms}"
