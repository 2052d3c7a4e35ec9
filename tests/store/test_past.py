"""The past as a child tells it: what the store itself would say, several at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

from agent.store import Store
from agent.store.moment import Period
from tests.store.shapes import lists
from tests.store.test_aside import children
from tests.store.test_failures import overwrite
from tests.store.test_sealing import ALL, SIZE, filled, some

LISTS, LOADED = "tests.store.shapes:lists", "tests.store.shapes:loaded"


async def told(store: Store, period_ms: Period = ALL) -> list[tuple[int, str]]:
    async with aclosing(store.told(LISTS, ["a.p1"], period_ms, 0, 1000)) as parts:
        return [each async for part in parts for each in part]


async def test_it_says_what_the_store_says_sealed_or_not_committed_or_not(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db", chunk_size=SIZE) as store:
        await filled(store, 9_500, late=True)
        while await store.upkeep.seal():
            pass
        store.append(some(40, 9_500))
        expected = [
            each
            async for part in store.columns(["a.p1"], 5_000, 90_000)
            for each in next(lists(iter([part]), 10**6))
        ]
        assert await told(store, (5_000, 90_000)) == expected
        assert len(expected) > 2_500
        assert await told(store, (0, 1)) == []


async def test_several_at_a_time_and_one_that_nobody_hears_to_its_end(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db", chunk_size=SIZE) as store:
        await filled(store, 9_000)
        await store.upkeep.seal()
        async with aclosing(store.told(LISTS, ["b.p0"], ALL, 0, 10)) as parts:
            assert len(await anext(parts)) == 10
            both = await asyncio.gather(told(store), told(store))
            assert len(await anext(parts)) == 10
        assert both[0] == both[1]
        assert len(both[0]) == 3_000


async def test_the_child_loads_nothing_of_who_asks(tmp_path: Path) -> None:
    from agent.server.past import Period as ServersPeriod

    async with Store(tmp_path / "readings.db") as store:
        await filled(store, 10)
        async with aclosing(store.told(LOADED, ["a.p1"], ServersPeriod(*ALL), 0, "agent.server")) as parts:
            assert [part async for part in parts] == [[]]


async def test_a_child_that_dies_in_the_middle_is_an_error_and_the_next_question_has_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with Store(tmp_path / "readings.db") as store:
        await filled(store, 3_000)
        before = children()
        async with aclosing(store.told(LISTS, ["a.p1"], ALL, 0, 10)) as parts:
            await anext(parts)
            for child in children() - before:
                os.kill(child, signal.SIGKILL)
            with pytest.raises(OSError, match="its process ended"):
                await anext(parts)
        assert "store: history: agent.store.telling:piece: its process ended (-9)" in caplog.text
        assert len(await told(store)) == 1_000
        assert "store: history: well again" in caplog.text


async def test_who_was_told_by_a_child_that_died_is_not_told_what_the_next_one_says_to_others(
    tmp_path: Path,
) -> None:
    async with Store(tmp_path / "readings.db") as store:
        await filled(store, 3_000)
        before = children()
        mine = store.told(LISTS, ["b.p0"], ALL, 0, 10)
        async with aclosing(mine), aclosing(store.told(LISTS, ["a.p1"], ALL, 0, 10)) as others:
            await anext(mine)
            for child in children() - before:
                os.kill(child, signal.SIGKILL)
            with pytest.raises(OSError, match="its process ended"):
                await store.disk.sealed.reader("worker:ready")
            first = await anext(others)
            with pytest.raises(OSError, match="the process that read the history has ended"):
                await anext(mine)
            assert await anext(others) > first


async def test_a_file_that_makes_no_sense_is_left_behind(tmp_path: Path) -> None:
    file = tmp_path / "readings.db"
    async with Store(file, chunk_size=SIZE) as store:
        await filled(store, 9_000)
        while await store.upkeep.seal():
            pass
        await store.disk._db.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        overwrite(file, 8 * 1024, file.stat().st_size - 8 * 1024)
        with pytest.raises(OSError, match="store: cannot read history"):
            await told(store)
        await store.commit()
        assert store.state.moved_aside.startswith("readings.broken-2")
        assert len(await told(store)) > 300
