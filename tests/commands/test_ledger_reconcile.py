"""PUBACK is not storage: what the centre lost after its PUBACK is found over REST and sent again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.centre.reconcile import HOUR_MS
from agent.commands.thingsboard import groups_of
from agent.config import load
from agent.model import Reading
from agent.store import Store
from agent.store.chunk_table import ChunkSize
from tests.conftest import until
from tests.thingsboard import FakeThingsBoard
from tests.thingsboard_http.server import PASSWORD, USER
from tests.thingsboard_http.server import FakeThingsBoard as FakeRest

CONFIG = """
[agent]
site = "gateway"
trust_clock = "always"
[server]
port = 0
[[uplink]]
name = "center"
kind = "thingsboard"
host = "127.0.0.1"
port = {mqtt}
token_file = "center.token"
rest_url = "{rest}"
rest_user = "{user}"
rest_password_file = "center.password"
backlog_delay_s_max = 0.0
[[line]]
name = "meters"
driver = "modbus-tcp"
host = "127.0.0.1"
port = 1
[[line.device]]
name = "meter"
profile = "eastron-sdm120"
"""
LAST_HOUR_MS = (time.time_ns() // 1_000_000 // HOUR_MS - 1) * HOUR_MS
COUNT = 300


def write_files(folder: Path, board: FakeThingsBoard, rest: FakeRest) -> None:
    text = CONFIG.format(mqtt=board.port, rest=rest.url, user=USER)
    (folder / "config.toml").write_text(text)
    for name, secret in (("center.token", "T0KEN"), ("center.password", PASSWORD)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(f"{secret}\n")


async def read_last_hour(folder: Path) -> int:
    """COUNT readings of each group, two thirds of them sealed; how many points have a value."""
    config = load(folder / "config.toml")
    groups = groups_of(config)
    config.data_dir.mkdir(exist_ok=True)
    async with Store(config.data_dir / "readings.db", chunk_size=ChunkSize(readings=100)) as store:
        for at in range(COUNT):
            store.append([Reading(g, LAST_HOUR_MS + at * 1000, (at + 0.5,) * len(g.points)) for g in groups])
        await store.commit()
        await store.upkeep.once()
    return COUNT * sum(len(group.points) for group in groups)


@asynccontextmanager
async def process(folder: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    one = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", *words), cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield one
    finally:
        if one.returncode is None:
            one.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await one.communicate()


async def reconcile(folder: Path) -> tuple[int, Any]:
    async with process(folder, "ledger", "reconcile", "config.toml", "--json") as one:
        said, _ = await one.communicate()
        assert one.returncode is not None
        return one.returncode, json.loads(said)["center"]


def store_over_rest(board: FakeThingsBoard, rest: FakeRest) -> None:
    """What MQTT brought is what REST shows."""
    for name, key, ts in list(board.centre.stored):
        if name == "meter":
            rest.centre.telemetry(name, ts, {key: 1.0})


async def test_what_is_lost_after_the_puback_is_sent_again(tmp_path: Path) -> None:
    async with FakeThingsBoard() as board, FakeRest.at() as rest:
        write_files(tmp_path, board, rest)
        rest.centre.save("DEVICE", {"name": "meter"})
        all_values = await read_last_hour(tmp_path)
        lost: set[int] = set()
        board.behaviour.lost_after_puback = lambda device, ts, values: (
            device == "meter" and LAST_HOUR_MS + 50_000 <= ts < LAST_HOUR_MS + 250_000 and not lost.add(ts)
        )

        def arrived() -> int:
            return sum(name == "meter" and ts < LAST_HOUR_MS + HOUR_MS for name, _, ts in board.centre.stored)

        async with process(tmp_path, "run", "config.toml"):
            await until(lambda: len(lost) == 200 and arrived() == all_values // 3, 30)
            await asyncio.sleep(1.5)  # the ledger is told with the next commit
            board.behaviour.lost_after_puback = lambda *_: False
            store_over_rest(board, rest)
            code, (verdict,) = await reconcile(tmp_path)
            assert code == 1
            assert (verdict["device"], verdict["status"], verdict["missing"]) == ("meter", "missing", 400)
            await until(lambda: arrived() == all_values, 20)
            store_over_rest(board, rest)
            await asyncio.sleep(1.5)
            code, (verdict,) = await reconcile(tmp_path)
            assert (code, verdict["status"], verdict["delivered"]) == (0, "well", 2 * COUNT)
        assert board.centre.differing == []
