import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

from agent.model import Reading
from agent.store import LedgerRow, Store, StoreOptions
from agent.store.ledger import HOUR_MS
from agent.store.store import MEMORY_COMMITTED_READINGS
from tests.conftest import group_of

GROUP = group_of()


def readings(count: int, start_ms: int = 0, device: str = "meter") -> list[Reading]:
    group = GROUP if device == "meter" else group_of(device)
    return [Reading(group, start_ms + at, (float(at), 0.0)) for at in range(count)]


async def whole(store: Store) -> list[LedgerRow]:
    return await store.ledger.rows(0, 10**13)


async def test_every_account_by_device_and_hour_committed_or_not(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        first, second = readings(10), readings(4, HOUR_MS, "other")
        store.append([*first, *second])
        store.ledger.delivered("center", first[:6])
        await store.commit()
        store.ledger.delivered("center", first[6:7])
        store.ledger.delivered("plain", first)
        store.ledger.rejected("center", first[7:9])
        store.ledger.discarded("oldest", second[:1], sent=True)
        store.ledger.discarded("thin", second[1:3], sent=False)
        expected = [
            LedgerRow(0, "meter", 10, {"center": 7, "plain": 10}, {"center": 2}),
            LedgerRow(HOUR_MS, "other", 4, {}, {}, {"oldest": 1}, {"thin": 2}),
        ]
        assert await whole(store) == expected
        assert [row.waiting("center") for row in expected] == [1, 2]
        assert [row.waiting("plain") for row in expected] == [0, 2]
        assert await store.ledger.rows(1, HOUR_MS) == []
        assert await store.ledger.rows(1, HOUR_MS + 1) == expected[1:]
    async with Store(tmp_path / "r.db") as store:
        assert await whole(store) == expected
        store.append(readings(2))
        assert (await whole(store))[0].acquired == 12


async def test_a_commit_that_fails_counts_once(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", StoreOptions(memory_readings_max=1000)) as store:
        await store._disk._db.execute("PRAGMA busy_timeout = 1")
        blocker = sqlite3.connect(tmp_path / "r.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        store.append(readings(1500))
        await store.commit()
        await store.commit()
        blocker.execute("ROLLBACK")
        blocker.close()
        await store.commit()
        (row,) = await whole(store)
        assert (row.acquired, row.discarded_unsent) == (1500, {"memory": 500})


async def test_what_the_size_costs_is_counted_by_device_and_hour(tmp_path: Path) -> None:
    wide = group_of("wide", 500)
    async with Store(tmp_path / "r.db", StoreOptions(size_max_mb=8)) as store:
        for at in range(40):
            store.append([Reading(wide, at * HOUR_MS // 4 + n, (1.5,) * 500) for n in range(100)])
            if at < 10:
                store.outbox.passed("center", 1, store.last_seq)
            await store.commit()
            await store.upkeep.trim()
        rows = await whole(store)
        sent = sum(row.discarded_sent.get("oldest", 0) for row in rows)
        unsent = sum(row.discarded_unsent.get("oldest", 0) for row in rows)
        assert (sent, unsent) == (store.state.discarded_sent, store.state.discarded_unsent)
        assert sent == 1000
        assert unsent > 0
        assert [row.acquired for row in rows] == [400] * 10
        assert rows[0].discarded_sent == {"oldest": 400}


KILLED = """
import asyncio, os, sys
from pathlib import Path
from agent.store import Store
from tests.store.test_ledger import GROUP, readings

async def main():
    async with Store(Path(sys.argv[1])) as store:
        await store.register([GROUP])
        for at in range(50):
            batch = readings(10, at * 1_000_000)
            store.append(batch)
            store.outbox.passed("center", 1, store.last_seq)
            store.ledger.delivered("center", batch)
            if at % 7 == 3:
                await store.commit()
        print(store.outbox.progress("center").beyond, flush=True)
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_after_kill_9_it_says_what_the_log_says(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "r.db")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    async with Store(tmp_path / "r.db") as store:
        rows = await whole(store)
        assert sum(row.acquired for row in rows) == store.last_seq == 500
        assert (
            sum(row.delivered["center"] for row in rows if row.delivered)
            == store.outbox.progress("center").beyond
        )
        assert 0 < store.outbox.progress("center").beyond < 500


async def test_readings_that_get_another_time_move_to_their_hour(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        await store.begin_epoch("boot", 0, trusted=False)
        store.append(readings(MEMORY_COMMITTED_READINGS + 10))
        await store.commit()
        store.append(readings(5))
        await store.restamp(3 * HOUR_MS)
        store.append(readings(5, 3 * HOUR_MS))
        expected = [LedgerRow(3 * HOUR_MS, "meter", MEMORY_COMMITTED_READINGS + 20)]
        assert await whole(store) == expected
    async with Store(tmp_path / "r.db") as store:
        assert await whole(store) == expected


async def test_old_hours_are_forgotten(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        for hour in range(6):
            store.append(readings(1, hour * HOUR_MS))
            await store.commit()
        await store._disk.forget_ledger(3)
        assert [row.hour_ms // HOUR_MS for row in await whole(store)] == [3, 4, 5]
