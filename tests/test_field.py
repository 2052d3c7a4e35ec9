"""What the lines read while nobody records is handed on; a line that ends is a bug."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.config import load
from agent.field import Field
from agent.model import Group, Reading
from tests.conftest import group_of

CONFIG = """
[agent]
site = "lab"
trust_clock = "always"
[store]
memory_readings_max = 1000
"""


@pytest.fixture
def field(tmp_path: Path) -> Field:
    (tmp_path / "config.toml").write_text(CONFIG)
    return Field(load(tmp_path / "config.toml"))


async def register(_groups: Sequence[Group]) -> None:
    """Nothing to do."""


def some(count: int, first: int = 0) -> list[Reading]:
    return [Reading(group_of(), first + at, (1.0, 2.0)) for at in range(count)]


async def test_between_two_who_record_nothing_is_lost(field: Field) -> None:
    one: list[Reading] = []
    other: list[Reading] = []
    async with field:
        field.serve(one.extend, register, list)
        field._published(some(3))
        field.pause()
        field._published(some(2, 3))
        field.serve(other.extend, register, list)
        field._published(some(1, 5))
    assert [reading.time_ms for reading in one] == [0, 1, 2]
    assert [reading.time_ms for reading in other] == [3, 4, 5]


async def test_what_is_kept_is_bounded_and_said(field: Field, caplog: pytest.LogCaptureFixture) -> None:
    found: list[Reading] = []
    async with field:
        field._published(some(1300))
        field.serve(found.extend, register, list)
    assert [found[0].time_ms, found[-1].time_ms, len(found)] == [300, 1299, 1000]
    assert "300 readings are lost" in caplog.text


async def test_lines_that_end_end_who_records(field: Field) -> None:
    async with field:
        field.serve(lambda readings: None, register, list)
        running = asyncio.create_task(field.run())
        await asyncio.sleep(0)
        field._tasks["lines"].cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
