"""A stretch of the log, wherever its readings are: sealed in several chunks, in the log, in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.model import Reading
from agent.store import Store
from agent.store.chunk_table import ChunkSize
from agent.store.progress import Span
from agent.uplink.reader import Reader
from tests.conftest import group_of

GROUPS = (group_of("a"), group_of("b"))
MANY = 5000


async def filled(store: Store) -> None:
    """Numbers 1 to 5600: 400 sealed in chunks of 100, then the log, the newest 4096 in memory too."""
    for at in range(300):
        store.append([Reading(group, at, (float(at), 0.0)) for group in GROUPS])
    await store.commit()
    await store.upkeep.once()
    store.append([Reading(GROUPS[0], at, (float(at), 0.0)) for at in range(MANY)])
    await store.commit()


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("count", [70, 1000])
async def test_nothing_is_passed_over_that_was_not_read(
    tmp_path: Path, *, newest_first: bool, count: int
) -> None:
    async with Store(tmp_path / "readings.db", chunk_size=ChunkSize(readings=100)) as store:
        await filled(store)
        reader = Reader(store, 1000, newest_first=newest_first)
        gap: Span | None = (51, store.last_seq - 10)
        seen: list[int] = []
        while gap:
            span, rows = await reader.chunk(gap, count)
            assert {seq for seq, _ in rows} == set(range(span[0], span[1] + 1))
            seen += [seq for seq, _ in rows]
            rest = (gap[0], span[0] - 1) if newest_first else (span[1] + 1, gap[1])
            gap = rest if rest[0] <= rest[1] else None
        assert sorted(seen) == list(range(51, store.last_seq - 9))


async def test_a_device_is_found_in_all_of_them(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db", chunk_size=ChunkSize(readings=100)) as store:
        await filled(store)
        reader = Reader(store, 1000, newest_first=False)
        at, seen = 0, []
        while at < store.last_seq:
            (_, at), rows = await reader.of_device((at + 1, store.last_seq), "b", 40)
            seen += [reading.time_ms for _, reading in rows]
        assert seen == list(range(300))


async def test_where_nothing_is_any_more_all_is_passed(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db") as store:
        for newest_first in (False, True):
            assert await Reader(store, 10, newest_first=newest_first).chunk((1, 5), 3) == ((1, 5), [])
