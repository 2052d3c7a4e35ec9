"""A hub with two meters, clocks moved by hand, and what the tests of alarms share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from agent.alarms import Alarm, Priority, Rule, Words
from agent.alarms.watch import Watch
from agent.hub import Hub
from agent.model import Device, Group, Kind, Point, Quality, Reading

START_MS = 1_767_322_984_000

FAST = Group(Device("meter", "t"), "fast", (Point("voltage", "V"), Point("mode", "", Kind.STATE)), 1000)
SLOW = Group(Device("meter", "t"), "slow", (Point("energy", "kWh"),), 10_000)
ROOM = Group(Device("room", "t"), "all", (Point("temperature", "°C"),), 0)

RULES: TypeAdapter[list[Any]] = TypeAdapter(list[Rule])


def rules(*tables: dict[str, Any]) -> list[Any]:
    """Rules as a configuration writes them."""
    return RULES.validate_python([{"name": f"r{at}", **table} for at, table in enumerate(tables)])


HIGH = {"kind": "limit", "point": "meter.voltage", "high": 230.0}


@dataclass
class Clock:
    """Seconds, moved by hand."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Site:
    """`said` is what the rules have told, oldest first."""

    tables: list[dict[str, Any]]
    raised_before: tuple[str, ...] = ()
    clock: Clock = field(default_factory=Clock)
    said: list[tuple[str, bool, float]] = field(default_factory=list)
    time_ms: int = START_MS

    def __post_init__(self) -> None:
        self.hub = Hub((FAST, SLOW, ROOM))
        self.watch = Watch(
            rules(*self.tables),
            self.hub.latest,
            lambda name, raised, value: self.said.append((name, raised, value)),
            raised=self.raised_before.__contains__,
            clock=self.clock,
        )
        self.hub.listen(self.watch.heard)

    def pass_(self, seconds: float) -> None:
        """Time goes on, a tick comes."""
        self.clock.now_s += seconds
        self.time_ms += round(seconds * 1000)
        self.watch.tick()

    def publish(self, group: Group, *values: float, quality: Quality = Quality.GOOD, ago_ms: int = 0) -> None:
        self.hub.publish([Reading(group, self.time_ms - ago_ms, values, quality)])

    def volts(self, volts: float, **more: Any) -> None:
        self.publish(FAST, volts, 1.0, **more)

    @property
    def names(self) -> list[tuple[str, bool]]:
        return [(name, raised) for name, raised, _ in self.said]


def alarm(name: str = "a", priority: Priority = Priority.MEDIUM) -> Alarm:
    return Alarm(name, Words(f"pt {name}", f"en {name}"), priority, "meter.voltage")


NAN = math.nan
