"""A real server on a free port, with a real store, a hub to publish to and a user to be."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from argon2 import PasswordHasher

from agent.alarms import Alarm, Alarms
from agent.alarms.alarm import Words
from agent.dispatch import Dispatch
from agent.drivers.command import WriteFailed
from agent.hub import Hub
from agent.model import Device, Group, Kind, Point, Quality, Reading, Writable
from agent.server import Parts, Role, Server, ServerOptions
from agent.server.audit import Entry, Query
from agent.store import Store

PASSWORD = "uma senha é longa"
START_MS = 1_767_322_984_678  # 2026-01-02T03:03:04.678Z

# Weak on purpose: the tests are not about the strength of argon2.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

METER = Group(
    Device("meter", "sdm630", "Main board"),
    "fast",
    (
        Point("voltage", "V"),
        Point("energy", "kWh", Kind.TOTAL),
        Point("mode", "", Kind.STATE, {0: "off", 1: "on"}),
    ),
    1000,
)
HVAC = Group(
    Device("hvac", "split", "Sala"),
    "all",
    (Point("setpoint", "°C", writable=Writable(16, 30, 0.5, fallback=24.0)), Point("room", "°C")),
    1000,
)
SENSOR = Group(Device("sensor", "sht", ""), "all", (Point("temperature", "°C"),), 0)


@dataclass
class Clock:
    """Seconds, moved by hand."""

    now_s: float = START_MS / 1000

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Site:
    """Everything a test of the server needs."""

    hub: Hub
    store: Store
    server: Server
    http: aiohttp.ClientSession
    clock: Clock
    monotonic: Clock
    told: Alarms = field(init=False)
    status: dict[str, object] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    trusted: bool = True  # the clock
    written: list[tuple[str, str, float]] = field(default_factory=list)
    broken: str = ""  # why nothing can be written
    dispatch: Dispatch | None = None

    def tell(self, name: str, *, raised: bool = True) -> None:
        """An alarm comes or goes."""
        if raised:
            self.told.raise_alarm(Alarm(name, Words("pt", "en")))
        else:
            self.told.clear(name)

    async def write(self, device: str, point: str, value: float) -> None:
        if self.broken:
            raise WriteFailed(self.broken)
        self.written.append((device, point, value))

    def publish(self, *readings: Reading) -> None:
        self.hub.publish(readings)

    async def login(self, name: str = "ana", password: str = PASSWORD) -> dict[str, Any]:
        async with self.http.post("/token", headers=basic(name, password)) as reply:
            body: dict[str, Any] = await reply.json()
            assert reply.status == 200, body
            return body

    async def audited(self, kind: str) -> list[Entry]:
        """What the audit log has of `kind`, newest first."""
        await self.server.audit.settled()
        return [each for each in await self.server.audit.find(Query()) if each.kind == kind]

    async def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(await self.login())['access_token']}"}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def meter(time_ms: int, voltage: float = 230.0, energy: float = 1.5, mode: float = 1.0) -> Reading:
    return Reading(METER, time_ms, (voltage, energy, mode), Quality.GOOD)


def sensor(time_ms: int, temperature: float = math.nan) -> Reading:
    return Reading(SENSOR, time_ms, (temperature,), Quality.UNCERTAIN)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


StartSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartSite]:
    """Call it with server options for a running site, with the groups given."""
    async with AsyncExitStack() as stack:

        async def begin(
            *groups: Group,
            parts: Parts | None = None,
            **options: Any,
        ) -> Site:
            store = await stack.enter_async_context(Store(tmp_path / "store.db"))
            hub = Hub(groups or (METER, SENSOR))
            stop = hub.listen(store.append)
            stack.callback(stop)
            site = Site(
                hub, store, cast(Server, None), cast(aiohttp.ClientSession, None), Clock(), Clock(0.0)
            )
            site.told = await stack.enter_async_context(Alarms(tmp_path, now_s=site.clock))
            telling = asyncio.create_task(site.told.run())
            stack.push_async_callback(ended, telling)
            site.dispatch = Dispatch(hub.groups, site.write)
            keeping = asyncio.create_task(site.dispatch.run())
            stack.push_async_callback(ended, keeping)
            server = Server(
                ServerOptions(port=0, **options),
                hub,
                store,
                tmp_path,
                lambda: site.status,
                clock=site.clock,
                monotonic=site.monotonic,
                certain=lambda: site.trusted,
                alarm=lambda code, text: site.alarms.append(code),
                hasher=CHEAP,
                alarms=site.told,
                parts=(parts or Parts())._replace(dispatch=site.dispatch),
            )
            await stack.enter_async_context(server)
            if await server.users.find("ana") is None:
                await server.users.add("ana", PASSWORD, Role.VIEWER)
            site.server = server
            site.http = await stack.enter_async_context(aiohttp.ClientSession(server.url))
            return site

        yield begin


@pytest.fixture
async def site(start: StartSite) -> Site:
    return await start()
