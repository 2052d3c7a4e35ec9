"""A real server with a small office behind it, and a real Chromium in front."""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self, cast

import pytest
from argon2 import PasswordHasher
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from agent.alarms import AlarmRefused
from agent.dispatch import Dispatch
from agent.hub import Hub
from agent.model import Device, Group, Kind, Point, Reading, Writable
from agent.reporting import Reporting
from agent.reports.options import ReportsOptions
from agent.schedule import Job, Jobs, Outcome, Result, Turn
from agent.schedule.when import Every
from agent.server import Role, Server, ServerOptions
from agent.server.parts import Parts
from agent.store import Store

PASSWORD = "uma senha é longa"
PUBLISH_S = 0.2
PAST_S = 360
SHOW_MS = 10_000
DESKTOP = {"width": 1280, "height": 850}
PHONE = {"width": 390, "height": 844}

# Weak on purpose: the tests are not about the strength of argon2.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
KEEPS = "keeps the last state it was given"

METER = Group(
    Device("meter", "eastron-sdm630", "Main board"),
    "fast",
    (Point("power_total", "W"), Point("voltage_l1", "V"), Point("energy_import", "kWh", Kind.TOTAL)),
    1000,
)
AC = Group(
    Device("ac-101", "intesis-ac", "Room 101"),
    "state",
    (
        Point("on", "", Kind.STATE, {0: "off", 1: "on"}, Writable(0, 1, 1, KEEPS)),
        Point("mode", "", Kind.STATE, {0: "auto", 4: "cool"}, Writable(0, 4, 1, KEEPS)),
        Point("temperature_setpoint", "°C", writable=Writable(16, 30, 0.5, KEEPS)),
        Point("temperature", "°C"),
    ),
    1000,
)


class Rung(dict[str, Any]):
    """One alarm."""

    def as_json(self) -> dict[str, Any]:
        return self


class Bell:
    """As much of `agent.alarms.Alarms` as the server asks for, rung by hand."""

    left_out = 0

    def __init__(self) -> None:
        self._alarms: dict[str, Rung] = {}
        self._listeners: list[Callable[[Any, Any], None]] = []

    def ring(self, id: str, state: str = "unacknowledged", **more: object) -> Rung:
        known = self._alarms.get(id) or Rung(
            id=id,
            priority="high",
            source="meter.voltage_l1",
            text={"pt-BR": "Tensão alta", "en": "Voltage high"},
            detail="",
            raised_ms=int(time.time() * 1000),
            acknowledged_ms=0,
            acknowledged_by="",
            chattering=False,
            count=1,
        )
        alarm = self._alarms[id] = Rung(known | more | {"state": state})
        for listener in list(self._listeners):
            listener(state, alarm)
        return alarm

    def forget(self, id: str) -> None:
        """It is over, and nobody is told."""
        del self._alarms[id]

    def active(self) -> Sequence[Rung]:
        return [each for each in self._alarms.values() if each["state"] != "normal"]

    def acknowledge(self, name: str, who: str, *, raised_ms: int | None = None) -> Rung:
        if name not in self._alarms:
            raise AlarmRefused(f"{name}: there is no such alarm now")
        now_ms = int(time.time() * 1000)
        return self.ring(name, "acknowledged", acknowledged_by=who, acknowledged_ms=now_ms)

    def shelve(self, name: str, for_s: float, who: str, reason: str = "") -> Rung:
        return self.ring(name, "shelved")

    def unshelve(self, name: str, who: str) -> Rung:
        return self.ring(name)

    async def history(self, from_ms: int, to_ms: int, *, limit: int) -> Sequence[Rung]:
        return list(self._alarms.values())[:limit]

    def listen(self, listener: Callable[[Any, Any], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


class Office:
    """A meter and an air conditioner that publish while entered, and a server that shows them."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder, self._options = folder, ServerOptions(port=0, **options)
        self.hub = Hub((METER, AC))
        self.ac = {"on": 1.0, "mode": 4.0, "temperature_setpoint": 23.0, "temperature": 25.5}
        self.power_w = 1000.0
        self.powers: dict[int, float] = {}  # by time_ms, what was published
        self.failing: set[Group] = set()
        self.ahead_s = 0.0  # of the server's clock
        self.written: list[tuple[str, float]] = []
        self.bell = Bell()
        self.dispatch = Dispatch(self.hub.groups, self._write)
        self.status: dict[str, object] = {"healthy": True, "clock_trusted": True, "uptime_s": 5400}
        self.reports = Reporting(folder / "config.toml", folder / "data", ReportsOptions())
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        stack = self._stack
        self.hub.listen(self._keep)
        self.store = await stack.enter_async_context(Store(self._folder / "store.db"))
        self.hub.listen(self.store.append)
        await self.store.register(self.hub.groups)
        self._past()
        self.go = asyncio.Event()
        folder = self._folder / "jobs.db"
        night = Job("night-copy", self._copy, Every(86400), "cron 0 2 * * *")
        self.jobs = await stack.enter_async_context(Jobs([night], folder, lambda readings: None))
        self.server = await stack.enter_async_context(self._server())
        for work in (self.store.run, self.dispatch.run, self.jobs.run, self.reports.run, self._publish):
            stack.push_async_callback(_ended, asyncio.create_task(work()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _server(self) -> Server:
        return Server(
            self._options,
            self.hub,
            self.store,
            self._folder,
            lambda: self.status,
            clock=self.now_s,
            hasher=CHEAP,
            alarm=lambda code, text: None,
            alarms=cast(Any, self.bell),
            parts=Parts(dispatch=self.dispatch, jobs=self.jobs, reports=self.reports),
        )

    async def user(self, name: str = "ana", role: Role = Role.ADMIN) -> None:
        await self.server.users.add(name, PASSWORD, role)
        while self.server.office.setup.open:  # it looks at the users twice a second
            await asyncio.sleep(0.02)

    def now_s(self) -> float:
        return time.time() + self.ahead_s

    async def _copy(self, turn: Turn) -> Outcome:
        turn.progress(0.4, "half of it")
        await self.go.wait()
        return Outcome(Result.WELL, "two files", 0.1, 12.0)

    async def _write(self, device: str, point: str, value: float) -> None:
        self.ac[point] = value
        self.written.append((f"{device}.{point}", value))
        self._say()

    async def _publish(self) -> None:
        while True:
            self.power_w += 7.5
            self._say()
            await asyncio.sleep(PUBLISH_S)

    def _say(self) -> None:
        now_ms = int(time.time() * 1000)
        meter = (self.power_w, 220 + 5 * math.sin(now_ms / 3000), 812.25)
        values = tuple(self.ac[point.name] for point in AC.points)
        readings = [Reading(METER, now_ms, meter), Reading(AC, now_ms, values)]
        self.hub.publish(
            [each.group.bad(now_ms) if each.group in self.failing else each for each in readings]
        )

    def _keep(self, readings: Sequence[Reading]) -> None:
        self.powers |= {each.time_ms: each.values[0] for each in readings if each.group is METER}

    def _past(self) -> None:
        """A reading a second of the time before now, as if the agent had been running."""
        now_ms = int(time.time() * 1000)
        for ago_s in range(PAST_S, 1, -1):
            at_ms = now_ms - ago_s * 1000
            power = 900 + 80 * math.sin(at_ms / 40_000)
            room = (*(self.ac[point.name] for point in AC.points[:3]), 25 + math.sin(at_ms / 60_000))
            self.hub.publish([Reading(METER, at_ms, (power, 221.0, 812.0)), Reading(AC, at_ms, room)])


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    for outcome in await asyncio.gather(task, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Office(tmp_path) as running:
        yield running


class Visitor:
    """Opens pages of one office; what they complain about is kept."""

    def __init__(self, browser: Browser, office: Office) -> None:
        self._browser, self._office = browser, office
        self.complaints: list[str] = []

    async def page(
        self,
        *,
        language: str = "en-GB",
        size: Mapping[str, int] = DESKTOP,
        dark: bool = False,
        phone: bool = False,
    ) -> Page:
        context = await self._browser.new_context(
            locale=language,
            viewport=PHONE if phone else size,  # type: ignore[arg-type]
            device_scale_factor=2 if phone else 1,
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            timezone_id="America/Sao_Paulo",
            accept_downloads=True,
            ignore_https_errors=True,  # nobody has installed the box's authority here
        )
        page = await context.new_page()
        page.set_default_timeout(SHOW_MS)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._left)
        await page.goto(self._office.server.url)
        return page

    async def entered(self, name: str = "ana", **how: Any) -> Page:
        """A page with `name` signed in."""
        page = await self.page(**how)
        await sign_in(page, name)
        await expect(page.locator("#link")).to_have_attribute("data-state", "live")
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _left(self, request: Any) -> None:
        """Only the box may be asked."""
        if not request.url.startswith((self._office.server.url, "blob:", "ws:", "wss:", "data:")):
            self.complaints.append(f"asked elsewhere: {request.url}")


async def sign_in(page: Page, name: str = "ana", password: str = PASSWORD) -> None:
    await page.locator("#user").fill(name)
    await page.locator("#password").fill(password)
    await page.locator("#login button").click()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program, "chromium is missing: make test installs it, or apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        yield browser
        await browser.close()


@pytest.fixture
async def visitor(office: Office) -> AsyncIterator[Visitor]:
    """At its end nothing may have been complained about on any console."""
    expect.set_options(timeout=SHOW_MS)
    async with chromium() as browser:
        coming = Visitor(browser, office)
        yield coming
    assert not coming.complaints
