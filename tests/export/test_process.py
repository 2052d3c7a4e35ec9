"""The process of an export, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from agent.database import is_broken
from agent.export import process
from agent.export.order import Order
from agent.export.style import Style
from agent.store import Store
from agent.store.moment import Moment
from tests.store.test_sealing import GROUPS, filled

HEAVY = ("asyncio", "aiosqlite", "aiohttp", "pydantic", "numpy", "ctypes", "agent.model")
POINTS = [(name, "V") for group in GROUPS for name in group.point_ids]


def order(file: Path, **more: object) -> Order:
    return Order(str(file), Moment(), POINTS, 0, 10**13)._replace(**more)  # type: ignore[arg-type]


def children() -> set[str]:
    found: set[str] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


async def whole(wanted: Order) -> bytes:
    return b"".join([piece async for piece in process.pieces(wanted)])


async def test_who_stops_listening_ends_the_process(tmp_path: Path) -> None:
    before = children()
    async with Store(tmp_path / "r.db") as store:
        await filled(store, 30_000)
        async with aclosing(process.pieces(order(store.file))) as pieces:
            assert (await anext(pieces)).startswith(b"time,device,point,value,unit,quality,time_ms\r\n")
            assert len(children() - before) == 1
        assert children() <= before
        task = asyncio.create_task(whole(order(store.file)))
        while not children() - before:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert children() <= before


async def test_what_only_memory_has_is_in_it(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        await filled(store, 300)
        plain = await whole(order(store.file))
        row = (999, 2, 1234, 1, b"\0\0\0\0\0\0\xf0\x3f")
        more = await whole(order(store.file, moment=Moment(300, [row])))
        assert b"1970-01-01T00:00:01.234Z,b,p0,1.0,V,uncertain,1234\r\n" in more
        assert len(more.splitlines()) == len(plain.splitlines()) + 1
        less = await whole(order(store.file, moment=Moment(200)))
        assert len(less.splitlines()) == 1 + 200 * 2  # three groups in turn, of 3, 1 and 2 points


async def test_a_file_that_cannot_be_read_is_said_before_anything_else(tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    with pytest.raises(OSError, match="unable to open"):
        await whole(order(file))
    file.write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(process.Unreadable, match="not a database") as raised:
        await whole(order(file))
    assert is_broken(raised.value.error)


async def test_a_mistake_of_ours_is_one(tmp_path: Path) -> None:
    async with Store(tmp_path / "r.db") as store:
        await filled(store, 10)
        with pytest.raises(RuntimeError, match="Mars"):
            await whole(order(store.file, style=Style(zone="Mars/Base")))


def test_the_header_waits_for_little() -> None:
    code = f"import sys, agent.export.child; print([n for n in {HEAVY} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
