import asyncio
import contextlib
import itertools
from collections.abc import Sequence

import pytest

from agent.drivers.poll import REST_S_MAX, SLOT_S, TIMEOUT_SHARE, Job, Patience, Poller
from agent.model import Device, Group, Point, Quality, Reading


def job(
    device: str, interval_ms: int = 1000, group: str = "all", patience: Patience | None = None
) -> Job[None]:
    points = (Point("p0", "V"), Point("p1", "V"))
    return Job(Group(Device(device, "test"), group, points, interval_ms), None, patience or Patience())


class Bus:
    """A line on which a read takes `read_s`, and time that passes only there and in sleep."""

    def __init__(
        self, end_s: float, read_s: float = 0.0, dead: Sequence[str] = (), timeout_s: float = 0.5
    ) -> None:
        self.now_s, self.end_s, self.read_s, self.dead = 1000.0, 1000.0 + end_s, read_s, set(dead)
        self.timeout_s = timeout_s
        self.reads: list[tuple[str, float]] = []
        self.silent_s = 0.0
        self.reading = False
        self.published: list[Reading] = []
        self.poller: Poller[None]

    async def sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        if self.now_s > self.end_s:
            raise asyncio.CancelledError

    async def read(self, job: Job[None]) -> Reading:
        assert not self.reading, "a read started before the last one ended"
        name = job.group.device.name
        self.reads.append((name, self.now_s))
        self.reading = True
        try:
            if name in self.dead:
                await self.sleep(self.timeout_s)
                self.silent_s += self.timeout_s
                raise TimeoutError
            await self.sleep(self.read_s)
        finally:
            self.reading = False
        return Reading(job.group, 0, (1.0, 2.0), Quality.GOOD)

    async def run(self, *jobs: Job[None]) -> dict[str, list[float]]:
        self.poller = Poller(jobs, clock=lambda: self.now_s)
        with pytest.raises(asyncio.CancelledError):
            await self.poller.run(self.read, self.published.extend, sleep=self.sleep)
        names = {job.group.device.name for job in jobs}
        return {name: [at for who, at in self.reads if who == name] for name in names}


def gaps(times: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


async def test_the_period_does_not_drift() -> None:
    bus = Bus(end_s=1000, read_s=0.3)
    times = (await bus.run(job("a")))["a"]
    grid = times[1:]
    assert times[0] == 1000.0
    assert all(abs(at - (grid[0] + n)) < 1e-6 for n, at in enumerate(grid))
    assert len(grid) in (999, 1000)
    assert bus.poller.stretch == pytest.approx(1.0)


async def test_devices_are_spread_over_the_interval_on_shared_slots() -> None:
    times = await Bus(end_s=5).run(*(job(f"meter-{at}") for at in range(50)))
    phases = {round(at[1] % 1, 6) for at in times.values()}
    assert len(phases) > 8
    assert all(abs(phase / SLOT_S - round(phase / SLOT_S)) < 1e-6 for phase in phases)


@pytest.mark.parametrize(("read_s", "stretch"), [(0.05, 1.0), (0.15, 1.5), (0.4, 4.0), (1.0, 10.0)])
async def test_an_overloaded_line_serves_everyone_at_a_stretched_period_that_is_measured(
    read_s: float, stretch: float
) -> None:
    bus = Bus(end_s=300, read_s=read_s)
    times = await bus.run(*(job(f"m{at}") for at in range(10)))
    counts = [len(each) for each in times.values()]
    assert min(counts) >= 0.97 * 300 / stretch - 1
    assert max(counts) - min(counts) <= 0.05 * max(counts) + 2
    assert bus.poller.stretch == pytest.approx(stretch, rel=0.15)
    assert sum(counts) * read_s >= 0.98 * min(300.0, 10 * read_s * 300)  # the line is never idle in vain


async def test_a_long_period_keeps_its_share_of_an_overloaded_line() -> None:
    jobs = [*(job(f"fast{at}") for at in range(5)), *(job(f"slow{at}", 10_000) for at in range(5))]
    times = await Bus(end_s=200, read_s=0.4).run(*jobs)
    assert all(len(each) >= 10 for each in times.values())


async def test_a_dead_device_rests_ever_longer_and_costs_the_live_ones_nothing_lasting() -> None:
    bus = Bus(end_s=3000, dead=["dead"])
    times = await bus.run(job("dead"), job("live"))
    assert len(times["live"]) >= 2990
    rests = gaps(times["dead"])
    assert rests[:4] == pytest.approx([1.5, 2.5, 4.5, 8.5], abs=0.6)
    assert max(rests) <= REST_S_MAX + 1.001
    assert rests == sorted(rests)
    assert bus.poller.stretch == pytest.approx(1.0, abs=0.01)


async def test_the_rest_of_a_dead_device_grows_to_five_minutes_and_no_further() -> None:
    bus = Bus(end_s=4000, dead=["dead"])
    rests = gaps((await bus.run(job("dead"), job("live")))["dead"])
    assert rests[5:9] == pytest.approx([32.5, 64.5, 128.5, 256.5], abs=1.1)
    assert rests[9:] == pytest.approx([300.5] * len(rests[9:]), abs=1.1)
    assert len(rests) >= 18


async def test_all_groups_of_a_dead_device_rest_together_and_are_published_bad() -> None:
    patience = Patience()
    bus = Bus(end_s=100, dead=["dead"])
    groups = [job("dead", 1000, name, patience) for name in ("fast", "middle", "slow")]
    times = await bus.run(*groups, job("live"))
    assert len(times["dead"]) < 10
    bad = [reading.group.name for reading in bus.published if reading.quality is Quality.BAD]
    assert bad[:4] == [bad[0], "fast", "middle", "slow"]


async def test_dead_devices_take_no_more_than_their_share_of_a_full_line() -> None:
    dead = [f"dead{at}" for at in range(20)]
    bus = Bus(end_s=600, read_s=0.4, dead=dead)
    times = await bus.run(*map(job, dead), *(job(f"live{at}") for at in range(5)))
    live = [len(times[f"live{at}"]) for at in range(5)]
    assert sum(live) * 0.4 >= 0.85 * 600
    assert min(live) >= 0.75 * 600 / 2  # 2 s a round
    assert bus.silent_s <= TIMEOUT_SHARE * 600 + 20
    assert all(times[name] for name in dead)


async def test_live_devices_are_read_at_the_start_before_every_dead_one_was_waited_for() -> None:
    dead = [f"dead{at}" for at in range(30)]
    bus = Bus(end_s=60, read_s=0.01, dead=dead)
    times = await bus.run(job("a-live"), *map(job, dead), job("z-live"))
    assert max(gaps(times["a-live"])) <= 1.6
    assert max(gaps(times["z-live"])) <= 1.6


async def test_a_device_that_comes_back_has_its_period_at_once() -> None:
    bus = Bus(end_s=300, dead=["m"])
    original = bus.read

    async def read(job: Job[None]) -> Reading:
        if bus.now_s > 1100:
            bus.dead.clear()
        return await original(job)

    bus.read = read  # type: ignore[method-assign]
    times = (await bus.run(job("m")))["m"]
    good = [reading.quality for reading in bus.published if reading].index(Quality.GOOD)
    rest = times[good:]
    assert rest[-1] - rest[0] == pytest.approx(len(rest) - 1, abs=1.1)
    assert bus.poller.stretch == 1.0


async def test_one_lost_answer_is_asked_for_again_soon_not_after_a_long_interval() -> None:
    bus = Bus(end_s=2000, dead=["m"])
    original = bus.read

    async def read(job: Job[None]) -> Reading:
        if len(bus.reads) == 1:
            bus.dead.clear()
        return await original(job)

    bus.read = read  # type: ignore[method-assign]
    times = (await bus.run(job("m", 900_000)))["m"]
    assert times[1] - times[0] == pytest.approx(1.5)
    assert gaps(times)[2:] == pytest.approx([900.0] * (len(times) - 3))


async def test_a_period_shorter_than_a_slot_is_kept() -> None:
    times = (await Bus(end_s=2).run(job("fast", interval_ms=10)))["fast"]
    assert len(times) == pytest.approx(200, abs=3)


async def test_what_read_raises_ends_it() -> None:
    async def read(_: Job[None]) -> Reading:
        raise ConnectionError("the line is gone")

    with pytest.raises(ConnectionError, match="the line is gone"):
        await Poller([job("m")]).run(read, lambda readings: None)


async def test_who_breaks_the_line_does_not_keep_the_others_from_being_read() -> None:
    bus = Bus(end_s=60)
    jobs = [job("breaker"), job("a"), job("b")]
    bus.poller = Poller(jobs, clock=lambda: bus.now_s)
    read: list[str] = []

    async def reading(one: Job[None]) -> Reading:
        name = one.group.device.name
        read.append(name)
        if name == "breaker":
            raise ConnectionError("the gateway hangs up when asked for this unit")
        return Reading(one.group, 0, (1.0, 2.0), Quality.GOOD)

    async def supervised() -> None:
        while True:
            with contextlib.suppress(ConnectionError):
                await bus.poller.run(reading, bus.published.extend, sleep=bus.sleep)
            bus.now_s += 0.5

    with pytest.raises(asyncio.CancelledError):
        await supervised()
    assert read.count("breaker") < 10
    assert min(read.count("a"), read.count("b")) > 50
