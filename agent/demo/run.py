"""`uicps-agent demo`: the field in a process of its own, the agent in this one, a status on the terminal."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from agent.config import Config, load
from agent.demo.config import Ports, write_config
from agent.demo.status import status_line
from agent.server import IDENTITY_FILE, Role, Users
from agent.service import Service

USER = "demo"
START_S_MAX = 30.0
END_S_MAX = 3.0
TERMINAL_STATUS_S = 1.0
LOG_STATUS_S = 10.0

INTRODUCTION = """
UICPS Edge Agent, demo site: two meters, an air conditioner and its room, simulated, over real sockets.

  page      {url}
  user      {user}
  password  {password}
  files     {folder}  (configuration, readings; --fresh starts anew)

Ctrl-C ends it.
"""


async def demo(folder: Path, port: int, *, fresh: bool) -> None:
    """Run until Ctrl-C. OSError if something is in the way (a port that is taken, say)."""
    if fresh:
        shutil.rmtree(folder / "data", ignore_errors=True)
    async with _field() as field:
        config = load(write_config(folder, field.ports, server_port=port))
        password = await _demo_user(config)
        service = Service(config)

        async def live() -> None:
            url = service.url or "not served, see above"
            print(INTRODUCTION.format(url=url, user=USER, password=password, folder=folder))
            await asyncio.gather(field.follow(), _show(service, field))

        await service.run(live)
    print("\nended; the next demo goes on where this one stopped")


class _Field:
    """The running field process."""

    def __init__(self, process: asyncio.subprocess.Process, ports: Ports) -> None:
        self._process, self.ports = process, ports
        self.center: Mapping[str, float] = {}

    async def follow(self) -> None:
        """Keep what the simulated centre says it received; OSError-free end when the field ends."""
        assert self._process.stdout
        async for line in self._process.stdout:
            self.center = json.loads(line).get("center", self.center)


@asynccontextmanager
async def _field() -> AsyncIterator[_Field]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent.demo.field", "--free-ports", "--report-s", "1"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us; the field ends when we close its stdin
    )
    try:
        yield _Field(process, await _ready(process))
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_S_MAX)
        except TimeoutError:  # stopped, or stuck
            process.kill()
            await process.wait()


async def _ready(process: asyncio.subprocess.Process) -> Ports:
    assert process.stdout
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_S_MAX)
        return Ports(**json.loads(line)["ports"])
    except (TimeoutError, ValueError, KeyError) as error:
        raise OSError("the simulated modules did not start, see above (is another demo running?)") from error


async def _demo_user(config: Config) -> str:
    """The password of the demo's user: made at the first demo, kept in a file beside it."""
    kept = config.file.parent / "demo.password"
    async with Users(config.data_dir / IDENTITY_FILE) as users:
        if await users.find(USER) and kept.exists():
            return kept.read_text(encoding="utf-8").strip()
        password = secrets.token_urlsafe(9)
        kept.touch(mode=0o600)
        kept.write_text(password + "\n", encoding="utf-8")
        if await users.find(USER):
            await users.set_password(USER, password)
        else:
            await users.add(USER, password, Role.ADMIN)
    return password


async def _show(service: Service, field: _Field) -> None:
    """One line, written over itself on a terminal; a line now and then where it is logged."""
    terminal = sys.stdout.isatty()
    while True:
        await asyncio.sleep(TERMINAL_STATUS_S if terminal else LOG_STATUS_S)
        line = status_line(_numbers(service, field))
        print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", flush=True)


def _numbers(service: Service, field: _Field) -> dict[str, float]:
    status = service.status
    numbers = {key: float(status[key]) for key in ("readings_per_s", "values_per_s")}
    numbers["stored"] = float(status["stored_readings"])
    numbers["forwarded"] = float(status["forwarded_readings"])
    numbers["backlog"] = float(status["backlog_readings"])
    if "readings" in field.center:
        numbers["center_received"] = field.center["readings"] + field.center["own_readings"]
    return numbers
