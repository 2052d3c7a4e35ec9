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
PAGE = 1024


async def made(file: Path) -> set[object]:
    """A store with two sealed chunks and a log, in one file."""
    async with Store(file, chunk_size=SIZE) as store:
        readings = await filled(store, COUNT)
        await store.upkeep.seal()
        await store.upkeep.seal()
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


def with_bad_page(source: Path, file: Path, page: int) -> Path:
    shutil.copyfile(source, file)
    with file.open("r+b") as damaged:
        damaged.seek(page * PAGE)
        damaged.write(random.Random(page).randbytes(PAGE))
    return file


def roots(file: Path) -> dict[str, int]:
    with closing(sqlite3.connect(file)) as db:
        rows = db.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage").fetchall()
    return {name: page - 1 for name, page in rows}


async def test_no_single_page_costs_the_file(tmp_path: Path) -> None:
    source = tmp_path / "readings.db"
    true = await made(source)
    pages = source.stat().st_size // PAGE
    tried = random.Random(7).sample(range(1, pages), 12)

    def all_shares() -> list[float]:
        files = ((with_bad_page(source, tmp_path / "bad.db", page), tmp_path / "work") for page in tried)
        return sorted(share_back(*each, true) for each in files)

    shares = await asyncio.to_thread(all_shares)
    print(f"{pages} pages, of 12 damaged one by one: worst {shares[0]:.3f}, median {shares[6]:.3f}")  # noqa: T201 - the figure is what it is for
    assert shares[0] > 0.3
    assert shares[6] > 0.95


@pytest.mark.parametrize("table", ["point_group", "point_group_again"])
async def test_the_groups_are_there_twice(tmp_path: Path, table: str) -> None:
    source = tmp_path / "readings.db"
    true = await made(source)
    bad = with_bad_page(source, tmp_path / "bad.db", roots(source)[table])
    assert await asyncio.to_thread(share_back, bad, tmp_path / "work", true) > 0.95
