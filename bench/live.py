#!/usr/bin/env python3
"""How old readings are when they reach a WebSocket client, beside a bare aiohttp broadcast, in one run.

    .venv/bin/python bench/live.py            # about a minute, loopback only

50 devices of 20 points at 1 Hz, 200 clients `latest` (as often as is usual) and 20 `every`, of everything.
The agent's side is the whole of it: hub, store, selection, encoding, outboxes, WebSocket. The bare side sends
the same bytes as often to as many clients from a loop with nothing else in it. Servers and clients are
processes of their own; age is from the reading's time_ms (capture) to the client's receive.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import re
import resource
import tempfile
import time
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import uvloop
from aiohttp import web
from argon2 import PasswordHasher

from agent.hub import Hub
from agent.model import Device, Group, Point, Reading
from agent.server import Role, Server, ServerOptions
from agent.server.live import FLUSH_S, PER_S, Encoder
from agent.server.selection import Selection
from agent.store import Store

DEVICES, POINTS, LATEST, EVERY = 50, 20, 200, 20
PASSWORD = "a password of a bench"
TIME = re.compile(rb'"time_ms":(\d{13})')
GROUPS = [
    Group(Device(f"meter-{at}", "meter"), "all", tuple(Point(f"point_{n}", "V") for n in range(POINTS)), 1000)
    for at in range(DEVICES)
]


def main() -> None:
    """Print both sides' ages and what the agent's memory grew by."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    for name, serve in (("bare aiohttp", bare), ("agent", agent)):
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=run, args=(serve, theirs), daemon=True)
        server.start()
        url, token = ours.recv()
        ages = uvloop.run(measured(url, token, seconds))
        ours.send("end")
        memory_mb, cpu_s = ours.recv()
        server.join(10)
        for kind, found in ages.items():
            p50, p99, most = np.percentile(found, [50, 99, 100])
            shown = f"p50 {p50:6.1f} ms, p99 {p99:6.1f} ms, most {most:6.1f} ms"
            print(f"{name:13} {kind:7} {len(found):8} readings: {shown}")
        print(f"{name:13} memory grew by {memory_mb:.1f} MB, {100 * cpu_s / seconds:.0f} % of a core")


def run(serve: Any, pipe: Connection) -> None:
    uvloop.run(serve(pipe))


async def agent(pipe: Connection) -> None:
    hub = Hub(GROUPS)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = await stack.enter_async_context(Store(folder / "readings.db"))
        hub.listen(store.append)
        options = ServerOptions(port=0, clients_max=LATEST + EVERY)
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        server = Server(options, hub, store, folder, dict, hasher=cheap)
        await stack.enter_async_context(server)
        await server.users.add("ana", PASSWORD, Role.VIEWER)
        async with aiohttp.ClientSession() as http:
            login = aiohttp.encode_basic_auth("ana", PASSWORD)
            async with http.post(f"{server.url}/token", headers={"Authorization": login}) as reply:
                token = (await reply.json())["access_token"]
        tasks = [asyncio.create_task(store.run()), asyncio.create_task(published(hub))]
        await told(pipe, server.url, token)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def published(hub: Hub) -> None:
    """Each device once a second, spread over it."""
    rng = np.random.default_rng(1)
    due_s = time.time()
    while True:
        for group in GROUPS:
            due_s += 1 / DEVICES
            await asyncio.sleep(max(0.0, due_s - time.time()))
            values = np.round(rng.uniform(0, 500, POINTS), 2).tolist()
            hub.publish([Reading(group, round(time.time() * 1000), values)])


async def bare(pipe: Connection) -> None:
    """The same bytes, as often, to as many."""
    hub, sockets = (
        Hub(GROUPS),
        {"latest": set[web.WebSocketResponse](), "every": set[web.WebSocketResponse]()},
    )
    came: list[Reading] = []
    hub.listen(came.extend)

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        kind = (await socket.receive_json())["mode"]
        sockets[kind].add(socket)
        async for _ in socket:
            pass
        sockets[kind].discard(socket)
        return socket

    async def broadcast(kind: str, wait_s: float) -> None:
        sent, head = 0, b'"type":"readings","id":"live",'
        while True:
            await asyncio.sleep(wait_s)
            fresh, sent = came[sent:], len(came)
            if fresh:
                text = Encoder().message(head, hub, Selection(), {each.group for each in fresh}).decode()
                for socket in tuple(sockets[kind]):
                    await socket.send_str(text)

    app = web.Application()
    app.add_routes([web.get("/ws", connect)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    works = (published(hub), broadcast("latest", 1 / PER_S), broadcast("every", FLUSH_S))
    tasks = [asyncio.create_task(work) for work in works]
    await told(pipe, f"http://127.0.0.1:{runner.addresses[0][1]}", "none")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await runner.cleanup()


async def told(pipe: Connection, url: str, token: str) -> None:
    """Say where, wait for the end, say what it took."""
    before_kb, before_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    pipe.send((url, token))
    while not pipe.poll():
        await asyncio.sleep(0.1)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    pipe.send((grown_mb, time.process_time() - before_s))


async def measured(url: str, token: str, seconds: float) -> dict[str, list[float]]:
    """The ages of what all clients get, in ms, after a second of settling."""
    ages: dict[str, list[float]] = {"latest": [], "every": []}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        clients = [
            asyncio.create_task(client(http, url, token, mode, ages[mode]))
            for mode, count in (("latest", LATEST), ("every", EVERY))
            for _ in range(count)
        ]
        await asyncio.sleep(3)
        for found in ages.values():
            found.clear()
        await asyncio.sleep(seconds)
        ended = [each for each in clients if each.done()]
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    if ended:
        raise RuntimeError(f"{len(ended)} clients ended: {ended[0]}")
    return ages


async def client(http: aiohttp.ClientSession, url: str, token: str, mode: str, ages: list[float]) -> None:
    async with http.ws_connect(f"{url}/ws", headers={"Authorization": f"Bearer {token}"}) as socket:
        await socket.send_json({"type": "subscribe", "mode": mode})
        while True:
            message = (await socket.receive()).data
            now_ms = time.time() * 1000
            text = message.encode()
            if b'"image"' not in text:
                ages += [now_ms - int(each) for each in TIME.findall(text)]


if __name__ == "__main__":
    main()
