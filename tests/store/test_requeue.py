"""What was delivered is delivered again: sealed or not, held devices too, and the ledger says so."""

from __future__ import annotations

from pathlib import Path

from agent.model import Reading
from agent.store import Store
from agent.store.chunk_table import ChunkSize
from agent.store.ledger import HOUR_MS
from agent.store.requeue import APART_MAX, requeue
from tests.conftest import group_of

METER, OTHER = group_of("meter"), group_of("other")
MOST = 10**15


async def filled(store: Store, count: int) -> None:
    """`count` readings of each of two devices, a minute apart, delivered."""
    for at in range(count):
        both = [Reading(group, at * 60_000, (float(at), 2.0)) for group in (METER, OTHER)]
        store.append(both)
        store.ledger.delivered("up", both)
    store.outbox.passed("up", 1, store.last_seq)
    await store.commit()


async def delivered(store: Store) -> dict[tuple[int, str], int]:
    rows = await store.ledger.rows(0, MOST)
    return {(row.hour_ms // HOUR_MS, row.device): row.delivered.get("up", 0) for row in rows}


async def test_times_are_found_in_the_log_and_in_what_is_sealed(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db", chunk_size=ChunkSize(readings=100)) as store:
        await filled(store, 120)  # 240 readings: 200 of them sealed
        await store.upkeep.once()
        assert await requeue(store, "up", "meter", 90 * 60_000, 110 * 60_000) == 39
        assert store.outbox.progress("up").spans(store.last_seq) == [(181, 219)]
        found = await delivered(store)
        assert found == {(0, "meter"): 60, (0, "other"): 60, (1, "meter"): 40, (1, "other"): 41}
        (late,) = [row for row in await store.ledger.rows(HOUR_MS, MOST) if row.device == "meter"]
        assert late.waiting("up") == 20
    async with Store(tmp_path / "readings.db") as again:  # with the same commit
        assert again.outbox.progress("up").spans(again.last_seq) == [(181, 219)]
        assert (await delivered(again))[1, "meter"] == 40


async def test_what_waits_already_is_not_taken_back(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db") as store:
        await filled(store, 10)
        assert await requeue(store, "up", "meter", 0, 10 * 60_000) == 19
        assert await requeue(store, "up", "meter", 0, 10 * 60_000) == 0
        assert await requeue(store, "up", "nobody", 0, 10 * 60_000) == 0
        assert (await delivered(store))[0, "meter"] == 0


async def test_a_device_that_is_held_back_gets_it_too(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db") as store:
        await filled(store, 10)
        store.outbox.put("up/meter", store.outbox.progress("up"))
        await requeue(store, "up", "meter", 0, 60_000)
        assert store.outbox.progress("up/meter").spans(20) == [(1, 1)]


async def test_what_is_far_apart_is_not_sent_with_all_between(tmp_path: Path) -> None:
    async with Store(tmp_path / "readings.db") as store:
        store.append([Reading(METER, 0, (1.0, 2.0))])
        store.append([Reading(OTHER, at, (1.0, 2.0)) for at in range(APART_MAX)])
        store.append([Reading(METER, 1, (1.0, 2.0))])
        store.outbox.passed("up", 1, store.last_seq)
        assert await requeue(store, "up", "meter", 0, 2) == 2
        assert store.outbox.progress("up").waiting(store.last_seq) == 2
