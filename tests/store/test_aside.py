"""The child that packs, counts and reads: it ends when it idles, and its death costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

import pytest

from agent.store import Store
from agent.store.aside import Aside
from agent.store.sealed import READER_IDLE_S
from tests.store.test_sealing import SIZE, bits, everything, filled


def children() -> set[int]:
    """The processes that this one has started and that are at work."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            found |= set(map(int, (task / "children").read_text().split()))
    return found


async def until_none_of(processes: set[int]) -> None:
    async with asyncio.timeout(20):
        while children() & processes:
            await asyncio.sleep(0.02)


async def test_it_ends_when_nobody_asks_and_the_next_question_starts_another(tmp_path: Path) -> None:
    before = children()
    aside = Aside(tmp_path / "readings.db", idle_s=0.05)
    for _ in range(2):
        await aside("worker:ready")
        mine = children() - before
        assert len(mine) == 1
        await until_none_of(mine)
    with aside.kept():
        await aside("worker:ready")
        mine = children() - before
        await asyncio.sleep(0.3)
        assert children() - before == mine
    await until_none_of(mine)


async def test_a_child_that_dies_leaves_the_log_as_it_was_and_it_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store(tmp_path / "readings.db", chunk_size=SIZE) as store:
        caplog.set_level(logging.INFO)
        readings = await filled(store, 2_000)
        for _ in range(2):
            before = children()
            sealing = asyncio.create_task(store.upkeep.seal())
            while not (mine := children() - before):
                await asyncio.sleep(0)
            os.kill(mine.pop(), signal.SIGKILL)
            assert not await sealing
        assert caplog.text.count("cannot be sealed, trying again") == 1
        assert store.disk.log_readings == 2_000
        assert await store.upkeep.seal()
        assert "old readings: well again" in caplog.text
        assert [bits(each) for _, each in await everything(store)] == [bits(each) for each in readings]


async def test_what_was_sealed_is_read_again_after_the_reader_died(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db", chunk_size=SIZE) as store:
        await filled(store, 10_000)
        while await store.upkeep.seal():
            pass
        assert READER_IDLE_S > 10  # it stays between two reads
        before = children()
        assert (await store.read_after(0, 1))[0][0] == 1
        for child in children() - before:
            os.kill(child, signal.SIGKILL)
        with pytest.raises(OSError, match="its process ended"):
            await store.read_after(1, 1)
        assert (await store.read_after(1, 1))[0][0] == 2


async def test_a_child_that_hangs_does_not_keep_a_store_that_is_left(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db", chunk_size=SIZE) as store:
        await filled(store, 10_000)
        assert await store.upkeep.seal()
        before = children()
        await store.read_after(0, 1)
        for child in children() - before:
            os.kill(child, signal.SIGSTOP)
        reading = asyncio.create_task(store.read_after(1, 1))
        await asyncio.sleep(0.05)
        reading.cancel()
        assert not (await asyncio.wait((reading,), timeout=0.1))[0], "its thread waits for the child"
        store.part()
        async with asyncio.timeout(20):
            with pytest.raises((OSError, asyncio.CancelledError)):
                await reading
