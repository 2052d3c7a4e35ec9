"""A disk that is full or read-only at the start stops nothing, and is left behind without a loss."""

import asyncio
import base64
import itertools
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from agent.config import Config, load
from agent.demo.modbus_device import SimulatedDevice
from agent.demo.modbus_line import SimulatedLine
from agent.dispatch import Priority, State
from agent.field import Field
from agent.model import Quality
from agent.server import IDENTITY_FILE, Users
from agent.sheltered import Anywhere
from agent.store import Store
from tests.conftest import until
from tests.store.test_sealing import bits, everything

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own needs root")

CONFIG = """
[agent]
site = "lab"
trust_clock = "always"
data_dir = "disk/data"
health_interval_s = 1
[store]
commit_interval_s = 0.05
free_min_mb = 0
[server]
port = {port}
"""


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


@pytest.fixture
def config(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Config]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "none", str(disk))
    (tmp_path / "config.toml").write_text(CONFIG.format(port=free_port()))
    yield load(tmp_path / "config.toml")
    subprocess.run(["umount", str(disk)], check=True)


def spoil_full(disk: Path) -> Callable[[], None]:
    free, ballast = os.statvfs(disk), disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize))
    return ballast.unlink


def spoil_read_only(disk: Path) -> Callable[[], None]:
    mount("-o", "remount,ro", str(disk))
    return lambda: mount("-o", "remount,rw", str(disk))


class Running:
    """The agent anywhere, in this process."""

    def __init__(self, config: Config, memory: Path, kind: type[Anywhere] = Anywhere) -> None:
        self.anywhere = kind(config, memory, check_s=0.2)
        self.task = asyncio.create_task(self.anywhere.run())

    def store(self) -> dict[str, object]:
        service = self.anywhere.service
        return dict(service.status.get("store", {})) if service else {}

    async def readings(self, count: int) -> None:
        await until(lambda: self.task.done() or int(str(self.store().get("last_seq", 0))) >= count, 20)
        assert not self.task.done(), self.task

    async def stop(self) -> None:
        assert self.anywhere.service
        self.anywhere.service.stop()
        await self.task


async def test_a_disk_that_is_full_just_after_it_was_asked_stops_nothing_either(
    config: Config, tmp_path: Path
) -> None:
    mend: list[Callable[[], None]] = []

    class Late(Anywhere):
        async def _run_at_home(self, field: Field) -> str:
            if not mend:
                mend.append(spoil_full(tmp_path / "disk"))
            return await super()._run_at_home(field)

    agent = Running(config, tmp_path / "memory", Late)
    await agent.readings(1)
    assert agent.store()["in_memory"]
    mend[0]()
    await until(lambda: not agent.store().get("in_memory", "starting"), 20)
    await agent.stop()


@pytest.mark.parametrize("spoil", [spoil_full, spoil_read_only])
async def test_it_starts_in_memory_and_moves_home_with_all_it_took(
    config: Config,
    tmp_path: Path,
    spoil: Callable[[Path], Callable[[], None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    memory = tmp_path / "memory"
    first = Running(config, memory)
    await first.readings(2)
    await first.stop()
    async with Users(config.data_dir / IDENTITY_FILE) as users:
        await users.add("ana", "correct horse battery", "viewer")
    async with Store(config.data_dir / "readings.db") as store:
        before = await everything(store)

    mend = spoil(tmp_path / "disk")
    sheltered = Running(config, memory)
    try:
        await sheltered.readings(2)
        assert sheltered.store()["failing"]
        assert "disk/data" in str(sheltered.store()["in_memory"])
        assert await logs_in(sheltered)
        await sheltered.stop()  # and started again, as after a kill
        sheltered = Running(config, memory)
        await sheltered.readings(4)
        taken = int(str(sheltered.store()["last_seq"]))
    finally:
        mend()
    await until(lambda: not sheltered.store().get("in_memory", "starting"), 20)
    await sheltered.readings(len(before) + taken + 1)
    assert not sheltered.store()["failing"]
    await until(lambda: any("came back" in record.message for record in caplog.records), 20)
    assert list(memory.iterdir()) == []
    await sheltered.stop()

    async with Store(config.data_dir / "readings.db") as store:
        found = await everything(store)
        rows = await store.ledger.rows(0, 10**14)
    times = [(each.group, each.time_ms) for _, each in found]
    assert len(times) == len(set(times)) >= len(before) + taken + 1
    assert [bits(each) for _, each in found[: len(before)]] == [bits(each) for _, each in before]
    assert sum(row.acquired for row in rows) == len(found)
    said = [record for record in caplog.records if "in memory only" in record.message]
    assert [record.levelname for record in said] == ["CRITICAL", "CRITICAL"]  # one a start
    assert sum("came back" in record.message for record in caplog.records) == 1


LINE = """
[[line]]
name = "gateway"
driver = "modbus-tcp"
host = "{host}"
port = {port}
[[line.device]]
name = "ac"
profile = "intesis-ac"
interval_s = 0.1
"""


async def test_polling_and_commands_go_on_while_it_moves_home(config: Config, tmp_path: Path) -> None:
    writes: list[tuple[str, float]] = []
    unit = SimulatedDevice("intesis-ac", writable=["on"], on_write=lambda *each: writes.append(each))
    unit.update({"on": 0.0, "temperature": 24.0})
    mend = spoil_full(tmp_path / "disk")
    async with SimulatedLine(unit) as line:
        file = config.file
        file.write_text(file.read_text() + LINE.format(host=line.host, port=line.port))
        running = Running(load(file), tmp_path / "memory")
        await running.readings(20)
        before = running.anywhere.service
        assert before
        before.field.dispatch.submit("ac.on", 1.0, Priority.MANUAL, "ana", 600)
        await until(lambda: writes == [("on", 1.0)])
        driver, first_requests = before.field.lines.drivers[0], unit.requests
        mend()
        await until(lambda: running.anywhere.service is not before, 20)
        await until(lambda: not list((tmp_path / "memory").iterdir()), 20)
        await until(lambda: unit.requests > first_requests + 40, 20)
        after = running.anywhere.service
        assert after
        assert after.store
        assert after.field.lines.drivers[0] is driver
        assert driver.counters["connections"] == 1
        (held,) = after.field.dispatch.commands
        assert (held.value, held.state, writes) == (1.0, State.WRITTEN, [("on", 1.0)])
        found = [each for _, each in await everything(after.store) if each.group.device.name == "ac"]
        requests = unit.requests
        await running.stop()
    assert all(reading.quality is Quality.GOOD for reading in found)
    assert len({reading.time_ms for reading in found}) == len(found)
    assert requests - len(found) <= 5  # the write, its reading back, the poll in hand
    times_ms = sorted(reading.time_ms for reading in found)
    assert (
        max(b - a for a, b in itertools.pairwise(times_ms)) < 1000
    )  # polled each 100 ms: 110 to 170 at load 11


async def logs_in(running: Running) -> bool:
    assert running.anywhere.service
    proof = base64.b64encode(b"ana:correct horse battery").decode()
    url = f"{running.anywhere.service.url}/token"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, headers={"Authorization": f"Basic {proof}"}) as reply,
    ):
        return reply.status == 200


async def test_another_agent_at_work_is_not_joined_because_the_disk_is_full(
    config: Config, tmp_path: Path
) -> None:
    first = Running(config, tmp_path / "memory")
    await first.readings(1)
    mend = spoil_full(tmp_path / "disk")
    with pytest.raises(OSError, match="another agent works here"):
        await Anywhere(config, tmp_path / "memory").run()
    mend()
    await first.stop()
