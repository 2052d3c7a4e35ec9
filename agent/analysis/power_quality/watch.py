"""Watching polled voltages for events, chunk by chunk: see `events` for the rules.

state, ended = watch(state, times_ms, voltage_v, period_ms, declared_v=127.0, rules=limits.events)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from agent.analysis.power_quality.events import Event, EventKind, named
from agent.analysis.power_quality.limits import EventLimits
from agent.localtime import Bools, Floats, Ints

GAP_PERIODS = 2.5  # longer without a reading is a gap: one lost poll is not


@dataclass(frozen=True, slots=True)
class Watch:
    """What must be known of the past to go on with the next chunk. Made by `watch`; begin with None."""

    last_ms: int
    out_low: tuple[bool, ...]
    out_high: tuple[bool, ...]
    low: Event | None
    high: Event | None

    @property
    def pending(self) -> tuple[Event, ...]:
        """Events that have not ended, as long as they have lasted."""
        return tuple(each for each in (self.low, self.high) if each)


class _Side(NamedTuple):
    """Below the sag limit (sign -1) or above the swell limit (sign 1), and what was open there."""

    sign: int
    limit_pu: float
    hysteresis_pu: float
    open_event: Event | None
    was_out: tuple[bool, ...]


class _Chunk(NamedTuple):
    """`pu` (n, phases) at `times_ms` (n,); `breaks` (n,): something is missing just before."""

    times_ms: Ints
    pu: Floats
    breaks: Bools
    period_ms: float


def watch(
    state: Watch | None,
    times_ms: Ints,
    voltage_v: Floats,
    period_ms: float,
    *,
    declared_v: float,
    rules: EventLimits,
) -> tuple[Watch | None, tuple[Event, ...]]:
    """The state after a chunk `voltage_v` (n, phases) at `times_ms` (n,) in order, and the events that ended
    in it, by start. `period_ms` is how far apart readings are meant to be."""
    answered = ~np.isnan(voltage_v).all(axis=1)
    if not answered.all():  # a poll that failed is a poll that is missing
        times_ms, voltage_v = times_ms[answered], voltage_v[answered]
    if not times_ms.size:
        return state, ()
    within = (False,) * voltage_v.shape[1]
    before = state or Watch(int(times_ms[0]), within, within, None, None)
    pu = voltage_v / declared_v
    breaks = np.asarray(np.diff(times_ms, prepend=before.last_ms) > GAP_PERIODS * period_ms, dtype=np.bool_)
    chunk = _Chunk(times_ms, pu, breaks, period_ms)
    low = _Side(-1, rules.sag_pu, rules.hysteresis_pu, before.low, before.out_low)
    high = _Side(1, rules.swell_pu, rules.hysteresis_pu, before.high, before.out_high)
    out_low, open_low, ended_low = _side_after(low, chunk, rules)
    out_high, open_high, ended_high = _side_after(high, chunk, rules)
    ended = sorted((*ended_low, *ended_high), key=lambda each: each.start_ms)
    return Watch(int(times_ms[-1]), out_low, out_high, open_low, open_high), tuple(ended)


def _side_after(
    side: _Side, chunk: _Chunk, rules: EventLimits
) -> tuple[tuple[bool, ...], Event | None, list[Event]]:
    out = _out(side, chunk.pu)
    open_event, ended = _runs(side, chunk, out)
    return (
        tuple(out[-1].tolist()),
        open_event and named(open_event, rules),
        [named(each, rules) for each in ended],
    )


def _out(side: _Side, pu: Floats) -> Bools:
    """Whether each phase is out, (n, phases): in beyond the limit, back inside it by the hysteresis, in
    between as before. A missing value is not out."""
    enter = np.asarray(pu < side.limit_pu if side.sign < 0 else pu > side.limit_pu, dtype=np.bool_)
    if not enter.any() and not any(side.was_out):
        return enter
    back = side.limit_pu - side.sign * side.hysteresis_pu
    leave = (pu >= back if side.sign < 0 else pu <= back) | np.isnan(pu)
    row = np.where(enter | leave, np.arange(1, len(pu) + 1)[:, None], 0)
    latest = np.maximum.accumulate(row, axis=0)  # 0: nothing said yet in this chunk
    return np.take_along_axis(np.concatenate([np.array([side.was_out]), enter]), latest, axis=0)


def _runs(side: _Side, chunk: _Chunk, out: Bools) -> tuple[Event | None, list[Event]]:
    """The event still open after the chunk, and those that ended: runs of readings that are out."""
    union: Bools = np.any(out, axis=1)
    current = side.open_event
    if current is None and not union.any():
        return None, []
    ended: list[Event] = []
    stops = np.flatnonzero(~union | chunk.breaks)
    follows = np.concatenate([[current is not None], union[:-1]]) & ~chunk.breaks
    begins = np.flatnonzero(union & ~follows).tolist()
    if current is not None:
        begins = [0, *begins]
    for begin in begins:
        fresh = current is None
        event = current or _new(side, chunk, begin)
        at = np.searchsorted(stops, begin + fresh)
        stop = int(stops[at]) if at < stops.size else len(union)
        event, current = _grown(side, event, chunk, out, slice(begin, stop)), None
        if stop == len(union):
            current = event
        else:
            ended.append(_ended(event, chunk, stop))
    return current, ended


def _new(side: _Side, chunk: _Chunk, at: int) -> Event:
    kind, start_ms = EventKind.SAG if side.sign < 0 else EventKind.SWELL, int(chunk.times_ms[at])
    cut = bool(chunk.breaks[at])
    return Event(kind, start_ms, start_ms, 1.0, (), cut, uncertainty_s=chunk.period_ms / 1000)


def _grown(side: _Side, event: Event, chunk: _Chunk, out: Bools, rows: slice) -> Event:
    """The event with more readings in it; it lasts until one period after the last of them."""
    if rows.start == rows.stop:
        return event
    values = np.where(out[rows], chunk.pu[rows], 1.0)
    extreme = float(values.min() if side.sign < 0 else values.max())
    worst = min(event.extreme_pu, extreme) if side.sign < 0 else max(event.extreme_pu, extreme)
    phases = sorted({*event.phases, *np.flatnonzero(out[rows].any(axis=0)).tolist()})
    end_ms = int(chunk.times_ms[rows.stop - 1] + chunk.period_ms)
    return replace(event, end_ms=end_ms, extreme_pu=worst, phases=tuple(phases))


def _ended(event: Event, chunk: _Chunk, stop: int) -> Event:
    """Ended by the first reading back, or cut short where readings are missing."""
    if chunk.breaks[stop]:
        return replace(event, cut=True)
    return replace(event, end_ms=int(chunk.times_ms[stop]))
