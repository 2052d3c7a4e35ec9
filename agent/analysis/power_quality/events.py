"""Sags, swells and interruptions, as far as polled readings or the meter's own register show them.

A poll sees the voltage at an instant (or the meter's short mean), once a period: an event shorter than the
period is seen by chance, and no length is known better than a period each way. `unseen.py` says so in
words. A meter that registers events itself is better in every way: `from_register`.

Rules (PRODIST 8 and IEC 61000-4-30). An event of several phases is one: it lasts while any phase is out,
and its magnitude is that of the worst. It ends `hysteresis_pu` inside the limit. Where readings stop during
an event it is `cut`: it lasted at least so long. Without a reading there is no event, only a gap.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.analysis.power_quality.limits import EventLimits, Limits
from agent.localtime import Bools, Ints


class EventKind(enum.StrEnum):
    """What the worst phase did."""

    SAG = "sag"
    SWELL = "swell"
    INTERRUPTION = "interruption"


class Source(enum.StrEnum):
    """Who saw it."""

    POLL = "poll"
    METER = "meter"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `extreme_pu`: remaining voltage of a sag, highest of a swell, part of the declared
    voltage. `phases`: 0, 1, 2, those that were out. `cut`: it may have lasted longer."""

    kind: EventKind
    start_ms: int
    end_ms: int
    extreme_pu: float
    phases: tuple[int, ...]
    cut: bool = False
    source: Source = Source.POLL
    uncertainty_s: float = 0.0

    @property
    def duration_s(self) -> float:
        """From the first reading out to the first one back."""
        return (self.end_ms - self.start_ms) / 1000


def named(event: Event, rules: EventLimits) -> Event:
    """Below the interruption limit it was no sag."""
    gone = event.kind == EventKind.SAG and event.extreme_pu < rules.interruption_pu
    return replace(event, kind=EventKind.INTERRUPTION) if gone else event


def from_register(
    start_ms: Sequence[int], duration_s: Sequence[float], extreme_pu: Sequence[float], limits: Limits
) -> Iterator[Event]:
    """The events of a meter's own register; those inside the limits are none."""
    rules = limits.events
    for start, duration, extreme in zip(start_ms, duration_s, extreme_pu, strict=True):
        if rules.sag_pu <= extreme <= rules.swell_pu:
            continue
        kind = EventKind.SAG if extreme < rules.sag_pu else EventKind.SWELL
        end_ms = start + round(duration * 1000)
        yield named(Event(kind, start, end_ms, extreme, (), source=Source.METER), rules)


def prodist_class(event: Event, limits: Limits) -> str:
    """ "momentary_sag", "temporary_swell", "long_interruption", ... as PRODIST 8 calls it."""
    rules = limits.events
    if event.duration_s >= rules.temporary_s_max:
        return f"long_{event.kind}"
    return f"{'momentary' if event.duration_s <= rules.momentary_s_max else 'temporary'}_{event.kind}"


def ieee_1159_class(event: Event, limits: Limits) -> str:
    """As IEEE 1159 calls it: short duration ends at a minute; interruptions have no instantaneous class."""
    rules, duration_s = limits.events, event.duration_s
    if duration_s > rules.ieee_temporary_s_max:
        names = {"sag": "undervoltage", "swell": "overvoltage", "interruption": "sustained_interruption"}
        return names[event.kind]
    instantaneous = duration_s <= rules.ieee_instantaneous_s_max
    if instantaneous and event.kind != EventKind.INTERRUPTION:
        return f"instantaneous_{event.kind}"
    return f"{'momentary' if duration_s <= rules.ieee_momentary_s_max else 'temporary'}_{event.kind}"


def flagged(start_ms: Ints, events: Sequence[Event], limits: Limits) -> Bools:
    """Which intervals (n,) an interruption or a short-duration variation touches: they are expurgated. A
    long under- or overvoltage touches none, it is what the indices are there to count."""
    touched = np.zeros(start_ms.shape, dtype=np.bool_)
    for event in events:
        short = event.duration_s < limits.events.temporary_s_max
        if short or event.kind == EventKind.INTERRUPTION:
            first = np.searchsorted(start_ms, event.start_ms - limits.window.interval_ms, side="right")
            touched[first : np.searchsorted(start_ms, max(event.end_ms, event.start_ms + 1))] = True
    return touched
