from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agent.server.audit import Audit, Query
from agent.server.audit import journal as journal_module
from agent.server.audit.routes import cells
from tests.server.conftest import Clock


async def kinds(audit: Audit, query: Query | None = None) -> list[str]:
    await audit.settled()
    return [each.kind for each in await audit.find(query or Query())]


async def test_what_is_noted_is_there_after_a_restart_newest_first(tmp_path: Path) -> None:
    clock = Clock()
    async with Audit(tmp_path / "audit.db", clock=clock) as audit:
        audit.note("login", who="ana", peer="192.0.2.1", role="viewer")
        clock.now_s += 1
        audit.note("config.changed", who="bea", before={"port": 1}, after={"port": 2})
    async with Audit(tmp_path / "audit.db", clock=clock) as audit:
        second, first = await audit.find(Query())
        assert (first.number, first.kind, first.who, first.peer) == (1, "login", "ana", "192.0.2.1")
        assert second.time_ms - first.time_ms == 1000
        assert second.what == {"before": {"port": 1}, "after": {"port": 2}}
        assert await kinds(audit, Query(before=2)) == ["login"]
        assert await kinds(audit, Query(kind="conf")) == ["config.changed"]
        assert await kinds(audit, Query(who="ANA", to_ms=first.time_ms + 1)) == ["login"]
        assert await kinds(audit, Query(from_ms=first.time_ms + 1)) == ["config.changed"]
        assert await audit.broken_at() is None


async def test_two_processes_make_one_chain(tmp_path: Path) -> None:
    async with Audit(tmp_path / "audit.db") as one, Audit(tmp_path / "audit.db") as other:
        for at in range(20):
            (one, other)[at % 2].note(f"kind.{at}")
            await (one, other)[at % 2].settled()
        assert await kinds(one) == [f"kind.{at}" for at in reversed(range(20))]
        assert await one.broken_at() is None


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("UPDATE entry SET who = 'bea' WHERE number = 3", 3),
        ("UPDATE entry SET time_ms = 0 WHERE number = 5", 5),
        ("DELETE FROM entry WHERE number = 3", 4),
        ("DELETE FROM entry WHERE number = 5", 5),
        ("UPDATE entry SET what = '{}' WHERE number = 5", None),
    ],
)
async def test_a_change_shows(tmp_path: Path, change: str, broken: int | None) -> None:
    file = tmp_path / "audit.db"
    async with Audit(file) as audit:
        for _ in range(5):
            audit.note("login", who="ana")
    with sqlite3.connect(file) as db:
        db.execute(change)
    db.close()
    async with Audit(file) as audit:
        assert await audit.broken_at() == broken


async def test_it_is_bounded_by_number_and_age(tmp_path: Path) -> None:
    clock, certain = Clock(), [True]
    limits = {"entries_max": 10, "days_max": 30}
    async with Audit(tmp_path / "a.db", **limits, clock=clock, certain=lambda: certain[0]) as audit:
        for at in range(25):
            audit.note(f"kind.{at}")
        assert await kinds(audit) == [f"kind.{at}" for at in range(24, 14, -1)]
        certain[0] = False
        clock.now_s += 31 * 86400
        audit.note("late")
        assert len(await kinds(audit)) == 10  # the clock may be wrong
        certain[0] = True
        audit.note("later")
        assert await kinds(audit) == ["later", "late"]
        assert await audit.broken_at() is None


async def test_nothing_that_can_be_sent_stops_it(tmp_path: Path) -> None:
    async with Audit(tmp_path / "audit.db") as audit:
        audit.note("strange", who="half \ud800", peer="\udcff", what="\ud800", more=Path("/x"))
        audit.note("large", text="x" * 100_000)
        audit.note("formula", who="=1+1")
        await audit.settled()
        formula, large, strange = await audit.find(Query())
        assert strange.who == "half ?"
        assert len(str(large.what)) < 5000
        assert cells(formula)[3] == "'=1+1"


async def test_a_disk_that_refuses_costs_no_more_than_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", 0.1)
    file = tmp_path / "audit.db"
    async with Audit(file) as audit:
        blocker = sqlite3.connect(file, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for at in range(journal_module.WAITING_MAX + 7):
            audit.note(f"kind.{at}")
        blocker.execute("COMMIT")
        blocker.close()
        await audit.settled()
        (overflow,) = await audit.find(Query(kind="audit.overflow"))
        assert overflow.what == {"lost": 7}
        assert overflow.number == journal_module.WAITING_MAX + 1


async def test_an_end_in_the_middle_of_a_commit_writes_nothing_twice(tmp_path: Path) -> None:
    file = tmp_path / "audit.db"
    audit = Audit(file)
    await audit.__aenter__()
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    audit.note("login")
    await asyncio.sleep(0.1)
    ending = asyncio.create_task(audit.__aexit__(None, None, None))
    await asyncio.sleep(0.1)
    blocker.execute("COMMIT")
    blocker.close()
    await ending
    async with Audit(file) as again:
        assert await kinds(again) == ["login"]
