"""Small databases: whole changes, broken files, files of newer agents."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from agent.database import ASIDE_MAX, Database, move_aside

SCHEMA = "agent.schedule.schema"
WISH = "INSERT INTO wish (job, what) VALUES (?, ?)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "small.db"


async def wishes(database: Database) -> list[str]:
    return [job for (job,) in await database.rows("SELECT job FROM wish ORDER BY id")]


async def test_a_change_is_whole_or_not_at_all(file: Path) -> None:
    async with Database(file, SCHEMA) as database:
        with pytest.raises(sqlite3.Error):
            await database.write((WISH, ("a", "run")), ("INSERT INTO nowhere VALUES (1)", ()))
        assert await wishes(database) == []
        await database.write_many((WISH, [("a", "run"), ("b", "run")]))
        assert await wishes(database) == ["a", "b"]
    assert file.stat().st_mode & 0o777 == 0o600


async def test_version_tells_of_our_own_and_others_writes(file: Path) -> None:
    async with Database(file, SCHEMA) as database, Database(file, SCHEMA) as other:
        first = await database.version()
        assert await database.version() == first
        await database.write((WISH, ("a", "run")))
        second = await database.version()
        await other.write((WISH, ("b", "run")))
        third = await database.version()
    assert len({first, second, third}) == 3


async def test_a_broken_file_is_moved_aside_if_it_may_be(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(OSError, match=r"small\.db: cannot be opened: .*; put a backup of it in its place"):
        await Database(file, SCHEMA).__aenter__()
    assert file.read_bytes().startswith(b"no database")
    async with Database(file, SCHEMA, anew="wishes begin anew") as database:
        assert await wishes(database) == []
    (aside,) = file.parent.glob("small.broken-*.db")
    assert aside.read_bytes().startswith(b"no database")
    assert "wishes begin anew" in caplog.text


async def test_of_broken_files_only_the_newest_are_kept(file: Path) -> None:
    for at in range(ASIDE_MAX + 4):
        file.write_bytes(b"no database" * (1000 + at))
        async with Database(file, SCHEMA, anew="anew"):
            pass
    kept = sorted(each.stat().st_size for each in file.parent.glob("small.broken-*.db"))
    assert len(kept) == ASIDE_MAX
    assert kept[-1] == 11 * (1000 + ASIDE_MAX + 3)


def test_readings_and_their_journals_too_whatever_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "readings.db"
    for at in range(ASIDE_MAX + 2):
        for name in ("readings.db", "readings.db-wal", "readings.journal"):
            (tmp_path / name).write_text(f"{at}")
        move_aside(file, "before-restore", journal=True)
    left = sorted(each.name.rpartition(".")[2] for each in tmp_path.iterdir())
    assert left == sorted(["db", "db-wal", "journal"] * ASIDE_MAX)
    assert {each.read_text() for each in tmp_path.iterdir()} == {"2", "3", "4"}


async def test_a_file_of_a_newer_agent_is_refused_and_stays(file: Path) -> None:
    async with Database(file, SCHEMA):
        pass
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(RuntimeError, match="the database has schema 99, this agent knows"):
        await Database(file, SCHEMA, anew="anew").__aenter__()
    assert not list(file.parent.glob("small.broken-*"))


async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "broken_schema"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "001_first.sql").write_text("CREATE TABLE good (a INTEGER);\n")
    (package / "002_bad.sql").write_text("CREATE TABLE half (a INTEGER);\nCREATE TABLE good (a INTEGER);\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(OSError, match="table good already exists"):
        await Database(file, "broken_schema", anew="anew").__aenter__()
    async with aiosqlite.connect(file) as db:
        assert list(await db.execute_fetchall("SELECT name FROM sqlite_master")) == [("good",)]
        assert list(await db.execute_fetchall("PRAGMA user_version")) == [(1,)]


def test_a_second_file_moved_aside_in_the_same_second_has_a_name_of_its_own(file: Path) -> None:
    names = []
    for _ in range(2):
        file.touch()
        names.append(move_aside(file))
    assert len(set(names)) == 2
