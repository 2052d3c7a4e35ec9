from __future__ import annotations

import sqlite3
from pathlib import Path

from agent.model import NAN, Reading
from agent.store import Store, outbox
from agent.store.progress import Progress
from tests.conftest import group_of

GROUP = group_of()


async def test_gaps_survive_a_restart(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        store.outbox.passed("center", 5, 9)
        store.outbox.passed("center", 20, 29)
        store.outbox.put("center/meter", Progress(3, ((1, 2),)))
        await store.commit()
        store.outbox.again("center", 7, 7)
        store.outbox.forget("center/meter")
    async with Store(tmp_path / "r.db") as store:
        assert store.outbox.progress("center") == Progress(29, ((1, 4), (7, 7), (10, 19)))
        assert store.outbox.under("center/") == []


async def test_a_cursor_of_an_older_agent_goes_on_where_it_was(tmp_path: Path) -> None:
    schema = Path(outbox.__file__).parent / "schema"
    with sqlite3.connect(tmp_path / "r.db") as db:
        for file in ("001_readings.sql", "002_epoch.sql"):
            db.executescript((schema / file).read_text())
        db.execute("INSERT INTO cursor VALUES ('center', 7), ('center/a', 3)")
        db.execute("PRAGMA user_version = 2")
    db.close()
    async with Store(tmp_path / "r.db") as store:
        assert store.outbox.progress("center") == Progress(7)
        assert store.outbox.progress("center/a") == Progress(3)


async def test_what_is_rejected_is_kept_aside_bounded_and_counted(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        for at in range(outbox.REJECTED_MAX + 20):
            store.outbox.reject("center", Reading(GROUP, at, (1.5, NAN)), "no", 1)
            if at % 100 == 0:
                await store.commit()
        await store.commit()
    async with Store(tmp_path / "r.db") as store:
        assert store.outbox.rejected("center") == outbox.REJECTED_MAX + 20
    with sqlite3.connect(tmp_path / "r.db") as db:
        rows = db.execute("SELECT * FROM rejected ORDER BY id").fetchall()
    db.close()
    assert len(rows) == outbox.REJECTED_MAX
    assert rows[-1][1:] == (
        "center", 1, "meter", "all", outbox.REJECTED_MAX + 19, '{"p0":1.5,"p1":null}', "no",
    )  # fmt: skip


def test_unsent_is_what_any_wanted_uplink_or_held_device_still_has_to_deliver() -> None:
    box = outbox.Outbox()
    assert box.unsent(3, 10) == [(3, 10)]
    assert not box.has_uplinks
    box.passed("one", 1, 5)
    box.passed("two", 4, 20)
    box.put("two/b", Progress(15, ((6, 7),)))
    assert box.has_uplinks
    assert box.unsent(2, 10) == [(2, 3), (6, 10)]
    box.want(["two"])
    assert box.unsent(1, 18) == [(1, 3), (6, 7), (16, 18)]
    box.want([])
    assert not box.has_uplinks


async def test_what_a_broken_disk_has_lost_is_kept_anew(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        store.outbox.passed("center", 1, 5)
        await store.commit()
        assert not store.outbox.changes()
        store.outbox.lost()
        assert store.outbox.changes()
