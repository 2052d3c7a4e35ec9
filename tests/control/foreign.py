"""Rooms that are none of ours, of another build than model and test building, and a week in them.

`felt_c` is what people feel, `room_c` what the sensor says. One `step` is a minute; time begins on a Monday.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from agent.control.loop import Loop
from agent.control.room import HORIZON, Observed, Outlook, Room, RoomSeen, Seen, Unit

DAY = 1440
BAND_C = (21.0, 25.0)


def outdoor_c(minute: int) -> float:
    """Days differ by some degrees; the afternoon is warm."""
    return 28 + 2 * math.sin(minute / DAY * 1.7) + 6 * math.cos((minute / DAY - 15 / 24) * 2 * math.pi)


def open_at(minute: int) -> bool:
    """From 8 to 18 h, Monday to Friday."""
    return 480 <= minute % DAY < 1080 and minute // DAY % 7 < 5


class Foreign(Protocol):
    """What a simulator gives."""

    room_c: float
    felt_c: float
    power_w: float

    def step(self, minute: int, on: bool, setpoint_c: float) -> None: ...


class LongDuct:
    """One mass; cold arrives eight minutes after it was made, in a unit that follows its error slowly."""

    def __init__(self) -> None:
        self.felt_c = self.room_c = 28.0
        self.power_w = self.load = 0.0
        self.duct: deque[float] = deque([0.0] * 8, maxlen=8)

    def step(self, minute: int, on: bool, setpoint_c: float) -> None:
        wanted = min(max((self.felt_c - setpoint_c + 1.0) / 3.0, 0.0), 1.0) if on else 0.0
        self.load += (wanted - self.load) / 4
        self.load = 0.0 if self.load < 0.08 else self.load
        arriving = self.duct[0]
        self.duct.append(self.load)
        warm = outdoor_c(minute) + 1 + 3 * open_at(minute)
        self.felt_c += (warm - self.felt_c) / 200 - 0.10 * arriving
        self.power_w = 30 * on + 1400 * self.load
        self.room_c = self.felt_c


class TwoZones:
    """Unit and its own sensor in one half, people and our sensor in the other, which has the sun."""

    def __init__(self) -> None:
        self.felt_c = self.room_c = self.near_c = 28.0
        self.power_w, self.runs = 0.0, False

    def step(self, minute: int, on: bool, setpoint_c: float) -> None:
        self.runs = on and self.near_c > setpoint_c + (-0.5 if self.runs else 0.5)
        sun = max(0.0, math.sin((minute % DAY - 720) / 480 * math.pi)) if minute % DAY > 720 else 0.0
        between = self.felt_c - self.near_c
        self.near_c += (outdoor_c(minute) - self.near_c) / 400 + between / 15 - 0.30 * self.runs
        self.felt_c += (outdoor_c(minute) - self.felt_c) / 300 - between / 25
        self.felt_c += 0.015 * sun + 0.015 * open_at(minute)
        self.power_w = 5 + 1800 * self.runs
        self.room_c = self.felt_c


class OwnMind:
    """A unit that keeps six minutes on and five off whatever it is told, measures 1.5 K too much and takes a
    set point only every third minute; our sensor counts in half kelvins."""

    def __init__(self) -> None:
        self.felt_c, self.walls_c, self.room_c = 28.0, 27.0, 28.0
        self.power_w, self.runs, self.since, self.setpoint_c = 0.0, False, 10, 24.0

    def step(self, minute: int, on: bool, setpoint_c: float) -> None:
        self.setpoint_c = setpoint_c if minute % 3 == 0 else self.setpoint_c
        wants = on and self.felt_c + 1.5 > self.setpoint_c + (-1.0 if self.runs else 1.0)
        if wants != self.runs and self.since >= (6 if self.runs else 5):
            self.runs, self.since = wants, 0
        self.since += 1
        self.walls_c += (outdoor_c(minute) - self.walls_c) / 900 + (self.felt_c - self.walls_c) / 500
        self.felt_c += (self.walls_c - self.felt_c) / 60 + 0.02 * open_at(minute) - 0.16 * self.runs
        self.power_w = 2 + 1100 * self.runs
        self.room_c = round(self.felt_c * 2) / 2


@dataclass
class Week:
    """Minute by minute: what was told (on, set points), what was felt while open; energy in kWh."""

    loop: Loop
    told: list[tuple[bool, tuple[float, ...]]] = field(default_factory=list)
    felt_c: list[float] = field(default_factory=list)
    kwh: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def missed_kh(self, day: int) -> float:
        """K.h outside the band that day while it was open."""
        minutes = range(day * DAY, (day + 1) * DAY)
        low, high = BAND_C
        return sum(
            max(self.felt_c[at] - high, low - self.felt_c[at], 0) / 60 for at in minutes if open_at(at)
        )

    def changes(self, day: int) -> tuple[int, int]:
        """Starts and changes of set points commanded that day."""
        told = self.told[day * DAY : (day + 1) * DAY]
        pairs = list(pairwise(told))
        return sum(b[0] and not a[0] for a, b in pairs), sum(a[1] != b[1] for a, b in pairs)


def live(
    room: Foreign,
    days: int,
    *,
    every: int = 1,
    units: tuple[Unit, ...] = (Unit("ac", rated_w=1400.0, grid_k=0.5),),
    sees: Callable[[RoomSeen], RoomSeen] = lambda seen: seen,
    outdoor: bool = True,
    price: float = 0.85,
    **limits: float,
) -> Week:
    """The loop decides every `every` minutes; the units of a room share one plant. Time begins in 1970."""
    loop = Loop((Room("room", units, band_c=BAND_C, **limits),))
    week = Week(loop)
    on = False
    setpoints: tuple[float, ...] = (24.0,)
    for minute in range(days * DAY):
        if minute % every == 0:
            seen = sees(RoomSeen(Seen(room.room_c), Seen(55.0), Seen(room.power_w)))
            observed = Observed({"room": seen}, Seen(outdoor_c(minute)) if outdoor else None)
            decisions = loop.cycle(minute * 60_000, observed, {"room": outlook(minute, price)})
            on = any(decision.on for decision in decisions)
            setpoints = tuple(decision.setpoint_c or 24.0 for decision in decisions)
            week.reasons.append(decisions[0].reason)
        room.step(minute, on, min(setpoints))
        week.told.append((on, setpoints))
        week.felt_c.append(room.felt_c)
        week.kwh.append(room.power_w / 60_000)
    return week


def outlook(minute: int, price: float) -> Outlook:
    first = minute // 15
    occupied = tuple(open_at((first + at) * 15) for at in range(HORIZON))
    return Outlook(first % 96, occupied, (price,) * HORIZON)


def scheduled(room: Foreign, days: int, setpoint_c: float = 23.0, lead: int = 60) -> Week:
    """The same days under the plain schedule."""
    week = Week(Loop(()))
    for minute in range(days * DAY):
        on = open_at(minute) or open_at(minute + lead)
        room.step(minute, on, setpoint_c)
        week.told.append((on, (setpoint_c,)))
        week.felt_c.append(room.felt_c)
        week.kwh.append(room.power_w / 60_000)
    return week
