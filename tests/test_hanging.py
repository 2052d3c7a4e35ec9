"""A test that hangs is ended, on the agent's own loop too, and what it used is left in good order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HANGS = """
import asyncio
import pytest


@pytest.fixture
async def room():
    yield
    print("left in good order")


@pytest.mark.timeout(0.5)
async def test_it(room):
    assert "uvloop" in type(asyncio.get_running_loop()).__module__
    await asyncio.sleep(60)
"""


def test_a_test_that_hangs_is_ended(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    home = Path(__file__).parents[1]
    command = ("-m", "pytest", "-c", home / "pyproject.toml", "-p", "tests.conftest", "-n", "0")
    found = subprocess.run(
        [sys.executable, *command, tmp_path / "test_hangs.py"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 1, found.stdout
    assert "hung: Timeout (>0.5s)" in found.stdout
    assert "left in good order" in found.stdout
