"""A site for tests: one room with a unit that obeys, a real Dispatch, a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.control.options import ControlOptions, RoomOptions, TariffOptions
from agent.control.planner import Day, Planned, Planner
from agent.control.room import Decision
from agent.control.site import Doors, Rests, SiteControl
from agent.dispatch import Dispatch
from agent.drivers.command import WriteFailed
from agent.hub import Hub
from agent.model import Device, Group, Kind, Point, Quality, Reading, Writable

MONDAY_S = 1_767_582_000.0
"""2026-01-05, midnight in São Paulo, a Monday."""
HOUR_S = 3600.0

AC = Group(
    Device("ac", "unit"),
    "state",
    (
        Point("on", kind=Kind.STATE, states={0: "off", 1: "on"}, writable=Writable(0, 1)),
        Point("mode", kind=Kind.STATE, states={2: "dry", 4: "cool"}, writable=Writable(0, 4)),
        Point("fan", kind=Kind.STATE, states={0: "auto", 3: "high"}, writable=Writable(0, 3)),
        Point("setpoint", "°C", writable=Writable(16, 30, 0.5)),
    ),
    1000,
)
WALL = Group(Device("wall", "ambient"), "room", (Point("temperature", "°C"), Point("humidity", "%")), 1000)


def room_options(*, fan: float | None = None, **changed: Any) -> RoomOptions:
    unit: dict[str, Any] = {
        "id": "split",
        "on_point": "ac.on",
        "setpoint_point": "ac.setpoint",
        "mode_point": "ac.mode",
        "cool_code": 4.0,
        "rated_w": 1200.0,
        "setpoint_step_k": 0.5,
    }
    unit |= {} if fan is None else {"fan_point": "ac.fan", "fan_code": fan}
    table = {"id": "office-101", "temperature_point": "wall.temperature", "mode": "control", "unit": [unit]}
    return RoomOptions.model_validate(table | changed)


def quick(day: Day) -> Planned | None:
    """By the dynamic programme, in this process."""
    from agent.control.outline import planner
    from agent.control.plan import dynamic

    return planner(dynamic)(day)


@dataclass
class Place:
    """`planner`: None for that of the site; `now_s` is the only clock; `written` what reached the unit, which
    then says so unless `deaf`."""

    folder: Path
    rooms: Sequence[RoomOptions]
    options: ControlOptions = field(default_factory=ControlOptions)
    planner: Planner | None = quick
    now_s: float = MONDAY_S + 10 * HOUR_S
    certain: bool = True
    deaf: bool = False
    broken: bool = False
    values: dict[str, float] = field(
        default_factory=lambda: {"on": 0.0, "mode": 4.0, "fan": 0.0, "setpoint": 23.0}
    )
    temp_c: float = 27.0
    latest: Mapping[Group, Reading] | None = None  # instead of the hub's
    written: list[tuple[str, float]] = field(default_factory=list)
    published: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hub = Hub([AC, WALL])
        self.rests = Rests(self.rooms, self.clock)
        self.dispatch = Dispatch(
            [AC], self.write, guard=self.rests.wait_s, clock=self.clock, now_s=self.clock
        )
        self.dispatch.listen(self.rests.heard)

    def clock(self) -> float:
        return self.now_s

    async def write(self, device: str, point: str, value: float) -> None:
        assert device == "ac"
        if self.broken:
            raise WriteFailed("no answer")
        self.written.append((point, value))
        if not self.deaf:
            self.values[point] = value

    def control(self) -> SiteControl:
        return SiteControl(
            self.options,
            self.rooms,
            TariffOptions(),
            timezone="America/Sao_Paulo",
            data_dir=self.folder,
            planner=self.planner,
            doors=Doors(
                self.dispatch,
                self.hub.groups,
                self.hub.latest if self.latest is None else self.latest,
                self.published.extend,
                self.clock,
                lambda: self.certain,
                monotonic=self.clock,
                rests=self.rests,
            ),
        )

    def measure(self) -> None:
        """What the lines would publish now."""
        time_ms = round(self.now_s * 1000)
        values = [self.values[point.name] for point in AC.points]
        self.hub.publish(
            [
                Reading(AC, time_ms, values, Quality.GOOD),
                Reading(WALL, time_ms, (self.temp_c, 50.0), Quality.GOOD),
            ]
        )

    async def minutes(self, control: SiteControl, count: int, *, moving: bool = True) -> list[Decision]:
        """A cycle each minute; the last decision of each."""
        found = []
        for _ in range(count):
            self.temp_c += 0.01 if moving else 0.0
            self.measure()
            found.append((await control.cycle())[-1])
            await settle()
            self.now_s += 60
        return found


async def settle() -> None:
    """Let Dispatch write what it has."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def dispatching(place: Place) -> AsyncIterator[None]:
    task = asyncio.create_task(place.dispatch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def last_of(published: Sequence[Reading]) -> Mapping[str, float]:
    """The newest published values by the end of their point's name."""
    reading = published[-1]
    names = (point.name.rpartition("office_101_")[2] for point in reading.group.points)
    return dict(zip(names, reading.values, strict=True))
