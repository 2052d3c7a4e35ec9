"""Clock, hub and store together: nothing leaves with a date that nobody vouches for."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent import timekeeping
from agent.hub import Hub
from agent.model import Quality, Reading
from agent.store import Store
from agent.store import epochs as store_epochs
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
        assert found == [*(first_ms + n * 1000 for n in range(6)), first_ms + 5001, first_ms + 6000]
        assert hub.latest[GROUP].quality is Quality.GOOD
        assert hub.latest[GROUP].time_ms == first_ms + 6000
        running.cancel()


async def test_two_readings_of_a_group_never_have_one_stamp(tmp_path: Path) -> None:
    """A centre keeps one value a millisecond: the second would take the place of the first."""
    hub, other = Hub([GROUP]), group_of("other")
    async with Store(tmp_path / "r.db") as store:
        hub.listen(store.append)
        keeper = Timekeeper(Box(wall_s=1000.0).clock("always"), store, hub)
        await keeper.begin()
        for time_ms in (5000, 5000, 5000, 6000, 5500):  # the last is an old one that came late
            keeper.publish((Reading(GROUP, time_ms, (1.0, 2.0)),))
        keeper.publish((Reading(other, 6000, (1.0, 2.0)),))
        found = [each.time_ms for _, each in await store.read_after(0, 100)]
    assert found == [5000, 5001, 5002, 6000, 5500, 6000]


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


async def run_of(file: Path, box: Box, stamps: list[int], count: int = 3, trust: str = "always") -> None:
    """An agent that is started, publishes `count` readings a second apart, and is stopped."""
    hub = Hub([GROUP])
    async with Store(file) as store:
        clock = box.clock(trust)
        hub.listen(store.append)
        hub.listen(lambda readings: stamps.extend(each.time_ms for each in readings))
        keeper = Timekeeper(clock, store, hub)
        await keeper.begin()
        for _ in range(count):
            keeper.publish([reading(clock.now_s())])
            box.boot_s += 1
            clock.check()


async def test_a_clock_set_back_and_a_restart_reorder_nothing(tmp_path: Path) -> None:
    box, stamps = Box(wall_s=1e9), list[int]()
    await run_of(tmp_path / "r.db", box, stamps)
    box.set_wall(-3600)
    await run_of(tmp_path / "r.db", box, stamps)
    await run_of(tmp_path / "r.db", box, stamps)
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == pytest.approx(1e12 + 5_600, abs=300)


async def test_a_last_stamp_more_than_a_day_ahead_is_taken_for_a_mistake(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box, stamps = Box(wall_s=3.8e9), list[int]()  # 2090
    await run_of(tmp_path / "r.db", box, stamps)
    box.set_wall(-2e9)
    await run_of(tmp_path / "r.db", box, stamps)
    assert stamps[3] == pytest.approx(1.8e12 + 3000, abs=100)
    assert "believed" in caplog.text
    caplog.clear()
    box.set_wall(-60)  # the wrong stamps are still in the log, and hide nothing
    await run_of(tmp_path / "r.db", box, stamps)
    assert stamps[3:] == sorted(set(stamps[3:]))
    assert "believed" not in caplog.text


def epochs(file: Path) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(file)) as db:
        return list(db.execute("SELECT first_seq, offset_ms FROM epoch ORDER BY first_seq"))


async def test_boot_and_time_since_boot_stay_right_over_a_jump(tmp_path: Path) -> None:
    box, hub = Box(wall_s=1e9), Hub([GROUP])
    taken_at_ms = []
    async with Store(tmp_path / "r.db") as store:
        hub.listen(store.append)
        clock = box.clock("always")
        keeper = Timekeeper(clock, store, hub)
        await keeper.begin()
        running = asyncio.create_task(keeper.run())
        for jump_s in (0.0, 600.0, -30.0, 0.0):
            box.set_wall(jump_s)
            await asyncio.sleep(0.05)
            taken_at_ms.append(box.boot_s * 1000)
            keeper.publish([reading(clock.now_s())])
            box.boot_s += 1
        for _ in range(40):  # until the wall clock is reached
            box.boot_s += 10
            await asyncio.sleep(0.015)
        taken_at_ms.append(box.boot_s * 1000)
        keeper.publish([reading(clock.now_s())])
        running.cancel()
    with closing(sqlite3.connect(tmp_path / "r.db")) as db:
        found = db.execute(
            "SELECT time_ms - (SELECT offset_ms FROM epoch WHERE first_seq <= seq"
            " ORDER BY first_seq DESC LIMIT 1) FROM reading ORDER BY seq"
        ).fetchall()
    assert [since_ms for (since_ms,) in found] == pytest.approx(taken_at_ms, abs=250)
    assert 3 <= len(epochs(tmp_path / "r.db")) <= 8


async def test_epochs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_epochs, "EPOCHS_MAX", 5)
    async with Store(tmp_path / "r.db") as store:
        for offset_ms in range(12):
            store.append([reading(offset_ms)])
            await store.commit()
            await store.begin_epoch("boot", offset_ms, trusted=True)
    assert [offset for _, offset in epochs(tmp_path / "r.db")] == [7, 8, 9, 10, 11]
