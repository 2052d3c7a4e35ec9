"""Migrations tried on copies; snapshots that come back whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.deploy.databases import SCHEMAS, rehearse, restore, snapshot, standings
from agent.store import Store

ROOT = Path(__file__).parent.parent.parent


def make(file: Path, version: int) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.executescript(f"CREATE TABLE t (a); INSERT INTO t VALUES (7); PRAGMA user_version = {version};")


async def test_what_is_up_to_date_is_not_copied(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db"):
        pass
    assert await rehearse(tmp_path, tmp_path / "no such folder") == []


async def test_an_older_one_is_migrated_on_a_copy_only(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    make(tmp_path / "readings.db", 0)
    assert await rehearse(tmp_path, scratch) == ["readings.db"]
    (one,) = standings(tmp_path)
    assert one.has == 0
    assert one.knows > 0


async def test_a_newer_one_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "readings.db", 9999)
    with pytest.raises(OSError, match="is an older one"):
        await rehearse(tmp_path, tmp_path)


async def test_one_that_cannot_be_migrated_says_so(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with closing(sqlite3.connect(tmp_path / "readings.db")) as db:
        db.execute("CREATE TABLE reading (a)")
    with pytest.raises(OSError, match="cannot be migrated"):
        await rehearse(tmp_path, scratch)


async def test_what_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "readings.db").write_bytes(b"no database" * 500)
    with pytest.raises(OSError, match="cannot be read"):
        await rehearse(tmp_path, tmp_path)


def test_a_snapshot_comes_back_and_what_came_since_goes(tmp_path: Path) -> None:
    data, kept = tmp_path / "data", tmp_path / "kept"
    data.mkdir()
    make(data / "readings.db", 1)
    (data / "readings.journal").write_bytes(b"j")
    (data / "agent.lock").touch()
    snapshot(data, kept)
    with closing(sqlite3.connect(data / "readings.db")) as db:
        db.executescript("DELETE FROM t; PRAGMA user_version = 2;")
    (data / "readings.db-wal").write_bytes(b"of the new one")
    for _ in range(2):  # a power cut in its middle: it is done again
        restore(kept, data)
        names = sorted(file.name for file in data.iterdir())
        assert names == ["agent.lock", "readings.db", "readings.journal"]
    with closing(sqlite3.connect(data / "readings.db")) as db:
        assert db.execute("SELECT a FROM t").fetchall() == [(7,)]


def test_half_a_snapshot_is_none(tmp_path: Path) -> None:
    data, kept = tmp_path / "data", tmp_path / "kept"
    data.mkdir()
    make(data / "readings.db", 1)
    part = tmp_path / "kept.part"
    part.mkdir()
    (part / "old.db").touch()
    snapshot(data, kept)
    assert sorted(file.name for file in kept.iterdir()) == ["readings.db"]
    assert not part.exists()


def test_every_schema_of_the_tree_is_known() -> None:
    folders = {file.parent for file in (ROOT / "agent").rglob("001_*.sql")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(SCHEMAS.values())
