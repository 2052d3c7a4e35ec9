"""The server is kept open: what ends it costs the door for a while, and nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest

from agent.hub import Hub
from agent.server import Door, Server, ServerOptions
from agent.store import Store
from agent.supervise import Backoff
from tests.conftest import until

QUICK = Backoff(first_s=0.01, most_s=0.05)


class Fragile(Server):
    """A server whose serving can be made to fail."""

    def __init__(self, folder: Path, store: Store) -> None:
        super().__init__(ServerOptions(port=0), Hub(), store, folder, dict)
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def served(self) -> None:
        await self.failure


@asynccontextmanager
async def kept_open(folder: Path) -> AsyncIterator[tuple[Door, list[Fragile]]]:
    made: list[Fragile] = []
    async with Store(folder / "store.db") as store:

        def make() -> Fragile:
            made.append(Fragile(folder, store))
            return made[-1]

        async with Door(make, folder, QUICK) as door:
            task = asyncio.create_task(door.run())
            try:
                yield door, made
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def answers(url: str) -> bool:
    async with aiohttp.ClientSession(url) as http, http.get("/healthz") as reply:
        return reply.status == 200


@pytest.mark.parametrize(
    ("failure", "traceback"), [(OSError("dead"), False), (RuntimeError("a bug"), True)], ids=["os", "bug"]
)
async def test_what_ends_the_server_is_said_and_it_is_opened_again(
    tmp_path: Path, failure: Exception, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with kept_open(tmp_path) as (door, made):
        assert not door.troubles()
        await asyncio.sleep(0)
        made[0].failure.set_exception(failure)
        await until(lambda: len(made) == 2 and not door.troubles(), 10)
        assert await answers(door.url)
        assert str(failure) in caplog.text
        assert ("Traceback" in caplog.text) == traceback


async def test_files_that_cannot_be_opened_are_said_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "identity.db").write_bytes(b"no database" * 1000)
    async with kept_open(tmp_path) as (door, _):
        (trouble,) = door.troubles()
        assert "identity.db: cannot be opened" in trouble
        (tmp_path / "identity.db").unlink()
        await until(lambda: not door.troubles(), 10)
        assert await answers(door.url)


async def test_files_of_a_newer_agent_cost_the_page_and_not_the_agent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(tmp_path / "identity.db")) as db:
        db.execute("PRAGMA user_version = 99")
    async with kept_open(tmp_path) as (door, made):
        (trouble,) = door.troubles()
        assert "install the newer agent again" in trouble
        await until(lambda: len(made) > 3, 10)
        assert caplog.text.count("Traceback") == 1
        (tmp_path / "identity.db").unlink()
        await until(lambda: not door.troubles(), 10)
        assert await answers(door.url)


async def test_a_disk_that_takes_no_writes_is_everybodys(tmp_path: Path) -> None:
    class Full(Server):
        async def __aenter__(self) -> Server:  # type: ignore[override]
            raise OSError("no space left on device")

    gone = Path("/proc/nowhere")  # a file system that takes no writes
    async with Store(tmp_path / "store.db") as store:
        with pytest.raises(OSError, match=r"no space left|nowhere"):
            await Door(lambda: Full(ServerOptions(port=0), Hub(), store, tmp_path, dict), gone).__aenter__()
