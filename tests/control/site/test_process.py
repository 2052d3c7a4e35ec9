"""The real process, a simulated unit on a real Modbus socket: control goes on whatever else does not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from agent.demo.ambient import AmbientModule, demo_key
from agent.demo.modbus_line import SimulatedLine
from agent.demo.site import Site, run_site
from agent.status_file import read_status
from tests.conftest import until

CONFIG = """
[agent]
site = "lab"
trust_clock = "always"
[store]
free_min_mb = {free_min_mb}
discard = "newest"
[server]
port = {server}
connections_max = 8
head_wait_s = 60.0
[[uplink]]
name = "center"
kind = "thingsboard"
host = "127.0.0.1"
port = {broker}
token_file = "center.token"
[[line]]
name = "ac"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {modbus}
timeout_s = 0.5
[[line.device]]
name = "ac-101"
profile = "intesis-ac"
interval_s = 0.5
[[line]]
name = "wifi"
driver = "udp"
host = "127.0.0.1"
port = {udp}
key_file = "modules.keys"
[[line.device]]
name = "room-101"
profile = "ambient"
[control]
cycle_s = 1.0
[[room]]
id = "office-101"
temperature_point = "room-101.temperature"
mode = "control"
workdays = ["00:00-24:00"]
saturday = ["00:00-24:00"]
sunday = ["00:00-24:00"]
holidays = ["00:00-24:00"]
[[room.unit]]
id = "split"
on_point = "ac-101.on"
setpoint_point = "ac-101.temperature_setpoint"
mode_point = "ac-101.mode"
cool_code = 4.0
rated_w = 1200.0
setpoint_step_k = 0.5
"""


class Field:
    """The simulated site, and the agent's process in its folder."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder, self.ports = folder, ports
        self.site = Site(time_s=time.time(), random=Random(1))
        self.process: asyncio.subprocess.Process | None = None
        self.log = folder / "agent.log"

    def write(self, *, free_min_mb: int = 0) -> None:
        (self.folder / "config.toml").write_text(CONFIG.format(**self.ports, free_min_mb=free_min_mb))
        for name, secret in {
            "center.token": "T0KEN",
            "modules.keys": f"room-101 {demo_key('room-101').hex()}",
        }.items():
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_text(f"{secret}\n")

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent", "run", "config.toml"), cwd=self.folder, stderr=log
            )

    async def end(self, number: int) -> int:
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(15):
            return await self.process.wait()

    def unit(self, point: str) -> float:
        return self.site.ac.get(point)

    def reason(self) -> str:
        """Why, as the agent's status says; that of REST is the same."""
        decisions = (read_status(self.folder) or {}).get("control", {}).get("decisions", [])
        return str(decisions[0]["reason"]) if decisions else ""

    def decisions(self) -> int:
        file = self.folder / "data" / "control.db"
        if not file.exists():
            return 0
        db = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
        try:
            return int(db.execute("SELECT count(*) FROM cycle").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
        finally:
            db.close()


@pytest.fixture
async def field(tmp_path: Path, free_port: Callable[..., int]) -> AsyncIterator[Field]:
    """A room with its unit off, and nobody at the broker's port."""
    ports = {"server": free_port(), "broker": free_port(), "udp": free_port(socket.SOCK_DGRAM)}
    found = Field(tmp_path, ports)
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(SimulatedLine(found.site.ac))
        ports["modbus"] = line.port
        found.site.ac.update({"on": 0, "mode": 0, "temperature_setpoint": 30.0})
        await stack.enter_async_context(_moving(found.site, ports["udp"]))
        found.write()
        try:
            yield found
        finally:
            if found.process and found.process.returncode is None:
                found.process.kill()
                await found.process.wait()


@asynccontextmanager
async def _moving(site: Site, udp: int) -> AsyncIterator[None]:
    with AmbientModule("room-101", port=udp) as module:
        task = asyncio.create_task(run_site(site, [module], interval_s=0.3))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


PIDFD_GETFD = 438
LISTENS = "0A"


def break_listener(pid: int, port: int) -> None:
    """Shut the listening socket of that process down, from outside: it will never accept again."""
    with Path("/proc/net/tcp").open() as table:
        rows = [line.split() for line in table if line.split()[3] == LISTENS]
    (inode,) = {row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port}
    folder = Path(f"/proc/{pid}/fd")
    (theirs,) = [int(each.name) for each in folder.iterdir() if each.readlink() == Path(f"socket:[{inode}]")]
    process = os.pidfd_open(pid)
    try:
        ours = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, theirs, 0)
        assert ours >= 0, os.strerror(ctypes.get_errno())
        with socket.socket(fileno=ours) as listener:
            listener.shutdown(socket.SHUT_RDWR)
    finally:
        os.close(process)


async def test_control_goes_on_with_the_server_stopped_which_comes_back(field: Field) -> None:
    with socket.create_server(("127.0.0.1", field.ports["server"])):  # somebody else has the port
        await field.start()
        await until(lambda: field.unit("on") == 1 and field.decisions() >= 3, 30)
    await until(lambda: "server: well again" in field.log.read_text(), 30)
    assert field.process
    break_listener(field.process.pid, field.ports["server"])
    await until(lambda: "server: [Errno 22]" in field.log.read_text(), 10)
    before = field.decisions()
    await until(lambda: field.decisions() >= before + 3, 20)
    await until(lambda: field.log.read_text().count("server: well again") == 2, 30)
    _, writer = await asyncio.open_connection("127.0.0.1", field.ports["server"])
    writer.close()
    assert await field.end(signal.SIGTERM) == 0
    assert field.unit("on") == 1
    assert "Traceback" not in field.log.read_text()


async def test_control_goes_on_with_the_store_full_the_server_busy_and_the_broker_gone(field: Field) -> None:
    field.write(free_min_mb=1_000_000)
    await field.start()
    await until(lambda: field.unit("on") == 1, 30)
    async with AsyncExitStack() as stack:
        for _ in range(8):  # all the connections there are: nobody is served any more
            _, writer = await asyncio.open_connection("127.0.0.1", field.ports["server"])
            stack.callback(writer.close)
        before = field.decisions()
        await until(lambda: field.decisions() >= before + 3, 20)
        field.site.ac.update({"temperature_setpoint": 30.0, "mode": 0})
        assert await field.end(signal.SIGTERM) == 0
    assert field.unit("on") == 1
    assert field.unit("temperature_setpoint") == 24.0
    assert "Traceback" not in field.log.read_text()


async def test_a_killed_agent_goes_on_after_its_restart(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(field.folder))
    await field.start()
    await until(lambda: field.unit("on") == 1 and field.decisions() >= 3, 30)
    await until(lambda: "no model accepted yet" in field.reason(), 10)
    assert field.unit("mode") == 4
    assert await field.end(signal.SIGKILL) == -signal.SIGKILL
    assert field.unit("on") == 1, "what the unit keeps without us is right without us"
    before = field.decisions()
    field.site.ac.update({"temperature_setpoint": 30.0})
    await field.start()
    await until(lambda: field.unit("temperature_setpoint") < 30 and field.decisions() > before, 30)
    assert await field.end(signal.SIGTERM) == 0
    assert field.unit("on") == 1
    assert "Traceback" not in field.log.read_text()
