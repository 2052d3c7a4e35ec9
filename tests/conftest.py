"""Real sockets, real files, a real broker: what the tests share."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cryptography.hazmat.bindings._rust  # noqa: F401 - before the agent hides it from PyJWT
import pytest
import uvloop
from hypothesis import settings

from agent.model import Device, Group, Point

# A script that starts the tests with & has them ignore Ctrl-C, and every process they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that judges a change runs the same examples every time; everyone else looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the agent runs on, so that what only it does to us is seen here."""
    return {"uvloop": _new_loop}


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_ended_if_hung)
    return loop


def _ended_if_hung(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What pytest-timeout raises into a loop that waits, uvloop would only log: the test would go on."""
    if isinstance(context.get("exception"), pytest.fail.Exception):
        for task in asyncio.all_tasks(loop):
            task.cancel(f"hung: {context['exception']}")
    else:
        loop.default_exception_handler(context)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port of loopback that nobody listens on."""

    def find(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


def group_of(device: str = "meter", count: int = 2, interval_ms: int = 1000) -> Group:
    """A group of `count` points p0, p1, ... in volts."""
    points = tuple(Point(f"p{at}", "V") for at in range(count))
    return Group(Device(device, "test"), "all", points, interval_ms)


async def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait until `condition()` is true; TimeoutError after `timeout_s`: it hangs, busy machine or not."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


class Mosquitto:
    """A real broker on loopback that can be killed, frozen and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._conf = folder / f"mosquitto-{port}.conf"
        self._conf.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
            "max_queued_messages 0\nmax_inflight_messages 0\nuser root\n"
        )
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        assert program, "mosquitto is missing: make test installs it, or apt-get install mosquitto"
        self.process = await asyncio.create_subprocess_exec(
            program, "-c", str(self._conf), stderr=asyncio.subprocess.DEVNULL
        )
        await until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    async def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
        if self.process:
            await self.process.wait()


@asynccontextmanager
async def mosquitto_on(folder: Path, port: int) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(folder, port)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.kill()


@pytest.fixture
async def mosquitto(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Mosquitto]:
    async with mosquitto_on(tmp_path, free_port()) as broker:
        yield broker
