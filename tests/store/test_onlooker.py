"""Another process's store, seen from outside: as of its last commit, whatever it does meanwhile."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.model import Reading
from agent.store import Store
from agent.store.chunk_table import ChunkSize
from agent.store.ledger import HOUR_MS
from agent.store.onlooker import Onlooker
from tests.conftest import group_of

METER, OTHER = group_of("meter"), group_of("other")
MOST = 10**15


def both(at: int) -> list[Reading]:
    return [Reading(group, at * 60_000, (float(at), 2.0)) for group in (METER, OTHER)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """120 readings of each of two devices, a minute apart, 200 of the 240 sealed."""
    async with Store(tmp_path / "readings.db", chunk_size=ChunkSize(readings=100)) as opened:
        for at in range(120):
            opened.append(both(at))
            opened.ledger.delivered("up", both(at))
        await opened.commit()
        await opened.upkeep.once()
        yield opened


async def seen_values(onlooker: Onlooker) -> list[float]:
    steps = [step async for step in onlooker.history(["meter.p0"], 0, MOST)]
    return [reading.values[0] for step in steps for reading in step]


async def test_it_answers_like_the_store(store: Store, tmp_path: Path) -> None:
    onlooker = Onlooker(tmp_path / "readings.db")
    assert onlooker.points == {"meter.p0", "meter.p1", "other.p0", "other.p1"}
    assert await seen_values(onlooker) == list(range(120))
    assert await onlooker.span_ms() == (0, 119 * 60_000)
    assert await onlooker.ledger.rows(0, MOST) == await store.ledger.rows(0, MOST)
    (mine,) = [part async for part in onlooker.columns(["meter.p0"], 0, MOST)]
    (its,) = [part async for part in store.columns(["meter.p0"], 0, MOST)]
    assert mine.values.tolist() == its.values.tolist()
    steps = [each async for each in onlooker.downsample(["other.p1"], 0, MOST, HOUR_MS)]
    assert [count for each in steps for count in each.counts[:, 0].tolist()] == [60, 60]


async def test_what_is_committed_later_is_seen_and_what_is_not_is_not(store: Store, tmp_path: Path) -> None:
    onlooker = Onlooker(tmp_path / "readings.db")
    store.append([Reading(METER, 7_200_000, (120.0, 0.0))])
    assert (await seen_values(onlooker))[-1] == 119
    await store.commit()
    assert (await seen_values(onlooker))[-1] == 120
    assert await onlooker.span_ms() == (0, 7_200_000)


async def test_sealing_while_it_reads_loses_and_doubles_nothing(store: Store, tmp_path: Path) -> None:
    found: list[float] = []
    later = 120
    async for step in Onlooker(tmp_path / "readings.db").history(["meter.p0"], 0, MOST):
        found += [reading.values[0] for reading in step]
        if later < 2000:  # more is committed and sealed between any two steps
            store.append([each for at in range(later, later + 300) for each in both(at)])
            later += 300
            await store.commit()
            await store.upkeep.once()
    assert found == list(range(later))


async def test_a_child_process_sees_it_while_the_store_is_open(store: Store, tmp_path: Path) -> None:
    assert store.state.last_seq == 240
    script = (
        "import asyncio, pathlib, sys; from agent.store.onlooker import Onlooker;"
        "seen = Onlooker(pathlib.Path(sys.argv[1]));"
        "print(asyncio.run(seen.span_ms()), len(seen.points))"
    )
    child = [sys.executable, "-c", script, str(tmp_path / "readings.db")]
    done = await asyncio.to_thread(subprocess.run, child, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 7140000) 4"


async def test_it_writes_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        Onlooker(tmp_path / "readings.db")._sealed.connect().execute("DELETE FROM reading")
    assert store.state.last_seq == 240


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has the agent run"):
        Onlooker(tmp_path / "readings.db")
    (tmp_path / "noise.db").write_bytes(os.urandom(4096))
    with pytest.raises(OSError, match=r"noise\.db: cannot be read"):
        Onlooker(tmp_path / "noise.db")
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(OSError, match="no such table"):
        Onlooker(tmp_path / "empty.db")
