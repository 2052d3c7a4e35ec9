"""When rooms are occupied: hours by the weekday, on the site's wall clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.control.options import RoomOptions

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Quarters = frozenset[int]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Occupied quarters of the day (0 to 95) for each weekday, Monday first, and for holidays."""

    days: tuple[Quarters, ...]
    holidays: Quarters


class Span(Protocol):
    """A time of the day on some days of the week, as the centre sets it: "08:00" to "17:30"."""

    @property
    def days(self) -> Sequence[str]: ...
    @property
    def start(self) -> str: ...
    @property
    def end(self) -> str: ...


def of_room(options: RoomOptions) -> Calendar:
    """What the configuration says."""
    work, saturday, sunday = map(_of_hours, (options.workdays, options.saturday, options.sunday))
    return Calendar((*(work,) * 5, saturday, sunday), _of_hours(options.holidays))


def of_spans(spans: Iterable[Span], holidays: Quarters) -> Calendar:
    """What the centre says; on holidays the room's own hours hold."""
    found: list[set[int]] = [set() for _ in DAYS]
    for span in spans:
        for day in span.days:
            found[DAYS.index(day)] |= _between(span.start, span.end)
    return Calendar(tuple(map(frozenset, found)), holidays)


def _of_hours(hours: Iterable[str]) -> Quarters:
    return frozenset(quarter for each in hours for quarter in _between(*each.split("-")))


def _between(start: str, end: str) -> Quarters:
    """A quarter that is occupied in part is occupied."""
    return frozenset(range(_minutes(start) // 15, -(-_minutes(end) // 15)))


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
