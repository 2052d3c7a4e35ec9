"""A site with a real store: readings of made-up meters, the real child, and what it published."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from agent.analysis.site import Analyses, AnalysisOptions, Doors, MeterOptions
from agent.analysis.site.job import Place
from agent.hub import Hub
from agent.model import Device, Group, Kind, Point, Reading
from agent.schedule import Alert, Outcome, Turn
from agent.store import Store, StoreOptions

ZONE = "America/Sao_Paulo"
BEGIN_MS = 1_772_323_200_000  # 2026-03-01 00:00 UTC, a Sunday
MINUTE_MS, DAY_MS = 60_000, 86_400_000


def meter_group(device: str = "main", period_ms: int = MINUTE_MS) -> Group:
    points = (
        *(Point(f"voltage_l{phase}", "V") for phase in (1, 2, 3)),
        Point("active_power", "W"),
        Point("reactive_power", "var"),
        Point("frequency", "Hz"),
        Point("energy_import", "kWh", Kind.TOTAL),
    )
    return Group(Device(device, "test"), "all", points, period_ms)


Shape = Callable[[np.ndarray], np.ndarray]


def steady(times_ms: np.ndarray) -> np.ndarray:
    """Rows of `meter_group`: 127 V, 12 kW, 3 kvar, 60 Hz and the counter of that."""
    hours = (times_ms - BEGIN_MS) / 3_600_000
    one = np.ones(times_ms.size)
    return np.stack([127 * one, 127 * one, 127 * one, 12e3 * one, 3e3 * one, 60 * one, 12 * hours], axis=1)


@dataclass
class Site:
    folder: Path
    hub: Hub
    store: Store
    now_ms: int = BEGIN_MS
    certain: bool = True
    options: AnalysisOptions = field(default_factory=AnalysisOptions)
    said: Sequence[MeterOptions] = ()
    tariff: str = ""
    published: list[Reading] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)

    async def fill(
        self, group: Group, shape: Shape, from_ms: int, to_ms: int, period_ms: int = MINUTE_MS
    ) -> None:
        """Readings of `group` as they would have come; the clock goes with them."""
        times_ms = np.arange(from_ms, to_ms, period_ms, dtype=np.int64)
        rows = shape(times_ms).tolist()
        for at in range(0, len(rows), 5000):
            part = zip(times_ms[at : at + 5000].tolist(), rows[at : at + 5000], strict=True)
            self.store.append([Reading(group, time_ms, row) for time_ms, row in part])
            await self.store.commit()
        self.now_ms = max(self.now_ms, to_ms)

    def analyses(self) -> Analyses:
        doors = Doors(
            self.hub,
            self._publish,
            self.alerts.append,
            lambda: self.now_ms / 1000,
            lambda: self.certain,
        )
        place = Place(self.folder / "readings.db", self.folder, ZONE)
        return Analyses(self.options, self.said, doors, place, tariff=self.tariff)

    def _publish(self, readings: Sequence[Reading]) -> None:
        self.published += readings

    async def run(self, name: str = "analysis", due_ms: int | None = None) -> Outcome:
        """One run of the job, and forget what was published before."""
        self.published.clear()
        job = next(job for job in self.analyses().jobs if job.name == name)
        turn = Turn(
            self.now_ms if due_ms is None else due_ms, lambda share, text: self.progress.append(share)
        )
        return await job.work(turn)

    def value(self, point: str) -> float:
        """What was published last of `analysis.<point>`."""
        found = [
            reading.values[at]
            for reading in self.published
            for at, each in enumerate(reading.group.points)
            if each.name == point
        ]
        assert found, f"{point} was not published"
        return found[-1]


@asynccontextmanager
async def site(folder: Path, *groups: Group) -> AsyncIterator[Site]:
    async with Store(folder / "readings.db", StoreOptions()) as store:
        await store.register(groups)
        yield Site(folder, Hub(groups), store)
