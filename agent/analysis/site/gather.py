"""Readings into what is kept of each half hour: 10-minute intervals of every point, and of a meter also its
quarters of an hour, its counter, its voltage events and its frequency.

Half hours hold whole 10- and 15-minute intervals, so each is made of its own readings alone; only events and
frequency go on from the half hour before, as their state was kept with it. So a half hour can be made again
at any time: when it grows, when readings come late, after a kill.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from agent.analysis.power_quality.aggregate import DEMAND_MS, TEN_MINUTES_MS, aggregate, close, joined
from agent.analysis.power_quality.frequency import FrequencyWatch, watch_frequency
from agent.analysis.power_quality.limits import Limits
from agent.analysis.power_quality.voltage import nominal_of
from agent.analysis.power_quality.watch import Watch, watch
from agent.analysis.site.book import HALF_MS, Book, Tens
from agent.analysis.site.plan import GroupPlan, MeterPlan
from agent.analysis.site.states import event_json, frequency_json, frequency_state, watch_json, watch_state
from agent.localtime import Floats, Ints


class Half(NamedTuple):
    """The readings of one half hour: times (n,), values (n, points)."""

    half_ms: int
    times_ms: Ints
    values: Floats

    @property
    def period_ms(self) -> float:
        """How far apart they are, as a rule; 0 of a single one."""
        return float(np.median(np.diff(self.times_ms))) if self.times_ms.size > 1 else 0.0


class HalfHours:
    """Parts in the order of time, cut anew; each half hour comes once and whole."""

    def __init__(self) -> None:
        self._left: list[tuple[Ints, Floats]] = []

    def add(self, times_ms: Ints, values: Floats) -> Iterator[Half]:
        """Those that are over."""
        cuts = np.flatnonzero(np.diff(times_ms // HALF_MS)) + 1
        for piece in zip(np.split(times_ms, cuts), np.split(values, cuts), strict=True):
            if self._left and self._left[0][0][0] // HALF_MS != piece[0][0] // HALF_MS:
                yield from self.rest()
            self._left.append(piece)

    def rest(self) -> Iterator[Half]:
        """The one that is under way, if any."""
        if self._left:
            left, self._left = self._left, []
            yield _half(left)


def _half(pieces: Sequence[tuple[Ints, Floats]]) -> Half:
    if len(pieces) == 1:
        times_ms, values = pieces[0]
    else:
        times_ms = np.concatenate([piece[0] for piece in pieces])
        values = np.concatenate([piece[1] for piece in pieces])
    return Half(int(times_ms[0]) // HALF_MS * HALF_MS, times_ms, values)


class Gatherer:
    """One group of the store; `meter` if its device is one."""

    def __init__(self, book: Book, group: GroupPlan, points: Sequence[str], limits: Limits) -> None:
        self._book, self._limits = book, limits
        self._group, self._points = group, list(points)
        self._meter: MeterPlan | None = None
        self._declared_v = float("nan")
        self._watch: tuple[int, Watch | None] | None = None
        self._frequency: tuple[int, FrequencyWatch] | None = None

    def of_meter(self, meter: MeterPlan) -> None:
        """Its device is this meter."""
        self._meter = meter
        if self._has(meter.volts):
            self._declared_v = nominal_v(self._book, meter)

    def take(self, half: Half) -> None:
        """Keep what is made of `half`."""
        open_, closed = aggregate(None, half.times_ms, half.values, TEN_MINUTES_MS)
        assert open_ is not None  # noqa: S101 - a half hour has a reading
        period_ms = max(half.period_ms, float(self._group.interval_ms))
        intervals = joined([closed, close(open_)])
        tens = Tens(intervals, np.full(intervals.start_ms.size, period_ms))
        self._book.put_tens((self._group.device, self._group.name), self._points, half.half_ms, tens)
        if self._meter is not None:
            self._take_meter(self._meter, half, period_ms)

    def _take_meter(self, meter: MeterPlan, half: Half, period_ms: float) -> None:
        if self._has(meter.volts):
            if np.isnan(self._declared_v):
                self._declared_v = _learned_v(
                    self._book, meter, self._columns(half, meter.volts), self._limits
                )
            if not np.isnan(self._declared_v):
                self._take_voltage(meter, half, period_ms)
        if self._has([meter.frequency]):
            self._take_frequency(meter, half, period_ms)
        if self._has(meter.power):
            self._book.put_meter(
                meter.device, "quarter", half.half_ms, self._quarters(meter, half, period_ms)
            )
        if self._has([meter.energy]):
            self._book.put_meter(meter.device, "counter", half.half_ms, self._counter(meter, half))

    def _has(self, points: Sequence[str]) -> bool:
        """Whether they are all in this group."""
        return bool(points) and all(point in self._points for point in points)

    def _columns(self, half: Half, points: Sequence[str]) -> Floats:
        return half.values[:, [self._points.index(point) for point in points]]

    def _take_voltage(self, meter: MeterPlan, half: Half, period_ms: float) -> None:
        if self._watch is None or self._watch[0] >= half.half_ms:
            kept = self._book.before(meter.device, "voltage", half.half_ms)
            self._watch = (0, watch_state(kept["state"]) if kept else None)
        state, ended = watch(
            self._watch[1],
            *(half.times_ms, self._columns(half, meter.volts), period_ms or 1000.0),
            declared_v=self._declared_v,
            rules=self._limits.events,
        )
        self._watch = (half.half_ms, state)
        kept = {
            "state": watch_json(state),
            "period_ms": period_ms,
            "events": [event_json(each) for each in ended],
        }
        self._book.put_meter(meter.device, "voltage", half.half_ms, kept)

    def _take_frequency(self, meter: MeterPlan, half: Half, period_ms: float) -> None:
        if self._frequency is None or self._frequency[0] >= half.half_ms:
            kept = self._book.before(meter.device, "frequency", half.half_ms)
            self._frequency = (0, frequency_state(kept) if kept else FrequencyWatch())
        before = self._frequency[1]
        # What runs on is carried, the sums are those of this half hour alone.
        fresh = FrequencyWatch(before.last_ms, before.last_hz, stretch_s=before.stretch_s)
        values = self._columns(half, [meter.frequency])[:, 0]
        state = watch_frequency(fresh, half.times_ms, values, period_ms or 1000.0, self._limits)
        self._frequency = (half.half_ms, state)
        self._book.put_meter(meter.device, "frequency", half.half_ms, frequency_json(state))

    def _quarters(self, meter: MeterPlan, half: Half, period_ms: float) -> list[list[Any]]:
        """Start, mean kW and kvar (null: unknown), and the share of the readings that there were."""
        power = self._columns(half, meter.power).sum(axis=1) * meter.w_per_unit / 1000
        reactive = np.full(power.shape, np.nan)
        if self._has(meter.reactive):
            reactive = self._columns(half, meter.reactive).sum(axis=1) * meter.var_per_unit / 1000
        open_, closed = aggregate(None, half.times_ms, np.stack([power, reactive], axis=1), DEMAND_MS)
        assert open_ is not None  # noqa: S101
        found = joined([closed, close(open_)])
        share = np.minimum(found.count[:, 0] * max(period_ms, 1.0) / DEMAND_MS, 1.0)
        rows = zip(found.start_ms.tolist(), *found.mean.T.tolist(), share.tolist(), strict=True)
        return [[start, kw, kvar, round(part, 4)] for start, kw, kvar, part in rows]

    def _counter(self, meter: MeterPlan, half: Half) -> list[list[float]]:
        """Time and kWh: of each quarter of an hour the first and the last, and both sides of every fall."""
        values = self._columns(half, [meter.energy])[:, 0] * meter.kwh_per_unit
        known = np.flatnonzero(~np.isnan(values))
        if not known.size:
            return []
        times, seen = half.times_ms[known], values[known]
        fresh = np.diff(times // DEMAND_MS, prepend=-1) != 0
        fell = np.diff(seen, prepend=seen[0]) < 0
        chosen = fresh | np.append(fresh[1:], True) | fell | np.append(fell[1:], False)
        return [[int(at), float(value)] for at, value in zip(times[chosen], seen[chosen], strict=True)]


def nominal_v(book: Book, meter: MeterPlan) -> float:
    """As configured, or as it was found out once; NaN: not known yet."""
    if meter.nominal_v is not None:
        return meter.nominal_v
    kept = book.note(f"nominal {meter.device}")
    return float("nan") if kept is None else float(kept)


def _learned_v(book: Book, meter: MeterPlan, volts: Floats, limits: Limits) -> float:
    """Found out from the first half hour that tells, and noted so that it stays; NaN: not from this one."""
    found = nominal_of(volts, meter.judged_between, limits)
    if not math.isnan(found):
        book.put_note(f"nominal {meter.device}", found)
    return found
