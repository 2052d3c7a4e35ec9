"""The write-ahead log is brought in beside the commits, and known by how much of it waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.store.checkpoint import checkpoint, pending_bytes

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
    db.execute("INSERT INTO noise VALUES (randomblob(1000000))")
    pending = pending_bytes(file)
    assert 1_000_000 <= pending <= file.with_name("readings.db-wal").stat().st_size
    assert not checkpoint(file, pending + 1)
    assert pending_bytes(file) == pending
    assert checkpoint(file, pending)
    assert pending_bytes(file) == 0
    assert file.stat().st_size >= 1_000_000


def test_a_reader_and_a_writer_are_not_kept_waiting(db: sqlite3.Connection, tmp_path: Path) -> None:
    file = tmp_path / "readings.db"
    db.execute("INSERT INTO noise VALUES (randomblob(100000))")
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM noise").fetchall()
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO noise VALUES (randomblob(100000))")
        assert checkpoint(file, 1)
        db.execute("COMMIT")
        assert checkpoint(file, 1)
        assert pending_bytes(file) >= 100_000  # what the reader must not see yet
        assert reader.execute("SELECT count(*) FROM noise").fetchall() == [(1,)]
        reader.execute("COMMIT")
    assert checkpoint(file, 1)
    assert pending_bytes(file) == 0


def test_where_there_is_no_log_nothing_waits(tmp_path: Path) -> None:
    assert pending_bytes(tmp_path / "none.db") == 0
    assert not checkpoint(tmp_path / "none.db", 1)
