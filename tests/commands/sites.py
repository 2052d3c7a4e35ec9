"""A configuration with simulated meters, and the agent running on it in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.config import load
from agent.server import IDENTITY_FILE, Users
from agent.service import Service

PASSWORD = "correct horse battery"
HEAD = """
[agent]
site = "lab"
trust_clock = "always"
health_interval_s = 1
[server]
port = {port}
"""
LINE = """
[[line]]
name = "{name}"
driver = "modbus-rtu"
port = "{port}"
timeout_s = 0.2
"""
DEVICE = """
[[line.device]]
name = "{name}"
profile = "eastron-sdm630"
unit_id = {unit}
"""


def configure(folder: Path, http_port: int, bus_port: str, **units: int) -> Path:
    """A bus "Bus-1" with a meter for each name and unit id."""
    text = HEAD.format(port=http_port) + LINE.format(name="Bus-1", port=bus_port)
    text += "".join(DEVICE.format(name=name, unit=unit) for name, unit in units.items())
    file = folder / "config.toml"
    file.write_text(text)
    (folder / "password").write_text(f"{PASSWORD}\n")
    return file


@asynccontextmanager
async def agent_on(file: Path) -> AsyncIterator[tuple[str, ...]]:
    """The running agent; what to put on the command line to ask it."""
    config = load(file)
    async with Users(config.data_dir / IDENTITY_FILE) as users:
        await users.add("ana", PASSWORD, "viewer")
    service, ready = Service(config), asyncio.Event()

    async def up() -> None:
        ready.set()

    running = asyncio.create_task(service.run(up))
    try:
        async with asyncio.timeout(20):
            await asyncio.wait({running, asyncio.ensure_future(ready.wait())}, return_when="FIRST_COMPLETED")
            assert ready.is_set(), running
        yield "--url", service.url, "--user", "ana", "--password-file", str(file.parent / "password")
    finally:
        service.stop()
        await running
