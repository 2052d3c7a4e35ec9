"""A data folder that takes no writes, and the one in memory that stands in for it."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store.journal import Journal
from agent.store.shelter import FILE_BYTES_MAX, PROBE_BYTES, Shelter, refusal

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own needs root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@needs_root
def test_a_full_and_a_read_only_disk_refuse_and_nothing_else_does(disk: Path) -> None:
    assert refusal(disk / "data") == ""
    assert "No space" in refusal(disk / "data", 24 * 1024 * 1024)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(24 * 1024 * 1024 - PROBE_BYTES + 1))
    assert "No space" in refusal(disk / "data")
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert "Read-only" in refusal(disk / "data")
    assert "Read-only" in refusal(disk / "new")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert refusal(disk / "data") == ""
    assert list((disk / "data").iterdir()) == []


def test_a_mistake_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(OSError, match="exists"):
        refusal(tmp_path / "data")


@pytest.fixture
def shelter(tmp_path: Path) -> Shelter:
    home = tmp_path / "home"
    (home / "tls").mkdir(parents=True)
    (home / "tls" / "key").write_text("secret")
    (home / "tls" / "key").chmod(0o600)
    (home / "settings.json").write_text("1")
    (home / "readings.db").write_text("not to be copied")
    return Shelter(home, tmp_path / "memory")


def test_what_was_changed_in_memory_comes_home_and_nothing_else(shelter: Shelter) -> None:
    shelter.open()
    key = shelter.folder / "tls" / "key"
    assert key.read_text() == "secret"
    assert key.stat().st_mode & 0o777 == 0o600
    assert not (shelter.folder / "readings.db").exists()
    key.write_text("new secret")
    (shelter.folder / "settings.json").write_text("2")
    (shelter.folder / "new").write_text("3")
    before = (shelter.home / "tls" / "key").stat().st_ino
    (shelter.home / "settings.json").write_text("by hand, meanwhile")
    shelter.bring_back()
    shelter.bring_back()
    assert (shelter.home / "settings.json").read_text() == "by hand, meanwhile"
    assert (shelter.home / "new").read_text() == "3"
    assert (shelter.home / "tls" / "key").read_text() == "new secret"
    assert (shelter.home / "tls" / "key").stat().st_mode & 0o777 == 0o600
    assert (shelter.home / "tls" / "key").stat().st_ino != before
    assert (shelter.home / "readings.db").read_text() == "not to be copied"
    assert sorted(each.name for each in shelter.home.iterdir()) == [
        "new",
        "readings.db",
        "settings.json",
        "tls",
    ]
    shelter.remove()
    assert not shelter.is_open


def test_what_comes_home_in_two_attempts_comes_all(shelter: Shelter) -> None:
    shelter.open()
    (shelter.folder / "settings.json").write_text("22")
    shelter.bring_back()
    shelter.open()
    (shelter.folder / "settings.json").write_text("333")
    shelter.bring_back()
    assert (shelter.home / "settings.json").read_text() == "333"


def write(file: Path, number: int) -> sqlite3.Connection:
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE IF NOT EXISTS t (x)")
    db.execute("INSERT INTO t VALUES (?)", (number,))
    db.commit()
    return db


def test_a_database_brings_its_write_ahead_log_both_ways(shelter: Shelter) -> None:
    file = shelter.home / "alarms.db"
    killed = write(file, 1)
    shelter.open()
    wal = file.with_name("alarms.db-wal")
    logged = wal.read_bytes()
    killed.close()
    file.with_name("alarms.db-wal").write_bytes(logged)  # as a kill leaves it
    shelter.remove()
    shelter.open()
    open_ = write(shelter.folder / "alarms.db", 2)
    shelter.bring_back()
    open_.close()
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT x FROM t ORDER BY x").fetchall() == [(1,), (2,)]
    db.close()
    assert not wal.exists()


def test_what_is_too_large_stays_home(shelter: Shelter) -> None:
    large = shelter.home / "large"
    large.touch()
    os.truncate(large, FILE_BYTES_MAX + 1)
    shelter.open()
    assert not (shelter.folder / "large").exists()


def test_a_folder_that_others_can_write_is_not_used(shelter: Shelter) -> None:
    shelter.folder.mkdir(parents=True)
    shelter.folder.chmod(0o777)
    with pytest.raises(OSError, match="only this user"):
        shelter.open()


def test_it_goes_on_after_the_newest_time_at_home(shelter: Shelter) -> None:
    journal = Journal(shelter.home / "readings.journal", (8192,))
    journal.open()
    journal.restart(1, (), {})
    journal.stamped(5_000_000)
    shelter.open()
    there = Journal(shelter.folder / "readings.journal", (8192,))
    there.open()
    assert there.newest_ms == 5_000_000
