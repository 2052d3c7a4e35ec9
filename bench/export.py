#!/usr/bin/env python3
"""Ten million values as CSV: how soon, how fast, with how much memory, and what live readings feel of it.

    .venv/bin/python bench/export.py            # some minutes and 2 GB of disk, loopback only

The agent's side is the HTTP download of its sealed history. Beside it, in the same run, the sqlite3 shell
writes the very same rows from a table of them (`-csv`, to /dev/null). The server, who downloads and who
watches live readings are processes of their own. Memory is the proportional set size (PSS) of the server and
of the process that it starts for the export, looked at every 50 ms: the most of it, less what was before.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import subprocess
import tempfile
import time
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import numpy as np
import uvloop
from argon2 import PasswordHasher

from agent.confined import NICER
from agent.hub import Hub
from agent.model import Device, Group, Point, Reading
from agent.server import Role, Server, ServerOptions
from agent.store import Store, StoreOptions

POINTS = 20
BEGIN_MS = 1_767_225_600_000
PASSWORD = "a password of a bench"
HEADER_BYTES = 100
ALONE_S = 10.0
METER = Group(Device("meter", "meter"), "all", tuple(Point(f"point_{n}", "V") for n in range(POINTS)), 1000)
LIVE = Group(Device("live", "meter"), "all", (Point("power", "W"),), 100)


def main() -> None:
    """Print rates, their ratio, the first byte, the memory and the live ages with and without."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--values", type=int, default=10_000_000)
    values = parser.parse_args().values
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        server = context.Process(target=run, args=(folder, values // POINTS, theirs), daemon=True)
        server.start()
        url, token = ours.recv()
        uvloop.run(measured(url, token, server.pid or 0, folder / "rows.csv"))
        ours.send("end")
        server.join(10)
        shell(folder, values)


def run(folder: Path, readings: int, pipe: Connection) -> None:
    uvloop.run(serve(folder, readings, pipe))


async def serve(folder: Path, readings: int, pipe: Connection) -> None:
    hub = Hub([METER, LIVE])
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(folder / "readings.db", StoreOptions()))
        await store.register(hub.groups)
        keeping = asyncio.create_task(store.run())
        rng = np.random.default_rng(1)
        for first in range(0, readings, 10_000):
            matrix = np.round(rng.uniform(200, 240, (10_000, POINTS)), 2).tolist()
            store.append(
                [Reading(METER, BEGIN_MS + 1000 * (first + at), row) for at, row in enumerate(matrix)]
            )
            await store.commit()
        while await store.upkeep.seal():
            pass
        hub.listen(store.append)
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        server = Server(ServerOptions(port=0), hub, store, folder, dict, hasher=cheap)
        await stack.enter_async_context(server)
        await server.users.add("ana", PASSWORD, Role.VIEWER)
        async with aiohttp.ClientSession() as http:
            login = aiohttp.encode_basic_auth("ana", PASSWORD)
            async with http.post(f"{server.url}/token", headers={"Authorization": login}) as reply:
                token = (await reply.json())["access_token"]
            # What any first export costs is not its size's.
            headers = {"Authorization": f"Bearer {token}"}
            small = f"{server.url}/api/v1/export.csv?points=meter.*&from={BEGIN_MS}&to={BEGIN_MS + 60_000}"
            async with http.get(small, headers=headers) as reply:
                await reply.read()
        pipe.send((server.url, token))
        publishing = asyncio.create_task(published(hub))
        while not pipe.poll():
            await asyncio.sleep(0.02)
        for task in (publishing, keeping):
            task.cancel()
        await asyncio.gather(publishing, keeping, return_exceptions=True)


def pss_kb(process: int) -> int:
    """0: it is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def children(process: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        return [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except OSError:
        return []


def memory_kb(server: int) -> tuple[int, int]:
    """Of the server, and of what it started."""
    return pss_kb(server), sum(pss_kb(each) for each in children(server))


async def published(hub: Hub) -> None:
    while True:
        await asyncio.sleep(0.1)
        hub.publish([Reading(LIVE, round(time.time() * 1000), (1.0,))])


def download(url: str, token: str, file: Path, pipe: Connection) -> None:
    pipe.send(uvloop.run(downloaded(url, token, file)))


async def downloaded(url: str, token: str, file: Path) -> tuple[float, float, float, int]:
    """Seconds to the first byte, to the first row and to the end, and how many bytes it was."""
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=None)
    begun_s = time.perf_counter()
    first_s = row_s = 0.0
    length = 0
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        with file.open("wb") as out:
            async with http.get(f"{url}/api/v1/export.csv?points=meter.*&from=0") as reply:
                async for part in reply.content.iter_any():
                    length += len(part)
                    first_s = first_s or time.perf_counter() - begun_s
                    if not row_s and length > HEADER_BYTES:
                        row_s = time.perf_counter() - begun_s
                    out.write(part)
    return first_s, row_s, time.perf_counter() - begun_s, length


async def measured(url: str, token: str, server: int, file: Path) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        ages: list[float] = []
        watching = asyncio.create_task(watch(http, url, ages))
        await asyncio.sleep(ALONE_S)
        told("live alone", ages)
        ages.clear()
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        before_kb, _ = memory_kb(server)
        client = context.Process(target=download, args=(url, token, file, theirs), daemon=True)
        client.start()
        most_kb, most_child_kb, most_both_kb = before_kb, 0, before_kb
        while not ours.poll():
            own_kb, child_kb = memory_kb(server)
            most_kb, most_child_kb = max(most_kb, own_kb), max(most_child_kb, child_kb)
            most_both_kb = max(most_both_kb, own_kb + child_kb)
            await asyncio.sleep(0.05)
        first_s, row_s, took_s, length = ours.recv()
        told("live beside the export", ages)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    print(f"export: first byte {1000 * first_s:.0f} ms, first row {1000 * row_s:.0f} ms,", end=" ")
    print(f"{length / 1e6:.0f} MB in {took_s:.1f} s, {length / took_s / 1e6:.1f} MB/s")
    print(f"memory: the server grew by {(most_kb - before_kb) / 1024:.1f} MB, its process", end=" ")
    print(f"had {most_child_kb / 1024:.1f} MB, together {(most_both_kb - before_kb) / 1024:.1f} MB")


def told(name: str, ages: list[float]) -> None:
    p50, p99, most = np.percentile(ages, [50, 99, 100])
    print(f"{name}: {len(ages)} readings, p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {most:.1f} ms")


async def watch(http: aiohttp.ClientSession, url: str, ages: list[float]) -> None:
    async with http.ws_connect(f"{url}/ws") as socket:
        await socket.send_json({"type": "subscribe", "points": ["live.*"], "mode": "every"})
        async for message in socket:
            said = message.json()
            if said["type"] == "readings" and not said.get("image"):
                ages += [time.time() * 1000 - each["time_ms"] for each in said["readings"]]


def shell(folder: Path, values: int) -> None:
    """The same rows by the sqlite3 shell, as modest as the agent's process is."""
    db, rows = folder / "rows.db", folder / "rows.csv"
    columns = "time TEXT, device TEXT, point TEXT, value REAL, unit TEXT, quality TEXT, time_ms INTEGER"
    load = f"PRAGMA journal_mode=OFF;\nPRAGMA synchronous=OFF;\nCREATE TABLE row ({columns});\n"
    load += f".import --csv --skip 1 {rows} row\n"
    subprocess.run(["sqlite3", str(db)], input=load.encode(), check=True, stdout=subprocess.DEVNULL)
    size = rows.stat().st_size
    begun_s = time.perf_counter()
    with Path("/dev/null").open("wb") as out:
        command = ["nice", "-n", str(NICER), "sqlite3", "-csv", "-header", str(db), "SELECT * FROM row"]
        subprocess.run(command, check=True, stdout=out)
    took_s = time.perf_counter() - begun_s
    rate = f"{size / 1e6:.0f} MB in {took_s:.1f} s, {size / took_s / 1e6:.1f} MB/s"
    print(f"sqlite3 shell: {values} rows, {rate}")


if __name__ == "__main__":
    main()
