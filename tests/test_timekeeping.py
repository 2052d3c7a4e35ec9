"""Clock, hub and store together: nothing leaves with a date that nobody vouches for."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agent import timekeeping
from agent.hub import Hub
from agent.model import Quality, Reading
from agent.store import Store
from agent.timekeeping import Timekeeper
from tests.conftest import group_of, until
from tests.test_clock import Box

GROUP = group_of()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "CHECK_S", 0.01)


def reading(now_s: float) -> Reading:
    return Reading(GROUP, round(now_s * 1000), (1.0, 2.0), Quality.GOOD)


async def test_a_box_without_a_battery_boots_in_the_past(tmp_path: Path) -> None:
    box = Box(wall_s=1000.0)
    clock = box.clock()
    hub = Hub([GROUP])
    async with Store(tmp_path / "r.db") as store:
        hub.listen(store.append)
        keeper = Timekeeper(clock, store, hub)
        await keeper.begin()
        running = asyncio.create_task(keeper.run())
        for _ in range(5):
            keeper.publish([reading(clock.now_s())])
            box.boot_s += 1
        await store.commit()
        keeper.publish([reading(clock.now_s())])  # not on disk yet
        under_way = reading(clock.now_s())
        assert await store.read_after(0, 100) == []
        assert hub.latest[GROUP].quality is Quality.UNCERTAIN
        box.set_wall(1_700_000_000)
        box.synchronised = True
        await until(lambda: store.released_seq == 6)
        keeper.publish([under_way])  # read before the clock was set, published after
        box.boot_s += 1
        keeper.publish([reading(clock.now_s())])
        found = [each.time_ms for _, each in await store.read_after(0, 100)]
        first_ms = 1_700_001_000_000
        assert found == [*(first_ms + n * 1000 for n in range(6)), first_ms + 5000, first_ms + 6000]
        assert hub.latest[GROUP].quality is Quality.GOOD
        assert hub.latest[GROUP].time_ms == first_ms + 6000
        running.cancel()


async def test_a_disk_that_refuses_delays_the_release_and_no_more(tmp_path: Path) -> None:
    box = Box(wall_s=1000.0)
    clock = box.clock()
    hub = Hub([GROUP])
    async with Store(tmp_path / "r.db") as store:
        hub.listen(store.append)
        keeper = Timekeeper(clock, store, hub)
        await keeper.begin()
        keeper.publish([reading(clock.now_s())])
        await store.commit()
        await store._disk._db.execute("PRAGMA busy_timeout = 1")
        blocker = sqlite3.connect(tmp_path / "r.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        running = asyncio.create_task(keeper.run())
        box.set_wall(1_700_000_000)
        box.synchronised = True
        await asyncio.sleep(0.1)
        assert store.released_seq == 0
        blocker.execute("ROLLBACK")
        blocker.close()
        await until(lambda: store.released_seq == 1)
        ((_, only),) = await store.read_after(0, 10)
        assert only.time_ms == 1_700_001_000_000
        running.cancel()


async def test_a_trusted_clock_costs_nothing(tmp_path: Path) -> None:
    hub = Hub([GROUP])
    seen: list[object] = []
    hub.listen(seen.append)
    async with Store(tmp_path / "r.db") as store:
        keeper = Timekeeper(Box().clock("always"), store, hub)
        await keeper.begin()
        batch = [reading(5.0)]
        keeper.publish(batch)
    assert seen[0] is batch
