"""The past as arrays, read from the file by a connection of one's own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from agent.store import Store, series
from agent.store.chunk_table import ChunkSize
from agent.store.log_part import LogPart
from agent.store.moment import Moment
from agent.store.series import Columns
from tests.store.test_sealing import ALL, GROUPS, SIZE, bits, filled, some

HEAVY = ("asyncio", "aiosqlite", "aiohttp", "pydantic", "agent.store.store")


def cells(parts: list[Columns]) -> Counter[tuple[str, int, bytes]]:
    return Counter(
        (part.group.device.name, time_ms, row.tobytes())
        for part in parts
        for time_ms, row in zip(part.time_ms.tolist(), part.values, strict=True)
    )


@pytest.mark.parametrize("at_once", [1, 4_000_000])
async def test_a_file_is_read_up_to_a_moment(tmp_path: Path, at_once: int) -> None:
    points = {name for group in GROUPS for name in group.point_ids}
    async with Store(tmp_path / "r.db", chunk_size=ChunkSize(readings=1000)) as store:
        readings = await filled(store, 2_500)
        await store.upkeep.seal()
        # Readings after the moment are in the log, and sealed, when the file is looked at.
        moment = Moment(1_800, [(9_999, 1, 5, 2, b"\0" * 24)])
        with closing(sqlite3.connect(tmp_path / "r.db", isolation_level=None)) as db:
            groups = series.groups_of(db)
            log = LogPart(db, sorted(groups), ALL, moment, at_once)
            await store.upkeep.seal()  # and more of it while it is read
            found = [part for each in series.streams(db, groups, points, log, 900) for part in each]
    wanted = Counter((name, time, packed) for name, time, packed, _ in map(bits, readings[:1_800]))
    wanted[GROUPS[0].device.name, 5, b"\0" * 24] += 1
    assert cells(found) == wanted


async def test_what_is_in_memory_only_is_of_the_moment_too(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", chunk_size=SIZE) as store:
        readings = await filled(store, 100)
        store.append(more := some(50, 100))
        moment = await store.moment({"a.p0", "b.p0", "c.p0"}, ALL)
        assert moment.last_seq == 150
        assert not moment.newest
        assert len(readings + more) == 150


def test_reading_it_needs_little() -> None:
    """An export's process starts with it."""
    code = f"import sys, agent.store.series; print([n for n in {HEAVY} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
