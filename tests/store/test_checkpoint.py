"""The write-ahead log is brought in beside the commits, and known by how much of it waits."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.store import Store
from agent.store.checkpoint import WriteAheadLog

PAGE_BYTES = (1024, 4096, 65536)


@pytest.fixture(params=PAGE_BYTES)
def db(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "readings.db", isolation_level=None)) as opened:
        opened.execute(f"PRAGMA page_size = {request.param}")
        opened.execute("PRAGMA journal_mode = WAL")
        opened.execute("PRAGMA wal_autocheckpoint = 0")
        opened.execute("CREATE TABLE noise (body BLOB)")
        yield opened


def test_what_waits_is_known_and_brought_in(db: sqlite3.Connection, tmp_path: Path) -> None:
    file = tmp_path / "readings.db"
    wal = WriteAheadLog(file)
    db.execute("INSERT INTO noise VALUES (randomblob(1000000))")
    pending = wal.pending_bytes()
    assert 1_000_000 <= pending <= file.with_name("readings.db-wal").stat().st_size
    assert not wal.checkpoint(pending + 1)
    assert wal.pending_bytes() == pending
    assert wal.checkpoint(pending)
    assert wal.pending_bytes() == 0
    assert file.stat().st_size >= 1_000_000


def test_a_reader_and_a_writer_are_not_kept_waiting(db: sqlite3.Connection, tmp_path: Path) -> None:
    file = tmp_path / "readings.db"
    wal = WriteAheadLog(file)
    db.execute("INSERT INTO noise VALUES (randomblob(100000))")
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM noise").fetchall()
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO noise VALUES (randomblob(100000))")
        assert wal.checkpoint(1)
        db.execute("COMMIT")
        assert wal.checkpoint(1)
        assert wal.pending_bytes() >= 100_000  # what the reader must not see yet
        assert reader.execute("SELECT count(*) FROM noise").fetchall() == [(1,)]
        reader.execute("COMMIT")
    assert wal.checkpoint(1)
    assert wal.pending_bytes() == 0


def test_where_there_is_no_log_nothing_waits(tmp_path: Path) -> None:
    wal = WriteAheadLog(tmp_path / "none.db")
    assert wal.pending_bytes() == 0
    assert not wal.checkpoint(1)
    wal.close()


LOCKED = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    try:
        fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)  # "somebody is at work", in SQLite's words
    except OSError:
        print("at work")
"""


async def test_other_processes_see_that_somebody_is_at_work(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db") as store:
        await store.upkeep.once()
        await store.disk.checkpoint()
        command = (sys.executable, "-c", LOCKED, tmp_path / "readings.db-shm")
        said = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
        assert said.stdout == b"at work\n"
