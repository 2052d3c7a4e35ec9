"""Readings of one store brought into another: each once, with what became of it."""

import asyncio
from pathlib import Path

from agent.store import Store, StoreOptions
from agent.store.joining import join
from agent.store.progress import Progress
from tests.store.test_sealing import ALL, GROUPS, SIZE, bits, everything, some

BOOT = "boot-1"


async def two(folder: Path) -> tuple[Path, Path]:
    """Home with 2000 readings, of which the centre has 500; away with the 3000 that follow, of which it has
    1001 to 2500 and the broker all but those of device b."""
    home, away = folder / "home.db", folder / "away.db"
    async with Store(home, chunk_size=SIZE) as store:
        store.append(some(2000, 0))
        store.outbox.passed("center", 1, 500)
        store.outbox.progress("broker")
    async with Store(away, chunk_size=SIZE) as store:
        store.append(some(3000, 2000))
        await store.commit()
        store.outbox.passed("center", 1001, 2500)
        store.ledger.delivered("center", some(1500, 3000))
        store.outbox.passed("broker", 1, 3000)
        store.outbox.put("broker/b", Progress(3000).again(3000, 3000))
        await store.upkeep.seal()
    return home, away


async def test_every_reading_comes_once_and_stays_delivered(tmp_path: Path) -> None:
    home, away = await two(tmp_path)
    async with Store(home) as store:
        assert await join(away, store, StoreOptions()) == 3000
        assert [bits(each) for _, each in await everything(store)] == [bits(each) for each in some(5000, 0)]
        assert store.outbox.progress("center").spans(5000) == [(501, 3000), (4501, 5000)]
        assert store.outbox.progress("broker").spans(5000) == [(1, 2000), (5000, 5000)]
        rows = await store.ledger.rows(*ALL)
        assert sum(row.acquired for row in rows) == 5000
        assert sum(row.delivered.get("center", 0) for row in rows) == 1500


async def test_done_again_it_adds_nothing(tmp_path: Path) -> None:
    home, away = await two(tmp_path)
    away.with_suffix(".joining").touch()
    async with Store(home) as store:  # an attempt that was cut short
        store.append(some(1234, 2000))
    async with Store(home) as store:
        assert await join(away, store, StoreOptions()) == 3000 - 1234
        found = [bits(each) for _, each in await everything(store)]
        assert sorted(found) == sorted(bits(each) for each in some(5000, 0))
        assert sum(row.acquired for row in await store.ledger.rows(*ALL)) == 5000


async def test_a_kill_after_the_last_commit_counts_nothing_twice(tmp_path: Path) -> None:
    home, away = await two(tmp_path)
    for _ in range(2):  # the second start finds the file still there
        async with Store(home) as store:
            await join(away, store, StoreOptions())
            rows = await store.ledger.rows(*ALL)
        assert sum(row.acquired for row in rows) == 5000
        assert sum(row.delivered.get("center", 0) for row in rows) == 1500


async def test_what_a_device_is_to_deliver_again_is_not_counted_as_delivered(tmp_path: Path) -> None:
    home, away = tmp_path / "home.db", tmp_path / "away.db"
    async with Store(away) as store:
        store.append(some(90, 0))
        store.outbox.passed("center", 1, 90)
        store.ledger.delivered("center", some(90, 0))
        store.outbox.put("center/b", Progress(90).again(1, 90))
    async with Store(home) as store:
        await join(away, store, StoreOptions())
        rows = await store.ledger.rows(*ALL)
        assert store.outbox.progress("center").waiting(90) == 90
        assert sum(row.delivered.get("center", 0) for row in rows) == 0


async def test_what_was_given_up_in_memory_is_counted_at_home(tmp_path: Path) -> None:
    home, away = tmp_path / "home.db", tmp_path / "away.db"
    async with Store(away) as store:
        store.append(some(90, 0))
        store._give_up(30, "memory")
    async with Store(home) as store:
        assert await join(away, store, StoreOptions()) == 60
        rows = await store.ledger.rows(*ALL)
        assert sum(row.acquired for row in rows) == 90
        assert sum(sum(row.discarded_unsent.values()) for row in rows) == 30
        assert store.state.discarded_unsent == 30


async def test_what_waits_for_the_clock_goes_on_waiting_and_is_dated_with_it(tmp_path: Path) -> None:
    home, away = tmp_path / "home.db", tmp_path / "away.db"
    async with Store(home) as store:
        await store.register(GROUPS)
        await store.begin_epoch(BOOT, 0, trusted=True)
        store.append(some(10, 0))
    async with Store(away) as store:
        await store.begin_epoch(BOOT, 0, trusted=False)
        store.append(some(10, 10))
    async with Store(home) as store:
        await store.begin_epoch(BOOT, 0, trusted=False)
        assert await join(away, store, StoreOptions()) == 10
        assert store.state.held == 10
        await store.restamp(5)
        await store.release()
        shifts = [
            after.time_ms - before.time_ms
            for (_, after), before in zip(await everything(store), some(20, 0), strict=True)
        ]
        assert shifts == [0] * 10 + [5] * 10


async def test_what_waited_for_a_clock_that_is_trusted_now_is_dated_by_it(tmp_path: Path) -> None:
    home, away = tmp_path / "home.db", tmp_path / "away.db"
    async with Store(away) as store:
        await store.begin_epoch(BOOT, 0, trusted=False)
        store.append(some(10, 0))
    async with Store(home) as store:
        await store.begin_epoch(BOOT, 7, trusted=True)
        assert await join(away, store, StoreOptions()) == 10
        found = await everything(store)
        assert [
            after.time_ms - before.time_ms for (_, after), before in zip(found, some(10, 0), strict=True)
        ] == [7] * 10
        assert store.state.held == 0
        assert sum(row.acquired for row in await store.ledger.rows(*ALL)) == 10


async def test_a_store_goes_on_taking_readings_while_others_are_brought_in(tmp_path: Path) -> None:
    home, away = await two(tmp_path)
    async with Store(home, chunk_size=SIZE) as store:
        joining = asyncio.create_task(join(away, store, StoreOptions()))
        taken = 0
        while not joining.done():
            store.append(some(1, 5000 + taken))
            taken += 1
            await asyncio.sleep(0)
        assert await joining == 3000
        assert taken > 1
        found = sorted(bits(each) for _, each in await everything(store))
        assert found == sorted(bits(each) for each in some(5000 + taken, 0))
