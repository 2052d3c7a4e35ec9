"""A site in one process: a store, a hub, a dispatch, and what plug-ins did with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

from agent.dispatch import Dispatch
from agent.hub import Hub
from agent.model import Device, Group, Point, Reading, Writable
from agent.plugins.host import Program, plugin_work
from agent.plugins.live import Doors, LiveSites
from agent.plugins.outline import outline
from agent.schedule import Alert, Outcome, Turn, Work
from agent.schedule.child import Limits
from agent.store import Store

NOW_MS = 1_760_000_000_000
METER = Group(Device("meter", "test"), "all", (Point("active_power", "W"), Point("voltage", "V")), 60_000)
UNIT = Group(Device("office", "test"), "all", (Point("setpoint", "°C", writable=Writable(16, 30, 0.5)),), 0)


@dataclass
class Lab:
    folder: Path
    hub: Hub
    store: Store
    doors: Doors
    dispatch: Dispatch
    published: list[Reading] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    progress: list[tuple[float, str]] = field(default_factory=list)

    def file(self, source: str, name: str = "mine.py") -> Path:
        file = self.folder / name
        file.write_text(dedent(source), encoding="utf-8")
        return file

    def work(
        self,
        source: str,
        *,
        name: str = "mine.py",
        time_s: float = 20.0,
        memory_mb: int = 128,
        may_write: Sequence[str] = (),
        **options: float,
    ) -> Work:
        file = self.file(source, name)
        found = outline(file)
        program = Program(file, dict(options), "America/Sao_Paulo", Limits(time_s, memory_mb))
        return plugin_work(program, LiveSites(self.doors, "mine", found, may_write))

    async def run(self, source: str, *, due_ms: int = NOW_MS, **given: object) -> Outcome:
        work = self.work(source, **given)  # type: ignore[arg-type]
        return await work(Turn(due_ms, lambda share, text: self.progress.append((share, text))))


@asynccontextmanager
async def lab_in(folder: Path) -> AsyncIterator[Lab]:
    hub = Hub([METER, UNIT])
    published: list[Reading] = []
    alerts: list[Alert] = []

    async def write(device: str, point: str, value: float) -> None:
        """The unit takes everything."""

    async with Store(folder / "readings.db") as store:
        hub.listen(store.append)
        hub.listen(published.extend)
        dispatch = Dispatch(hub.groups, write, now_s=lambda: NOW_MS / 1000)
        doors = Doors(hub, store, dispatch, hub.publish, alarm=alerts.append, now_s=lambda: NOW_MS / 1000)
        yield Lab(folder, hub, store, doors, dispatch, published, alerts)


def fill(hub: Hub, hours: int = 24, until_ms: int = NOW_MS) -> None:
    """A reading a minute: 1000 W and the minute's number modulo 60; the voltage is 127 V."""
    first_ms = until_ms - hours * 3_600_000
    readings = [
        Reading(METER, first_ms + minute * 60_000, (1000.0 + minute % 60, 127.0))
        for minute in range(hours * 60)
    ]
    hub.publish(readings)
