"""A real agent process between simulated meters, a fake ThingsBoard and a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tomllib
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt

from agent.demo.modbus_device import SimulatedDevice
from agent.demo.modbus_line import SimulatedLine
from agent.drivers.modbus.profile import ModbusProfile
from agent.model import Quality
from agent.store import Store
from agent.store.ledger import LedgerRow
from tests.chaos.agent import CLOCK_FILE
from tests.conftest import Mosquitto, until
from tests.thingsboard import FakeThingsBoard

METERS = 4
INTERVAL_S = 0.1
RUNNING = "site lab: "
ROOT = Path(__file__).resolve().parents[2]
DISK_MB = 128

PROFILE = """
driver = "modbus"
title = "A register that counts its readings"
source = ["test"]
[[group]]
name = "all"
[[group.point]]
name = "count"
address = 0
type = "u32"
"""
CONFIG = """
[agent]
site = "lab"
trust_clock = "always"
profile_dir = "profiles"
data_dir = "disk/data"
[store]
free_min_mb = 0
[server]
port = 0
[[uplink]]
name = "center"
kind = "thingsboard"
host = "127.0.0.1"
port = {board}
token_file = "center.token"
puback_timeout_s = 1.0
retry_s_max = 1.0
backlog_delay_s_max = 0.2
[[uplink]]
name = "plain"
kind = "mqtt"
host = "127.0.0.1"
port = {broker}
puback_timeout_s = 1.0
retry_s_max = 1.0
backlog = "newest"
backlog_delay_s_max = 0.2
"""
LINE = """
[[line]]
name = "line{at}"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {port}
timeout_s = 0.5
[[line.device]]
name = "m{at}"
profile = "counting"
interval_s = {interval_s}
"""

Seen = dict[tuple[str, int], float]  # device, time_ms: count


class CountingDevice(SimulatedDevice):
    """Each read of it gives the next number, until it is refused."""

    served = 0

    async def _answer(self, *request: Any) -> Any:
        if not self._refused:
            self.served += 1
            self.set("count", self.served)
        return await super()._answer(*request)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own that can be filled; where we may not mount one, the mischiefs that need it are
    skipped, and said."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(folder)], check=False
        ).returncode
    )
    if not mounted:
        warnings.warn("NOT TESTED: a full disk; mounting a small one needs root", stacklevel=1)
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


class Site:
    """Everything, and what it did. `plain` is what came to the broker; `differing` came as another value."""

    def __init__(self, folder: Path, board: FakeThingsBoard, mosquitto: Mosquitto) -> None:
        self.folder, self.board, self.mosquitto = folder, board, mosquitto
        self.meters = [
            CountingDevice(ModbusProfile.model_validate(tomllib.loads(PROFILE))) for _ in range(METERS)
        ]
        self.log, self.disk, self.data = folder / "agent.log", folder / "disk", folder / "disk" / "data"
        self.memory = folder / "memory"  # where the agent works while its disk takes no writes
        self.stops = 0
        self.plain: Seen = {}
        self.differing = 0
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    @asynccontextmanager
    async def at(cls, folder: Path, board: FakeThingsBoard, mosquitto: Mosquitto) -> AsyncIterator[Site]:
        site = cls(folder, board, mosquitto)
        async with AsyncExitStack() as stack:
            ports = [(await stack.enter_async_context(SimulatedLine(meter))).port for meter in site.meters]
            site._write_files(ports)
            stack.enter_context(small_disk(site.disk))
            listening = asyncio.create_task(site._listen())
            try:
                await site.start()
                yield site
            finally:
                mosquitto.signal(signal.SIGCONT)
                await site.stop(signal.SIGKILL)
                listening.cancel()
                await asyncio.wait([listening])

    def _write_files(self, ports: list[int]) -> None:
        lines = [LINE.format(at=at, port=port, interval_s=INTERVAL_S) for at, port in enumerate(ports)]
        config = CONFIG.format(board=self.board.port, broker=self.mosquitto.port) + "".join(lines)
        (self.folder / "profiles").mkdir()
        self.memory.mkdir(mode=0o700)
        (self.folder / "profiles" / "counting.toml").write_text(PROFILE)
        (self.folder / "config.toml").write_text(config)
        token = self.folder / "center.token"
        token.touch(mode=0o600)
        token.write_text("T0KEN\n")

    async def _listen(self) -> None:
        """Keep a session at the broker, so that what it acknowledges comes here even after a pause."""
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client(
                    "127.0.0.1", self.mosquitto.port, identifier="centre", clean_session=False, timeout=5
                ) as client:
                    await client.subscribe("uicps/+/+/all", qos=1)
                    async for message in client.messages:
                        self._take(str(message.topic), json.loads(bytes(message.payload)))  # type: ignore[arg-type]
            await asyncio.sleep(0.1)

    def _take(self, topic: str, body: dict[str, Any]) -> None:
        count = body["values"].get("count")
        if count is not None:
            key = topic.split("/")[2], body["time_ms"]
            self.differing += self.plain.setdefault(key, count) != count

    async def start(self) -> None:
        """Start the agent, until it runs."""
        before = self.starts
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUNTIME_DIRECTORY": str(self.memory)}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.agent"), cwd=self.folder, stderr=log, env=environment
            )
        await until(lambda: self.starts > before, 20)

    @property
    def starts(self) -> int:
        """How often the service began, in a new process or in the same."""
        return self.log.read_text().count(RUNNING) if self.log.exists() else 0

    # ---------------------------------------------------------------- what can happen to the box

    def set_clock_off(self, seconds: float) -> None:
        """The wall clock is wrong by so much from now on."""
        (self.folder / CLOCK_FILE).write_text(str(seconds))

    def fill_disk(self) -> None:
        """Not a byte is left."""
        with contextlib.suppress(OSError), (self.disk / "ballast").open("ab", buffering=0) as ballast:
            while ballast.write(bytes(1 << 16)):
                pass

    async def empty_disk(self) -> None:
        """Room again; until the agent works at home."""
        before, away = self.starts, any(self.memory.glob("uicps-agent-*"))
        (self.disk / "ballast").unlink()
        await until(lambda: self.starts > before or not away, 60)

    def spoil_first_page(self) -> None:
        """Noise where the database says what it is: no SQLite opens that."""
        with (self.data / "readings.db").open("r+b") as file:
            file.write(random.Random(1).randbytes(1024))

    @property
    def broken(self) -> list[Path]:
        """What the agent moved aside."""
        return sorted(self.data.glob("readings.broken-*.db"))

    async def salvage(self) -> None:
        """What a person does with the agent stopped."""
        for file in self.broken:
            program = (sys.executable, "-m", "agent", "store", "salvage", "config.toml", str(file))
            with self.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *program, cwd=self.folder, stdout=log, stderr=log
                )
                assert await process.wait() == 0, self.log.read_text()[-3000:]
            for part in self.data.glob(f"{file.stem}.*"):
                part.unlink()

    # ---------------------------------------------------------------- its end

    async def stop(self, number: signal.Signals) -> int:
        assert self._process
        self.stops += 1
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(20):
            return await self._process.wait()

    @property
    def centre(self) -> Seen:
        """What the fake ThingsBoard stored of the meters."""
        stored = self.board.centre.stored
        return {(name, ts): value for (name, key, ts), value in stored.items() if key == "count"}

    async def calm(self, quiet_s: float = 3.0, timeout_s: float = 60.0) -> None:
        """No new readings from here on; until nothing arrives any more."""
        for meter in self.meters:
            meter.refuse("count")
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_quiet(quiet_s)
        except TimeoutError:
            centre, plain = self.centre.items(), self.plain.items()
            told = f"at the centre alone {sorted(centre - plain)[:9]}, elsewhere {sorted(plain - centre)[:9]}"
            raise AssertionError(f"not calm: {told}\n{self.log.read_text()[-6000:]}") from None

    async def _until_quiet(self, quiet_s: float) -> None:
        before, since_s = (-1, -1), 0.0
        # What is in a file that was moved aside waits for its salvage.
        while since_s < quiet_s or (before[0] != before[1] and not self.broken):
            now = (len(self.centre), len(self.plain))
            before, since_s = now, since_s + 0.2 if now == before else 0.0
            await asyncio.sleep(0.2)

    async def books(self) -> tuple[Counter[str], list[LedgerRow], dict[str, int]]:
        """Of the stopped agent: the readings of its log by device, its ledger, and what waits by uplink."""
        logged: Counter[str] = Counter()
        async with Store(self.data / "readings.db") as store:
            seq = 0
            while batch := await store.read_after(seq, 1000):
                seq = batch[-1][0]
                logged.update(reading.group.device.name for _, reading in batch)
            waiting = {name: store.outbox.progress(name).waiting(seq) for name in ("center", "plain")}
            return logged, await store.ledger.rows(0, 1 << 50), waiting

    async def kept(self) -> Seen:
        """What the log of the stopped agent holds."""
        found: Seen = {}
        async with Store(self.data / "readings.db") as store:
            seq = 0
            while batch := await store.read_after(seq, 1000):
                seq = batch[-1][0]
                for _, (group, time_ms, values, quality) in batch:
                    if group.points[0].name == "count" and quality is not Quality.BAD:
                        found[group.device.name, time_ms] = values[0]
        return found
