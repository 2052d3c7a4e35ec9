from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.control.apart import Apart
from agent.control.linear import solver
from tests.control.test_plan import problem


def test_the_same_plan_as_at_home_from_one_child_a_cycle() -> None:
    apart = Apart()
    try:
        assert apart(problem()) == solver()(problem())
        assert apart(problem(temp_c=24.0)) == solver()(problem(temp_c=24.0))
        child = children()
        assert len(child) == 1
    finally:
        apart.rest()
    assert not children()


def children() -> list[str]:
    """The command lines of our children that plan."""
    words = ("ps", "-o", "args=", "--ppid", str(os.getpid()))
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return [line for line in said.splitlines() if "agent.control.apart" in line]


@pytest.mark.parametrize("program", ["agent.there_is_none", "this"], ids=["missing", "not a solver"])
def test_a_child_that_cannot_plan_is_late(program: str, caplog: pytest.LogCaptureFixture) -> None:
    apart = Apart(program=program)
    assert apart(problem()) is None
    assert "planning apart failed" in caplog.text
    assert not children()


def test_it_ends_with_its_input() -> None:
    child = subprocess.Popen((sys.executable, "-m", "agent.control.apart", "5"), stdin=subprocess.PIPE)
    assert child.stdin
    child.stdin.close()
    assert child.wait(30) == 0


def test_a_silent_child_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began_s = time.monotonic()
    assert Apart(limit_s=0.1, start_s=0.3, program="sleeper")(problem()) is None
    assert time.monotonic() - began_s < 30
