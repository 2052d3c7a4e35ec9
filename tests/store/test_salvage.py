"""How much comes back of a file with a damaged page, whichever page it is."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.commands.store import _empty_store
from agent.store import Store
from agent.store.salvage import Findings, copy_of, salvaged
from tests.store.test_failures import SIZE
from tests.store.test_sealing import bits, filled

COUNT = 5_000
MANY = {1024: COUNT, 4096: 4 * COUNT}  # as many pages
TRIED = 8
INNER = (2, 5)  # of a tree: what hangs below is lost with it
PAGE_BYTES = (1024, 4096)


async def made(file: Path, page_bytes: int, count: int = COUNT) -> set[object]:
    """A store with sealed chunks and a log, in one file of such pages."""
    await asyncio.to_thread(_empty_store, file, page_bytes)
    async with Store(file, chunk_size=SIZE) as store:
        readings = await filled(store, count)
        await store.upkeep.once()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return {bits(reading) for reading in readings}


def share_back(file: Path, folder: Path, true: set[object]) -> float:
    folder.mkdir()
    copy = copy_of(file, folder, _empty_store)
    back = {bits(reading) for step in salvaged(copy, Findings()) for reading in step}
    assert back <= true  # nothing is made up
    shutil.rmtree(folder)
    return len(back) / len(true)


def with_bad_page(source: Path, file: Path, page: int, page_bytes: int) -> Path:
    shutil.copyfile(source, file)
    with file.open("r+b") as damaged:
        damaged.seek(page * page_bytes)
        damaged.write(random.Random(page).randbytes(page_bytes))
    return file


def roots(file: Path) -> dict[str, int]:
    with closing(sqlite3.connect(file)) as db:
        rows = db.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage").fetchall()
    return {name: page - 1 for name, page in rows}


@pytest.mark.parametrize("page_bytes", PAGE_BYTES)
async def test_no_single_page_costs_the_file(tmp_path: Path, page_bytes: int) -> None:
    source = tmp_path / "readings.db"
    true = await made(source, page_bytes, MANY[page_bytes])
    pages = source.stat().st_size // page_bytes
    kinds = [source.read_bytes()[page * page_bytes] for page in range(pages)]
    outer = [page for page in range(1, pages) if kinds[page] not in INNER]
    assert len(outer) > 0.8 * pages
    tried = random.Random(7).sample(outer, TRIED)

    def all_shares() -> list[float]:
        bad, work = tmp_path / "bad.db", tmp_path / "work"
        files = (with_bad_page(source, bad, page, page_bytes) for page in tried)
        return sorted(share_back(each, work, true) for each in files)

    shares = await asyncio.to_thread(all_shares)
    print(f"{pages} pages, {TRIED} damaged one by one: {shares[0]:.3f}, median {shares[TRIED // 2]:.3f}")  # noqa: T201
    assert shares[0] > 0.3
    assert shares[TRIED // 2] > 0.95


@pytest.mark.parametrize("page_bytes", PAGE_BYTES)
async def test_the_first_page_is_known_without_it(tmp_path: Path, page_bytes: int) -> None:
    source = tmp_path / "readings.db"
    true = await made(source, page_bytes)
    bad = with_bad_page(source, tmp_path / "bad.db", 0, page_bytes)
    assert await asyncio.to_thread(share_back, bad, tmp_path / "work", true) == 1


@pytest.mark.parametrize("page_bytes", PAGE_BYTES)
@pytest.mark.parametrize("table", ["point_group", "point_group_again"])
async def test_the_groups_are_there_twice(tmp_path: Path, table: str, page_bytes: int) -> None:
    source = tmp_path / "readings.db"
    true = await made(source, page_bytes)
    bad = with_bad_page(source, tmp_path / "bad.db", roots(source)[table], page_bytes)
    assert await asyncio.to_thread(share_back, bad, tmp_path / "work", true) > 0.95
