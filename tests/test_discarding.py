"""What the budget costs is counted by device and hour, and raises an alarm, in the running agent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import load
from agent.model import Reading
from agent.service import Service
from tests.conftest import group_of, until

CONFIG = """
[agent]
site = "lab"
trust_clock = "always"
health_interval_s = 1
[store]
size_max_mb = 8
free_min_mb = 0
[server]
port = {port}
[[uplink]]
name = "center"
kind = "thingsboard"
host = "127.0.0.1"
port = {nobody}
token_file = "token"
"""
WIDE = group_of("wide", 1000)
START_MS = 1_700_000_000_000


async def test_what_is_given_up_is_counted_and_an_alarm(
    tmp_path: Path, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("T0KEN\n")
    (tmp_path / "config.toml").write_text(CONFIG.format(port=free_port(), nobody=free_port()))
    service = Service(load(tmp_path / "config.toml"))
    running = asyncio.create_task(service.run())
    await until(lambda: running.done() or service.status.get("store", {}).get("last_seq"), 20)
    store = service.store
    assert store is not None
    await asyncio.sleep(2)  # the alarms have looked once
    for at in range(8):
        values = [os.urandom(8000) for _ in range(100)]
        store.append(
            [
                Reading(WIDE, START_MS + at * 100 + n, memoryview(each).cast("d").tolist())
                for n, each in enumerate(values)
            ]
        )
        await store.commit()
    await until(lambda: running.done() or "agent.store-discarding raised" in caplog.text, 30)
    rows = await store.ledger.rows(START_MS - 10**7, START_MS + 10**7)
    gone = store.state.discarded_unsent
    assert gone > 0
    assert {row.device for row in rows} == {"wide"}
    assert sum(row.acquired for row in rows) == 800
    assert 0 < sum(sum(row.discarded_unsent.values()) for row in rows) <= gone
    service.stop()
    await running
