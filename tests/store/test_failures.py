"""What the world does to the file: damage, a full disk, a cut in the middle of anything."""

import asyncio
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest

from agent.commands.store import backup_command, restore_command, salvage_command
from agent.model import Reading
from agent.store import Store, StoreOptions, layout
from agent.store.backup import back_up, check, restore
from agent.store.chunk_table import ChunkSize
from agent.store.store import MEMORY_COMMITTED_READINGS
from tests.conftest import group_of, until
from tests.store.test_sealing import GROUPS, bits, everything, filled, some

SIZE = ChunkSize(readings=2000)


async def half_sealed(file: Path, count: int = 9_000) -> list[Reading]:
    async with Store(file, chunk_size=SIZE) as store:
        readings = await filled(store, count)
        await store.upkeep.seal()
        await store.upkeep.seal()
    return readings


def overwrite(file: Path, at: int, count: int) -> None:
    with file.open("r+b") as damaged:
        damaged.seek(at)
        damaged.write(random.Random(at).randbytes(count))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "the first page": lambda file: overwrite(file, 0, 1024),
    "a page in the middle": lambda file: overwrite(file, file.stat().st_size // 2, 3000),
    "a page near the end": lambda file: overwrite(file, file.stat().st_size - 9000, 2000),
    "truncated": lambda file: os.truncate(file, file.stat().st_size * 2 // 3 // 1024 * 1024),
    "half a page": lambda file: os.truncate(file, file.stat().st_size - 700),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_a_damaged_file_is_moved_aside_the_agent_goes_on_and_most_comes_back(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "readings.db"
    readings = await half_sealed(file)
    DAMAGE[name](file)
    new = [reading._replace(time_ms=reading.time_ms + 10**9) for reading in some(100, 0)]
    async with Store(file, chunk_size=SIZE) as store:
        await store.register(GROUPS)
        store.append(new)
        await store.commit()
        try:
            await everything(store)
        except OSError:
            await store.commit()  # what a reader found is damaged is left behind
        found = [bits(reading) for _, reading in await everything(store)]
        assert [bits(reading) for reading in new] == found[-100:]
        assert not store.state.failing
        aside = store.state.moved_aside
    if not aside:  # only free pages were hit
        assert len(found) == 9_100
        return
    assert sum("moved aside" in record.message for record in caplog.records) == 1
    assert aside.startswith("readings.broken-2")
    assert await asyncio.to_thread(salvage_command, tmp_path, tmp_path / aside, StoreOptions()) == 0
    async with Store(file) as store:
        back = [bits(reading) for _, reading in await everything(store)]
    assert len(back) == len(set(back))
    true = {bits(reading) for reading in readings + new}
    assert set(back) <= true
    assert len(back) >= 0.5 * len(true)


@pytest.mark.parametrize(
    "content", [b"this is not a database, not at all" * 100, b"SQLite format 3\0" + bytes(2000)]
)
async def test_what_was_never_a_database_is_moved_aside_too(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "readings.db"
    file.write_bytes(content)
    async with Store(file) as store:
        store.append(some(5, 0))
        await store.commit()
        assert not store.state.failing
        assert (tmp_path / store.state.moved_aside).read_bytes() == content


async def test_damage_under_a_running_agent_costs_nothing_that_memory_has(tmp_path: Path) -> None:
    file = tmp_path / "readings.db"
    async with Store(file, chunk_size=SIZE) as store:
        readings = await filled(store, 9_000)
        assert await store.upkeep.seal()
        store.note(broken())
        store.append(some(50, 9_000))
        readings += some(50, 9_000)
        await store.commit()
        assert store.state.moved_aside
        assert not store.state.failing
        found = await everything(store)
        assert found[-1][0] == 9_050
        assert [bits(each) for _, each in found] == [bits(each) for each in readings[-len(found) :]]
        assert len(found) >= MEMORY_COMMITTED_READINGS
        rows = await store.ledger.rows(0, 10**13)
        assert sum(row.acquired for row in rows) == len(found)
    async with Store(file) as store:
        assert len(await everything(store)) == len(found)


async def test_pages_that_go_bad_under_a_running_agent_are_noticed_and_left_behind(tmp_path: Path) -> None:
    """The bytes on the card change while the file is open; whoever reads them next notices."""
    file = tmp_path / "readings.db"
    async with Store(file, chunk_size=SIZE) as store:
        readings = await filled(store, 9_000)
        assert await store.upkeep.seal()
        await store.disk._db.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        overwrite(file, 8 * 1024, file.stat().st_size - 8 * 1024)
        store.append(some(50, 9_000))
        readings += some(50, 9_000)
        with pytest.raises(OSError, match="store: cannot read"):
            await everything(store)
        await store.commit()
        assert store.state.moved_aside.startswith("readings.broken-2")
        assert not store.state.failing
        found = await everything(store)
        assert [bits(each) for _, each in found] == [bits(each) for each in readings[-len(found) :]]
        assert len(found) >= MEMORY_COMMITTED_READINGS
        store.append(some(50, 9_050))
        await store.commit()
        assert store.state.committed_seq == 9_100
    check(file)


def broken() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


async def test_a_damaged_write_ahead_log_costs_its_end_and_no_more(tmp_path: Path) -> None:
    source, file = tmp_path / "r.db", tmp_path / "copy" / "r.db"
    file.parent.mkdir()
    async with Store(source, chunk_size=SIZE) as store:
        readings = await filled(store, 3_000)
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{source}{suffix}", f"{file}{suffix}")
    wal = Path(f"{file}-wal")
    overwrite(wal, wal.stat().st_size // 2, 500)
    async with Store(file) as store:
        found = [bits(reading) for _, reading in await everything(store)]
    assert found == [bits(reading) for reading in readings[: len(found)]]
    assert 500 <= len(found) < 3_000


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own needs root")
async def test_a_full_disk_stops_nothing_and_is_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(disk)], check=True)
    try:
        ballast = disk / "ballast"
        options = StoreOptions(commit_interval_s=0.05, free_min_mb=0, memory_readings_max=2000)
        async with Store(disk / "r.db", options) as store:
            await store.register(GROUPS)
            store.append(some(1000, 0))
            await store.commit()
            free = os.statvfs(disk)
            ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 4096))
            running = asyncio.create_task(store.run())
            at = 1000
            while not store.state.failing:
                store.append(some(500, at))
                at += 500
                await asyncio.sleep(0.06)
            for _ in range(8):
                store.append(some(500, at))
                at += 500
                await asyncio.sleep(0.06)
            state = store.state
            assert state.last_seq - state.committed_seq <= 2500
            assert state.discarded_unsent > 0
            left = as_killed(disk / "r.db", tmp_path / "left")
            before = store.state
            ballast.unlink()
            await until(lambda: not store.state.failing, 5)
            running.cancel()
            await asyncio.wait([running])
            rows = await store.ledger.rows(0, 10**13)
            assert sum(row.acquired for row in rows) == at
            lost = sum(sum(row.discarded_unsent.values()) for row in rows)
            assert len(await everything(store)) == at - lost
        warnings = [record for record in caplog.records if "cannot commit" in record.message]
        assert [record.levelname for record in warnings] == ["WARNING"]
        async with Store(left) as store:  # had it been killed then: as it was
            assert store.last_seq == before.last_seq
            assert len(await everything(store)) == before.last_seq - before.discarded_unsent
            assert store.state.discarded_unsent == before.discarded_unsent
    finally:
        subprocess.run(["umount", str(disk)], check=True)


WRITES = """
import asyncio, sys
from pathlib import Path
from agent.store import Store
from tests.store.test_sealing import GROUPS, SIZE, some

async def main():
    async with Store(Path(sys.argv[1]), chunk_size=SIZE) as store:
        await store.register(GROUPS)
        while True:
            store.append(some(100, store.last_seq))
            await store.commit()
            done = store.outbox.progress("center").beyond
            store.outbox.passed("center", 1, store.last_seq)
            store.ledger.delivered("center", some(store.last_seq - done, done))
            print(store.state.committed_seq, flush=True)
            await store.upkeep.seal()

asyncio.run(main())
"""


async def test_the_files_as_a_power_cut_leaves_them_are_a_whole_log(tmp_path: Path) -> None:
    """Killed at a random moment; then the write-ahead log is cut at random, as if its end never reached the
    disk, and the journal is that of another moment."""
    source, rand = tmp_path / "a" / "r.db", random.Random(11)
    source.parent.mkdir()
    for turn in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITES, str(source)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            for at in range(rand.randrange(15, 40)):
                process.stdout.readline()
                if at == 10:
                    journal = source.with_suffix(".journal").read_bytes()
            process.kill()
        for cut in range(3):
            file = tmp_path / f"{turn}-{cut}" / "r.db"
            file.parent.mkdir()
            shutil.copyfile(source, file)
            wal = Path(f"{source}-wal").read_bytes()
            Path(f"{file}-wal").write_bytes(wal[: rand.randrange(len(wal) // 2, len(wal) + 1)])
            file.with_suffix(".journal").write_bytes(journal)
            async with Store(file, chunk_size=SIZE) as store:
                found = await everything(store)
                last, seqs = store.last_seq, [seq for seq, _ in found]
                # Where the journal was of a later moment than the log, what lies between is missed by count.
                assert sum(after - seq > 1 for seq, after in pairwise([0, *seqs, last])) <= 1
                assert store.state.discarded_unsent == last - len(found)
                written = some(last, 0)
                assert [bits(each) for _, each in found] == [bits(written[seq - 1]) for seq in seqs]
                assert store.outbox.progress("center").beyond <= last
                rows = await store.ledger.rows(0, 10**13)
                assert sum(row.acquired for row in rows) == last
                assert (
                    sum(row.delivered.get("center", 0) for row in rows)
                    == store.outbox.progress("center").beyond
                )


async def test_a_backup_is_of_one_moment_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.db"
    async with Store(tmp_path / "readings.db", chunk_size=SIZE) as store:
        await filled(store, 5_000)
        await store.upkeep.seal()
        backing = asyncio.create_task(asyncio.to_thread(backup_command, tmp_path, copy))
        while not backing.done():
            store.append(some(10, store.last_seq))
            await store.commit()
        assert await backing == 0
    assert "copy.db" in capsys.readouterr().out
    assert copy.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="there already"):
        back_up(tmp_path / "readings.db", copy)
    assert await asyncio.to_thread(restore_command, tmp_path, copy) == 0
    async with Store(tmp_path / "readings.db") as store:
        found = await everything(store)
        assert len(found) >= 5_000
        assert [bits(each) for _, each in found] == [bits(each) for each in some(len(found), 0)]
    kept = list(tmp_path.glob("readings.before-restore-*.db"))
    assert len(kept) == 1
    check(kept[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can restore for somebody else")
async def test_what_root_restores_belongs_to_the_agent(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    await half_sealed(data / "readings.db")
    back_up(data / "readings.db", tmp_path / "copy.db")
    os.chown(data, 12345, 12345)
    restore_command(data, tmp_path / "copy.db")
    owners = {file.name: file.stat().st_uid for file in data.iterdir() if "before" not in file.name}
    owners.pop("agent.lock")
    assert owners == {"readings.db": 12345, "readings.journal": 12345}


async def test_what_is_no_backup_is_not_restored(tmp_path: Path) -> None:
    await half_sealed(tmp_path / "readings.db")
    before = (tmp_path / "readings.db").read_bytes()
    wrong = tmp_path / "wrong.db"
    wrong.write_bytes(b"no database at all" * 100)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    newer = tmp_path / "newer.db"
    shutil.copyfile(tmp_path / "readings.db", newer)
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 99")
    for file, reason in (
        (wrong, "cannot be read"),
        (newer, "schema 99.*newer agent"),
        (other, "something else"),
        (tmp_path / "none.db", "cannot"),
    ):
        with pytest.raises(OSError, match=reason):
            restore_command(tmp_path, file)
    assert (tmp_path / "readings.db").read_bytes() == before
    shutil.copyfile(tmp_path / "readings.db", tmp_path / "good.db")
    with (tmp_path / "agent.lock").open("w") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="an agent is at work here"):
            restore_command(tmp_path, tmp_path / "good.db")


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_file_of_an_older_agent_is_brought_up_to_date_with_all_it_holds(
    tmp_path: Path, version: int
) -> None:
    file = tmp_path / "r.db"
    scripts = sorted(resources.files("agent.store.schema").iterdir(), key=lambda each: each.name)
    readings = some(5_000, 0)
    with sqlite3.connect(file) as db:
        for script in [each for each in scripts if each.name.endswith(".sql")][:version]:
            db.executescript(script.read_text(encoding="utf-8"))
        db.execute(f"PRAGMA user_version = {version}")
        db.executemany(
            "INSERT INTO point_group VALUES (?, ?, ?, ?)",
            [(key, *layout.encode(group)) for key, group in enumerate(GROUPS, 1)],
        )
        db.executemany(
            "INSERT INTO reading VALUES (NULL, ?, ?, ?, ?)",
            [
                (GROUPS.index(group) + 1, time_ms, int(quality), layout.packer(len(values)).pack(*values))
                for group, time_ms, values, quality in readings
            ],
        )
        db.execute("INSERT INTO cursor VALUES ('center', 3000)")
        db.execute("INSERT INTO counter VALUES ('discarded_unsent', 7)")
    async with Store(file, chunk_size=SIZE) as store:
        await store.upkeep.once()
        assert store.outbox.progress("center").beyond == 3000
        assert store.state.discarded_unsent == 7
        assert [bits(each) for _, each in await everything(store)] == [bits(each) for each in readings]
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT count(*) FROM chunk").fetchone() == (2,)


def as_killed(file: Path, folder: Path) -> Path:
    """What a process that is killed now leaves, in `folder`."""
    shutil.copytree(file.parent, folder, ignore=shutil.ignore_patterns("ballast"))
    return folder / file.name


async def test_what_even_the_journal_did_not_take_is_missed_by_count_after_a_kill(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wide = group_of("wide", 200)
    count = 12_000  # of 1.6 kB: more than half of the journal holds
    readings = [Reading(wide, 3_600_000 + at, (float(at),) * 200) for at in range(count)]
    async with Store(tmp_path / "a" / "readings.db") as store:
        await store.register([wide])
        store.append(readings[:10])
        await store.commit()
        store.append(readings[10:])
        left = as_killed(tmp_path / "a" / "readings.db", tmp_path / "b")
    async with Store(left) as store:
        kept = await everything(store)
        lost = count - len(kept)
        assert [bits(reading) for _, reading in kept] == [bits(each) for each in readings[: len(kept)]]
        assert 0 < lost < count - 4000
        assert store.state.discarded_unsent == lost
        assert f"{lost} readings are missing" in caplog.text
        assert store.state.lost_by_kill == lost
        assert store.last_seq == count  # no number is given out twice: a cursor may know it
        known, nobody = sorted(await store.ledger.rows(0, 10**9), key=lambda row: row.device != "wide")
        assert (known.acquired, nobody.device, nobody.acquired) == (len(kept), "?", lost)
        assert nobody.discarded_unsent == {"killed": lost}
        left = as_killed(left, tmp_path / "c")
    async with Store(left) as store:
        assert store.state.discarded_unsent == lost  # once


async def test_broken_files_with_undelivered_readings_are_not_thinned_out(tmp_path: Path) -> None:
    """Found by chaos: the fourth broken file took the first away, with four readings nobody had."""
    file = tmp_path / "readings.db"
    for at in range(6):
        async with Store(file) as store:
            store.append(some(10, at * 10))
        with file.open("r+b") as spoiled:
            spoiled.write(bytes(1024))
    async with Store(file):
        assert len(list(tmp_path.glob("readings.broken-*.db"))) == 6


async def test_no_time_is_stamped_twice_though_the_database_that_knew_it_is_broken(tmp_path: Path) -> None:
    file, group = tmp_path / "readings.db", group_of()
    async with Store(file) as store:
        await store.begin_epoch("boot", 0, trusted=True)
        store.append([Reading(group, 5_000_000, (1.0, 2.0))])
    overwrite(file, 0, 1024)
    async with Store(file) as store:
        assert store.state.moved_aside
        assert (await store.stamps("boot", 6_000_000)).last_ms == 5_000_000
        assert (await store.stamps("boot", 4_000_000)).last_ms is None  # a mistake of then
        await store.begin_epoch("boot", 0, trusted=False)
        store.append([Reading(group, 5_500_000, (1.0, 2.0))])  # not trusted: it is shifted with the clock
        assert (await store.stamps("boot", 6_000_000)).last_ms == 5_000_000
    back_up(file, tmp_path / "backup.db", lambda *_: None)
    restore(tmp_path / "backup.db", file)
    async with Store(file) as store:
        assert (await store.stamps("other", 6_000_000)).last_ms == 5_500_000
