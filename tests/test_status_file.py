"""The status in /run: whole, fresh, or not believed."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from agent.status_file import NAME, STALE_S, StatusFile, read_status
from tests.conftest import until


async def test_it_is_there_while_the_agent_runs(tmp_path: Path) -> None:
    task = asyncio.create_task(StatusFile(lambda: {"healthy": True}, tmp_path).run())
    await until((tmp_path / NAME).exists)
    status = read_status(tmp_path)
    assert status
    assert status["healthy"] is True
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert os.listdir(tmp_path) == [NAME]  # noqa: PTH208 - in memory


async def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    task = asyncio.create_task(StatusFile(dict).run())
    await asyncio.sleep(0.01)
    task.cancel()
    assert not os.listdir(tmp_path)  # noqa: PTH208


def test_an_old_one_is_not_believed(tmp_path: Path) -> None:
    StatusFile(dict, tmp_path).write(tmp_path)
    status = read_status(tmp_path)
    assert status
    assert read_status(tmp_path, lambda: status["written_s"] + STALE_S + 1) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_nonsense_is_no_status(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    assert read_status(tmp_path) is None
