import itertools
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from agent.model import Reading
from agent.store import Store, StoreOptions
from agent.store.budget import between
from agent.store.chunk_table import ChunkSize
from tests.conftest import group_of

WIDE = [group_of("a", 100), group_of("b", 100)]
SIZE = ChunkSize(readings=1000)


def noise(at: int) -> Reading:
    """8 bytes a value, whatever is done."""
    return Reading(WIDE[at % 2], at * 1000, tuple(np.random.default_rng(at).random(100).tolist()))


def options(discard: str, free_min_mb: int = 0) -> StoreOptions:
    return StoreOptions.model_validate({"size_max_mb": 8, "discard": discard, "free_min_mb": free_min_mb})


async def overfill(store: Store, count: int = 16_000, *, delivered: int = 0) -> None:
    """About 13 MB into 8; the first `delivered` are sent."""
    store.outbox.progress("center")
    for at in range(0, count, 500):
        store.append([noise(each) for each in range(at, at + 500)])
        if at < delivered:
            store.outbox.passed("center", 1, store.last_seq)
        await store.commit()
        await store.upkeep.once()


async def kept(store: Store) -> list[int]:
    seqs: list[int] = []
    while batch := await store.read_after(seqs[-1] if seqs else 0, 1000):
        seqs += [seq for seq, _ in batch]
    return seqs


async def accounts(store: Store) -> dict[str, int]:
    total: dict[str, int] = {"acquired": 0}
    for row in await store.ledger.rows(0, 10**13):
        total["acquired"] += row.acquired
        for name, counts in (("sent", row.discarded_sent), ("unsent", row.discarded_unsent)):
            for rule, count in counts.items():
                total[f"{rule}/{name}"] = total.get(f"{rule}/{name}", 0) + count
    return total


def pages_bytes(file: Path) -> int:
    with sqlite3.connect(file) as db:
        pages, size = (db.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "page_size"))
    return int(pages * size)


async def test_the_oldest_goes_and_is_counted(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", options("oldest"), SIZE) as store:
        await overfill(store)
        seqs = await kept(store)
        assert seqs == list(range(seqs[0], 16_001))
        assert seqs[0] > 5000
        assert await accounts(store) == {"acquired": 16_000, "oldest/unsent": seqs[0] - 1}
        assert store.state.pressure == "unsent"
        assert store.state.discarded_unsent == seqs[0] - 1
        assert pages_bytes(tmp_path / "r.db") <= 9_000_000


def all_bytes(folder: Path) -> int:
    """What all files of the store take, the write-ahead log and the journal too."""
    return sum(each.stat().st_size for each in folder.glob("r.*") if not each.name.endswith("-shm"))


@pytest.mark.parametrize("discard", ["oldest", "thin", "newest"])
async def test_all_files_together_keep_within_the_limit_at_any_moment(tmp_path: Path, discard: str) -> None:
    async with Store(tmp_path / "r.db", options(discard), SIZE) as store:
        store.outbox.progress("center")
        for at in range(0, 16_000, 500):
            store.append([noise(each) for each in range(at, at + 500)])
            await store.commit()
            assert all_bytes(tmp_path) <= 8_000_000
            await store.upkeep.once()
            assert all_bytes(tmp_path) <= 8_000_000
        await store.commit()
        assert not store.state.failing
        found = await accounts(store)
        assert found["acquired"] == 16_000
        gone = sum(found.values()) - found["acquired"]
        assert gone == store.state.discarded_unsent > 0
        assert len(await kept(store)) == 16_000 - gone


async def test_what_was_sent_goes_first(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", options("thin"), SIZE) as store:
        await overfill(store, delivered=12_000)
        found = await accounts(store)
        assert set(found) == {"acquired", "oldest/sent"}
        assert store.state.discarded_unsent == 0
        assert await kept(store) == list(range(found["oldest/sent"] + 1, 16_001))


async def test_thinning_halves_the_rate_of_the_oldest_first(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", options("thin"), SIZE) as store:
        await overfill(store, 7_000)
        seqs = await kept(store)
        found = await accounts(store)
        assert set(found) == {"acquired", "thin/unsent"}
        assert len(seqs) == 7_000 - found["thin/unsent"]
        assert seqs[:4] == [1, 2, 5, 6]  # every second of each of two groups
        assert seqs[-500:] == list(range(6_501, 7_001))
        # No stretch of the past is empty.
        assert all(later - earlier <= 8 for earlier, later in itertools.pairwise(seqs))
        history = [each async for step in store.history(["a.p0"], 0, 10**13) for each in step]
        assert len(history) == len(seqs) // 2


async def test_nothing_new_is_taken_until_there_is_room_again(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", options("newest"), SIZE) as store:
        await overfill(store)
        assert store.state.pressure == "refusing"
        seqs = await kept(store)
        assert seqs == list(range(1, len(seqs) + 1))
        found = await accounts(store)
        assert found == {"acquired": 16_000, "newest/unsent": 16_000 - len(seqs)}
        store.outbox.passed("center", 1, len(seqs))
        await store.commit()
        await store.upkeep.once()
        assert store.state.pressure in {"", "history"}
        store.append([noise(16_000)])
        await store.commit()
        assert (await kept(store))[-1] == 16_001
    async with Store(tmp_path / "r.db", options("newest"), SIZE) as store:
        assert store.last_seq == 16_001
        assert await accounts(store) == {
            **found,
            "acquired": 16_001,
            "oldest/sent": store.state.discarded_sent,
        }


async def test_a_site_without_uplinks_keeps_the_newest_history(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db", options("newest"), SIZE) as store:
        for at in range(0, 16_000, 500):
            store.append([noise(each) for each in range(at, at + 500)])
            await store.commit()
            await store.upkeep.once()
        seqs = await kept(store)
        assert seqs == list(range(seqs[0], 16_001))
        assert store.state.pressure in {"", "history"}
        assert await accounts(store) == {"acquired": 16_000, "oldest/sent": seqs[0] - 1}


async def test_with_too_little_free_disk_the_file_no_longer_grows(tmp_path: Path) -> None:
    roomy = StoreOptions(size_max_mb=1000, free_min_mb=1_000_000)  # more than this disk has
    async with Store(tmp_path / "r.db", roomy, SIZE) as store:
        await overfill(store, 24_000)
        assert pages_bytes(tmp_path / "r.db") <= 12_000_000
        assert store.state.discarded_unsent > 0
        assert store.state.pressure == "unsent"


@pytest.mark.parametrize(
    ("spans", "rest"),
    [([], [(1, 9)]), ([(1, 9)], []), ([(1, 3)], [(4, 9)]), ([(3, 4), (6, 9)], [(1, 2), (5, 5)])],
)
def test_what_is_between(spans: list[tuple[int, int]], rest: list[tuple[int, int]]) -> None:
    assert between(1, 9, spans) == rest
