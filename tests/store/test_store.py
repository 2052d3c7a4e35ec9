import asyncio
import logging
import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import aiosqlite
import pytest

from agent.database import migrate
from agent.model import NAN, Device, Group, Kind, Point, Quality, Reading
from agent.store import Store, StoreOptions
from agent.store.store import MEMORY_COMMITTED_READINGS
from tests.conftest import group_of, until

GROUP = group_of()


def readings(count: int, start: int = 0, group: Group = GROUP) -> list[Reading]:
    return [Reading(group, 1000 + at, (float(at), NAN)) for at in range(start, start + count)]


async def everything(store: Store, after: int = 0) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    while batch := await store.read_after(after, 500):
        found += [(seq, reading.time_ms) for seq, reading in batch]
        after = batch[-1][0]
    return found


async def history(store: Store, points: list[str], from_ms: int, to_ms: int) -> list[Reading]:
    return [reading async for step in store.history(points, from_ms, to_ms) for reading in step]


async def test_a_reading_comes_back_as_it_was(tmp_path: Path) -> None:
    points = (Point("t", "°C"), Point("mode", "", Kind.STATE, {4: "cool"}), Point("e", "kWh", Kind.TOTAL))
    group = Group(Device("ac", "intesis", "Room"), "fast", points, 1000)
    values = (0.1 + 0.2, NAN, 1e300)
    async with Store(tmp_path / "r.db") as store:
        store.append([Reading(group, 1700000000123, values, Quality.UNCERTAIN)])
    async with Store(tmp_path / "r.db") as store:
        ((seq, reading),) = await store.read_after(0, 10)
    assert (seq, reading.time_ms, reading.quality) == (1, 1700000000123, Quality.UNCERTAIN)
    assert reading.values[0] == values[0]
    assert math.isnan(reading.values[1])
    assert reading.values[2] == values[2]
    assert reading.group.point_ids == ("ac.t", "ac.mode", "ac.e")
    assert reading.group.points[1].states == {4: "cool"}
    assert reading.group.device.type == "intesis"


async def test_memory_and_disk_read_as_one_log(tmp_path: Path) -> None:
    count = MEMORY_COMMITTED_READINGS // 500 * 500 + 1500
    async with Store(tmp_path / "r.db") as store:
        for start in range(0, count, 500):
            store.append(readings(500, start))
            await store.commit()
        store.append(readings(7, count))  # not on disk yet
        found = await everything(store)
    assert [seq for seq, _ in found] == list(range(1, len(found) + 1))
    assert [time_ms for _, time_ms in found] == [1000 + at for at in range(len(found))]


async def test_a_number_is_never_used_twice(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        store.append(readings(5))
        store.outbox.passed("center", 1, 5)
    with sqlite3.connect(tmp_path / "r.db") as db:
        db.execute("DELETE FROM reading")
    async with Store(tmp_path / "r.db") as store:
        assert store.outbox.progress("center").beyond == 5
        store.append(readings(1))
        assert [seq for seq, _ in await store.read_after(5, 10)] == [6]


async def test_a_reader_waits_for_news_and_wakes(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        waiting = asyncio.create_task(store.wait_beyond(0))
        given_up = asyncio.create_task(store.wait_beyond(0))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        store.append(readings(1))
        await asyncio.wait_for(waiting, 1)


async def test_run_commits_within_the_second(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", StoreOptions(commit_interval_s=0.05)) as store:
        running = asyncio.create_task(store.run())
        store.append(readings(3))
        await until(lambda: store.state.committed_seq == 3, 2)
        with sqlite3.connect(tmp_path / "r.db") as db:
            assert db.execute("SELECT count(*) FROM reading").fetchone() == (3,)
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        running.cancel()


KILLED = """
import asyncio, os, sys
from pathlib import Path
from agent.store import Store
from tests.store.test_store import GROUP, readings

async def main():
    async with Store(Path(sys.argv[1])) as store:
        await store.register([GROUP])
        for at in range(200):
            store.append(readings(10, at * 10))
            await store.commit()
            store.outbox.passed("center", 1, store.last_seq)
            store.append(readings(1, 10_000))
            print(store.last_seq, flush=True)
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_kill_9_loses_nothing_and_leaves_no_cursor_beyond_the_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "r.db")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    promised = int(done.stdout.split()[-1])
    async with Store(tmp_path / "r.db") as store:
        found = await everything(store)
        assert [seq for seq, _ in found] == list(range(1, promised + 1))
        assert 0 < store.outbox.progress("center").beyond < promised
        assert store.state.committed_seq == promised


async def test_a_disk_that_refuses_costs_nothing_until_memory_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options = StoreOptions(memory_readings_max=1000)
    async with Store(tmp_path / "r.db", options) as store:
        store.append(readings(10))
        await store.commit()
        # A second writer holds the file: what SQLite then says is what a full disk makes it say.
        await store._disk._db.execute("PRAGMA busy_timeout = 1")
        blocker = sqlite3.connect(tmp_path / "r.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for start in range(10, 910, 100):
            store.append(readings(100, start))
            await store.commit()
        assert store.state.failing
        assert len(await everything(store)) == 910  # all still there for an uplink
        store.append(readings(500, 910))
        await store.commit()
        assert store.state.discarded_unsent == 400
        blocker.execute("ROLLBACK")
        blocker.close()
        await store.commit()
        assert not store.state.failing
        found = await everything(store)
        assert [seq for seq, _ in found] == [*range(1, 11), *range(411, 1411)]
    levels = [record.levelname for record in caplog.records if "cannot commit" in record.message]
    assert levels == ["WARNING"] + ["DEBUG"] * (len(levels) - 1)
    assert any("well again" in record.message for record in caplog.records)


async def test_the_file_keeps_within_its_size_and_counts_what_went(tmp_path: Path) -> None:
    wide = group_of("wide", 500)
    async with Store(tmp_path / "r.db", StoreOptions(size_max_mb=8)) as store:
        assert store.outbox.progress("center").beyond == 0
        for at in range(40):
            store.append([Reading(wide, at * 1000 + n, (1.5,) * 500) for n in range(100)])
            await store.commit()
            await store.upkeep.trim()
        state = store.state
        assert state.file_bytes <= 8_400_000
        assert state.discarded_unsent > 0
        found = await everything(store)
        assert [seq for seq, _ in found] == list(range(found[0][0], 4001))
        assert state.discarded_unsent + state.discarded_sent == found[0][0] - 1
    async with Store(tmp_path / "r.db") as store:
        assert store.state.discarded_unsent == state.discarded_unsent


async def test_what_was_sent_goes_uncounted_as_loss(tmp_path: Path) -> None:
    wide = group_of("wide", 500)
    async with Store(tmp_path / "r.db", StoreOptions(size_max_mb=8)) as store:
        for at in range(40):
            store.append([Reading(wide, at * 1000 + n, (1.5,) * 500) for n in range(100)])
            store.outbox.passed("center", 1, store.last_seq)
            await store.commit()
            await store.upkeep.trim()
        assert store.state.discarded_sent > 0
        assert store.state.discarded_unsent == 0


async def test_history_is_by_point_and_half_open_period(tmp_path: Path) -> None:
    other = group_of("other")
    async with Store(tmp_path / "r.db") as store:
        store.append(readings(3000))
        store.append(readings(10, group=other))
        await store.commit()
        store.append(readings(5, 3000))  # newer than the last commit
        found = await history(store, ["meter.p1"], 1010, 4003)
        assert [reading.time_ms for reading in found] == list(range(1010, 4003))
        assert {reading.group.device.name for reading in found} == {"meter"}
        assert await history(store, ["nobody.p0"], 0, 10**13) == []


async def test_history_misses_nothing_that_is_committed_while_it_is_read(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        store.append(readings(5000))
        await store.commit()
        found: list[int] = []
        added = 5000
        async for step in store.history(["meter.p0"], 0, 10**13):
            found += [reading.time_ms for reading in step]
            if added < 20_000:  # more than memory keeps, between two steps
                store.append(readings(MEMORY_COMMITTED_READINGS + 100, added))
                added += MEMORY_COMMITTED_READINGS + 100
                await store.commit()
    assert found == [1000 + at for at in range(added)]


async def test_history_survives_a_changed_layout(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        store.append([Reading(group_of("m", 2), 1, (1.0, 2.0))])
    async with Store(tmp_path / "r.db") as store:
        store.append([Reading(group_of("m", 3), 2, (1.0, 2.0, 3.0))])
        found = await history(store, ["m.p0"], 0, 10)
    assert [tuple(reading.values) for reading in found] == [(1.0, 2.0), (1.0, 2.0, 3.0)]


async def test_what_was_stamped_without_trust_is_held_shifted_and_released(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        await store.begin_epoch("boot-1", 0, trusted=True)
        store.append(readings(3))
    async with Store(tmp_path / "r.db") as store:
        await store.begin_epoch("boot-2", -500, trusted=False)
        store.append(readings(5))  # stamped 1000, 1001, ...
        await store.commit()
        store.append(readings(5, 5))
        assert [seq for seq, _ in await everything(store, 0)] == [1, 2, 3]
        waiting = asyncio.create_task(store.wait_beyond(3))
        assert store.state.held == 10
        await store.restamp(1_000_000)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await store.release()
        await asyncio.wait_for(waiting, 1)
        expected = [1000, 1001, 1002, *range(1_001_000, 1_001_010)]
        assert [time_ms for _, time_ms in await everything(store)] == expected
    async with Store(tmp_path / "r.db") as store:
        assert [time_ms for _, time_ms in await everything(store)] == expected


async def test_a_restart_in_the_same_boot_still_holds_and_another_boot_lets_go(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        await store.begin_epoch("boot-1", 0, trusted=False)
        store.append(readings(3))
    async with Store(tmp_path / "r.db") as store:
        await store.begin_epoch("boot-1", 7000, trusted=False)  # somebody set the clock meanwhile
        store.append(readings(3))
        assert store.released_seq == 0
    async with Store(tmp_path / "r.db") as store:
        await store.begin_epoch("boot-2", 0, trusted=False)
        store.append(readings(3))
        assert store.released_seq == 6
    async with Store(tmp_path / "r.db") as store:
        await store.begin_epoch("boot-2", 50_000, trusted=True)
        store.append(readings(1, 100_000))
        times = [time_ms for _, time_ms in await everything(store)]
    shifted = [*range(8000, 8003), *range(1000, 1003), *range(51_000, 51_003), 101_000]
    assert times == shifted
    with sqlite3.connect(tmp_path / "r.db") as db:
        offsets = db.execute("SELECT first_seq, offset_ms, trusted FROM epoch ORDER BY 1").fetchall()
    assert offsets == [(1, 7000, 1), (4, 7000, 1), (7, 50_000, 1), (10, 50_000, 1)]


async def test_a_newer_database_is_refused_with_a_way_out(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db"):
        pass
    with sqlite3.connect(tmp_path / "r.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(RuntimeError, match=r"schema 99.*restore a backup"):
        async with Store(tmp_path / "r.db"):
            pass


async def test_migration_is_whole_or_not_at_all_and_only_once(tmp_path: Path) -> None:
    async with aiosqlite.connect(tmp_path / "m.db") as db:
        await migrate(db, "agent.store.schema")
        await migrate(db, "agent.store.schema")
        rows = await db.execute_fetchall("PRAGMA user_version")
        assert [tuple(row) for row in rows] == [(6,)]


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_cancelled_commit_is_whole_and_the_last_one_has_the_rest(tmp_path: Path, turns: int) -> None:
    async with Store(tmp_path / "r.db") as store:
        store.append(readings(2000))
        store.outbox.passed("center", 1, 2000)
        task = asyncio.create_task(store.commit())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        store.append(readings(1, 2000))
    async with Store(tmp_path / "r.db") as store:
        assert len(await everything(store)) == 2001
        assert store.outbox.progress("center").beyond == 2000


async def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    for name in ("site#1", "a?b", "50%20", "ação"):
        file = tmp_path / name / "r.db"
        async with Store(file) as store:
            store.append(readings(2))
        async with Store(file) as store:
            assert len(await everything(store)) == 2


async def test_an_emptied_log_behind_the_cursor_has_nothing_to_deliver(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        store.append(readings(5))
    with sqlite3.connect(tmp_path / "r.db") as db:
        db.execute("DELETE FROM reading")
    async with Store(tmp_path / "r.db") as store:
        assert await store.read_after(0, 10) == []
        assert store.released_seq == 5


@pytest.mark.parametrize("content", [None])
async def test_a_file_that_cannot_be_opened_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "r.db"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(OSError, match=r"r\.db: cannot be"):
        async with Store(file):
            pass


async def test_what_memory_gave_up_is_remembered(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", StoreOptions(memory_readings_max=1000)) as store:
        await store._disk._db.execute("PRAGMA busy_timeout = 1")
        blocker = sqlite3.connect(tmp_path / "r.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        store.append(readings(3000))
        await store.commit()
        blocker.execute("ROLLBACK")
        blocker.close()
    async with Store(tmp_path / "r.db") as store:
        assert store.state.discarded_unsent == 2000
