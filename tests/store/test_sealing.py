import asyncio
import math
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from agent.model import NAN, Quality, Reading
from agent.store import Store
from agent.store.chunk_table import ChunkSize
from agent.store.columns import Floats
from tests.conftest import group_of

GROUPS = [group_of("a", 3), group_of("b", 1), group_of("c", 2)]
SIZE = ChunkSize(readings=1000)
ALL = (0, 10**13)


def some(count: int, start: int, *, late: bool = False) -> list[Reading]:
    """Readings of three groups; with `late` every seventh is from long ago."""
    found = []
    for at in range(start, start + count):
        rand = random.Random(at)
        group = GROUPS[at % 3]
        time_ms = 1000 + at * 10 - (200_000 if late and at % 7 == 0 and at > 25_000 else 0)
        values = tuple(rand.choice([NAN, -0.0, 230.1, rand.random()]) for _ in group.points)
        found.append(Reading(group, time_ms, values, Quality(rand.randrange(3))))
    return found


def bits(reading: Reading) -> tuple[str, int, bytes, int]:
    return reading.group.device.name, reading.time_ms, np.array(reading.values).tobytes(), reading.quality


async def filled(store: Store, count: int, *, late: bool = False) -> list[Reading]:
    readings = some(count, 0, late=late)
    await store.register(GROUPS)
    for at in range(0, count, 500):
        store.append(readings[at : at + 500])
        await store.commit()
    return readings


async def everything(store: Store) -> list[tuple[int, Reading]]:
    found: list[tuple[int, Reading]] = []
    while batch := await store.read_after(found[-1][0] if found else 0, 300):
        found += batch
    return found


def rows(file: Path, table: str) -> int:
    with sqlite3.connect(file) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


async def test_the_log_reads_the_same_sealed_or_not_in_this_run_and_the_next(tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    async with Store(file, chunk_size=SIZE) as store:
        readings = await filled(store, 10_000)
        while await store.upkeep.seal():
            pass
        assert rows(file, "chunk") == 10
        assert rows(file, "reading") == 0
        store.append(some(100, 10_000))
        readings += some(100, 10_000)
        for _ in range(2):
            found = await everything(store)
            assert [seq for seq, _ in found] == list(range(1, 10_101))
            assert [bits(reading) for _, reading in found] == [bits(reading) for reading in readings]
        assert [seq for seq, _ in await store.read_after(2345, 3)] == [2346, 2347, 2348]
    async with Store(file, chunk_size=SIZE) as store:
        assert [bits(reading) for _, reading in await everything(store)] == [bits(each) for each in readings]
        assert store.last_seq == 10_100


async def test_history_and_columns_hold_what_was_appended(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", chunk_size=SIZE) as store:
        readings = await filled(store, 30_500, late=True)
        while await store.upkeep.seal():
            pass
        store.append(extra := some(10, 30_500))
        wanted = Counter(
            bits(r) for r in readings + extra if r.group is GROUPS[0] and 5000 <= r.time_ms < 290_000
        )
        found = [r async for step in store.history(["a.p1"], 5000, 290_000) for r in step]
        assert Counter(bits(r) for r in found) == wanted
        times: list[int] = []
        values: list[Floats] = []
        async for part in store.columns(["a.p2", "a.p0"], 5000, 290_000):
            assert part.points == ("a.p0", "a.p2")
            times += part.time_ms.tolist()
            values.append(part.values)
        assert times == sorted(times)
        got = Counter((t, row.tobytes()) for t, row in zip(times, np.concatenate(values), strict=True))
        assert got == Counter((t, np.frombuffer(b)[[0, 2]].tobytes()) for _, t, b, _ in wanted.elements())


async def test_steps_say_what_the_values_say(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", chunk_size=SIZE) as store:
        readings = await filled(store, 5_000)
        await store.upkeep.seal()
        found: dict[int, tuple[float, ...]] = {}
        async for part in store.downsample(["c.p1"], *ALL, 700):
            each = (part.mean, part.least, part.most, part.last, part.counts)
            for at, time_ms in enumerate(part.time_ms.tolist()):
                assert time_ms not in found
                found[time_ms] = tuple(float(array[at, 0]) for array in each)
    expected: dict[int, list[float]] = {}
    for reading in readings:
        if reading.group is GROUPS[2]:
            expected.setdefault(reading.time_ms // 700 * 700, []).append(reading.values[1])
    assert list(found) == sorted(expected)
    for time_ms, values in expected.items():
        known = [value for value in values if not math.isnan(value)]
        mean, least, most, last, count = found[time_ms]
        assert count == len(known)
        if known:
            assert mean == pytest.approx(sum(known) / len(known))
            assert (least, most, last) == (min(known), max(known), known[-1])
        else:
            assert math.isnan(mean)


async def test_what_is_sealed_while_it_is_read_comes_once(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", chunk_size=SIZE) as store:
        await filled(store, 9_000)
        found: list[int] = []
        async for step in store.history(["a.p0", "b.p0", "c.p0"], *ALL):
            found += [reading.time_ms for reading in step]
            await store.upkeep.seal()
        assert sorted(found) == [1000 + at * 10 for at in range(9_000)]
        after, seqs = 0, []
        store.append(some(5000, 9_000))
        await store.commit()
        while batch := await store.read_after(after, 100):
            seqs += [seq for seq, _ in batch]
            after = seqs[-1]
            await store.upkeep.seal()
        assert seqs == list(range(1, 14_001))


async def test_commits_go_on_while_old_readings_are_sealed(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", chunk_size=ChunkSize(readings=20_000)) as store:
        await filled(store, 20_000)
        sealing = asyncio.create_task(store.upkeep.seal())
        commits = 0
        while not sealing.done():
            store.append(some(10, 20_000))
            await asyncio.wait_for(store.commit(), 2)
            commits += 1
        assert await sealing
        assert commits > 1


async def test_what_is_held_back_is_not_sealed(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", chunk_size=SIZE) as store:
        await store.begin_epoch("boot", 0, trusted=False)
        await filled(store, 3000)
        assert not await store.upkeep.seal()
        await store.restamp(5)
        await store.release()
        assert await store.upkeep.seal()
        assert (await store.read_after(0, 1))[0][1].time_ms == 1005


KILLED = """
import asyncio, sys
from pathlib import Path
from agent.store import Store
from tests.store.test_sealing import GROUPS, SIZE, some

async def main():
    async with Store(Path(sys.argv[1]), chunk_size=SIZE) as store:
        await store.register(GROUPS)
        await store.disk.packer("worker:ready")
        async def seal():
            while True:
                await store.upkeep.seal()
                await asyncio.sleep(0)
        task = asyncio.create_task(seal())
        first = store.last_seq
        for at in range(first, 10_000_000, 100):
            store.append(some(100, at))
            print(store.last_seq, flush=True)
            await store.commit()

asyncio.run(main())
"""


def killed_at_random(file: Path, rand: random.Random) -> int:
    """Fill and seal until about 3000 more readings are there; the last number that was promised."""
    command = [sys.executable, "-c", KILLED, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(rand.randrange(20, 50)):
            promised = int(process.stdout.readline())
        time.sleep(rand.random() * 0.05)
        process.kill()
        return int(process.stdout.read().rpartition("\n")[0].rpartition("\n")[2] or promised)


async def test_kill_9_in_the_middle_of_sealing_loses_and_doubles_nothing(tmp_path: Path) -> None:
    file, rand = tmp_path / "r.db", random.Random(4)
    for _ in range(6):
        promised = await asyncio.to_thread(killed_at_random, file, rand)
    async with Store(file, chunk_size=SIZE) as store:
        found = await everything(store)
        assert [seq for seq, _ in found] == list(range(1, len(found) + 1))
        assert len(found) >= promised
    assert [bits(reading) for _, reading in found] == [bits(reading) for reading in some(len(found), 0)]
    assert rows(file, "chunk") > 5
