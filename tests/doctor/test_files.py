"""Permissions and databases, on real files."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.doctor import Level
from agent.doctor.files import databases, is_running, permissions
from agent.service import alone_in


def test_a_private_folder_of_one_owner_is_well(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "readings.db").touch()
    (finding,) = permissions(tmp_path)
    assert finding.level is Level.WELL


def test_others_may_not_look_into_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    first, *_ = permissions(tmp_path)
    assert first.level is Level.WARNING
    assert first.way_out == f"chmod 700 {tmp_path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_owner_locks_the_agent_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "identity.db").touch()
    os.chown(tmp_path / "identity.db", 12345, 12345)
    (finding,) = permissions(tmp_path)
    assert finding.level is Level.FAULT
    assert "identity.db" in finding.text


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    (finding,) = permissions(tmp_path / "data")
    assert finding.level is Level.WARNING


def test_whether_an_agent_works_there(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with alone_in(tmp_path):
        assert is_running(tmp_path)
    assert not is_running(tmp_path)


def test_whole_and_broken_databases(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        db.executescript(
            "CREATE TABLE t (a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            " LIMIT 20000) INSERT INTO t SELECT hex(i) FROM n;"
        )
    broken = bytearray((tmp_path / "a.db").read_bytes())
    broken[8192:16384] = os.urandom(8192)
    (tmp_path / "b.db").write_bytes(broken)
    (tmp_path / "c.db").write_bytes(b"no database" * 100)
    levels = [finding.level for finding in databases(tmp_path)]
    assert levels == [Level.WELL, Level.FAULT, Level.FAULT]
