import asyncio
from collections.abc import Sequence

import pytest

from agent.drivers.poll import BACKOFF_S_MAX, SLOT_S, Job, poll
from agent.model import Quality, Reading
from tests.conftest import group_of


class Bus:
    """A line on which a read takes `read_s`, and time that passes only there and in sleep."""

    def __init__(self, end_s: float, read_s: float = 0.0, dead: Sequence[str] = ()) -> None:
        self.now_s, self.end_s, self.read_s, self.dead = 1000.0, 1000.0 + end_s, read_s, set(dead)
        self.reads: list[tuple[str, float]] = []
        self.reading = False
        self.published: list[Reading] = []

    async def sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        if self.now_s > self.end_s:
            raise asyncio.CancelledError

    async def read(self, job: Job[None]) -> Reading:
        assert not self.reading, "a read started before the last one ended"
        self.reading = True
        name = job.group.device.name
        self.reads.append((name, self.now_s))
        await self.sleep(self.read_s)
        self.reading = False
        if name in self.dead:
            return job.group.bad(0)
        return Reading(job.group, 0, (1.0, 2.0), Quality.GOOD)

    async def run(self, *devices: str, interval_ms: int = 1000) -> dict[str, list[float]]:
        jobs = [Job(group_of(name, interval_ms=interval_ms), None) for name in devices]
        with pytest.raises(asyncio.CancelledError):
            await poll(jobs, self.read, self.published.extend, clock=lambda: self.now_s, sleep=self.sleep)
        return {name: [at for who, at in self.reads if who == name] for name in devices}


async def test_the_period_does_not_drift() -> None:
    times = (await Bus(end_s=1000, read_s=0.3).run("a"))["a"]
    grid = times[1:]
    assert times[0] == 1000.0
    assert all(abs(at - (grid[0] + n)) < 1e-6 for n, at in enumerate(grid))
    assert len(grid) in (999, 1000)


async def test_devices_are_spread_over_the_interval_on_shared_slots() -> None:
    times = await Bus(end_s=5).run(*(f"meter-{at}" for at in range(50)))
    phases = {round(at[1] % 1, 6) for at in times.values()}
    assert len(phases) > 8
    assert all(abs(phase / SLOT_S - round(phase / SLOT_S)) < 1e-6 for phase in phases)


async def test_an_overloaded_line_serves_everyone_at_a_stretched_period() -> None:
    names = [f"m{at}" for at in range(10)]
    times = await Bus(end_s=100, read_s=0.4).run(*names)  # 4 s of work a second
    counts = [len(times[name]) for name in names]
    assert min(counts) >= 20
    assert max(counts) - min(counts) <= 3


async def test_a_dead_device_costs_ever_less() -> None:
    times = await Bus(end_s=1000, dead=["dead"]).run("dead", "live")
    assert len(times["live"]) >= 999
    assert len(times["dead"]) < 40
    gaps = [after - before for before, after in zip(times["dead"], times["dead"][1:], strict=False)]
    assert max(gaps) <= BACKOFF_S_MAX + 1.001


async def test_a_device_that_comes_back_has_its_period_at_once() -> None:
    bus = Bus(end_s=300, dead=["m"])
    original = bus.read

    async def read(job: Job[None]) -> Reading:
        if bus.now_s > 1100:
            bus.dead.clear()
        return await original(job)

    bus.read = read  # type: ignore[method-assign]
    times = (await bus.run("m"))["m"]
    good = [reading.quality for reading in bus.published].index(Quality.GOOD)
    rest = times[good:]
    assert rest[-1] - rest[0] == pytest.approx(len(rest) - 1, abs=1.1)


async def test_a_period_shorter_than_a_slot_is_kept() -> None:
    times = (await Bus(end_s=2).run("fast", interval_ms=10))["fast"]
    assert len(times) == pytest.approx(200, abs=3)
