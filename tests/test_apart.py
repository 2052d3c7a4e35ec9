"""Functions of ours in a real child process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.apart import Apart

ODD = """
import os, time
class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
def process(): return os.getpid()
def niceness(): return os.nice(0)
def stands_back(): return os.environ["OPENBLAS_NUM_THREADS"], open("/proc/self/oom_score_adj").read().strip()
def length(data): return len(data)
def chatter(): print("chatter"); return 1
def odd(): raise Odd("this", "that")
def strange(): return Odd("this", "that"), bytes(1_000_000)
def greedy():
    import numpy
    return numpy.ones(2**58)
def unpicklable(): return lambda: 0
def die(): os._exit(3)
def sleep(): time.sleep(60)
def stuck(file): open(file, "w").write(str(os.getpid())); time.sleep(60)
"""
# A sandbox that forbids to stand back, as the unit's does (SystemCallFilter=~@resources).
FORBIDDEN = """
import os
def nice(_):
    raise PermissionError(1, "Operation not permitted")
os.nice = nice
"""


@pytest.fixture(autouse=True)
def _odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_one_child_answers_call_after_call_and_rests() -> None:
    with Apart(20.0, nice=3) as apart:
        child = apart("odd:process")
        assert child not in {os.getpid(), None}
        assert apart("odd:process") == child
        assert apart("odd:niceness") == os.nice(0) + 3
        assert apart("odd:stands_back") == ("1", "1000")
        assert apart("odd:length", bytes(10_000_000)) == 10_000_000
        assert apart("odd:chatter") == 1
        apart.rest()
        assert apart("odd:process") != child
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_what_is_raised_there_is_raised_here_and_the_child_goes_on() -> None:
    with Apart(20.0) as apart:
        child = apart("odd:process")
        with pytest.raises(TypeError, match="len"):
            apart("odd:length", 1)
        with pytest.raises(RuntimeError, match="Odd: this and that"):
            apart("odd:odd")
        with pytest.raises(Exception, match="pickle"):
            apart("odd:unpicklable")
        with pytest.raises(ModuleNotFoundError, match="there_is_none"):
            apart("there_is_none:any")
        assert apart("odd:process") == child


def test_a_child_that_dies_says_so_and_the_next_call_starts_another() -> None:
    with Apart(20.0) as apart:
        with pytest.raises(OSError, match=r"odd:die: its process ended \(3\)"):
            apart("odd:die")
        assert apart("odd:process")


OTHER = """
import os, pickle, sys, time
answers = os.fdopen(os.dup(1), "wb")
pickle.load(sys.stdin.buffer)
answers.write({said!r})
answers.flush()
time.sleep(60)
"""


@pytest.mark.parametrize(
    "said",
    [
        b"\x80\x05cagent.gone\nThing\n.",
        pickle.dumps(5),
        b"\x80\x05\x8e" + (2**60).to_bytes(8, "little"),
        b"Hello\n",
    ],
    ids=["a class that we have not", "no pair", "a length that cannot be", "text"],
)
def test_what_is_no_answer_is_a_child_that_failed(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "other.py").write_text(OTHER.format(said=said))
    with Apart(20.0, program="other") as apart:
        with pytest.raises(OSError, match="its process ended"):
            apart("odd:process")
        assert apart._child is None, "what it says next would be the answer to another question"


def test_what_cannot_be_asked_leaves_the_child_as_it_was() -> None:
    with Apart(20.0) as apart:
        child = apart("odd:process")
        with pytest.raises(Exception, match="pickle"):
            apart("odd:length", lambda: 0)
        assert apart("odd:process") == child


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_is_for_the_agent(number: int) -> None:
    with Apart(20.0) as apart:
        child = apart("odd:process")
        os.kill(child, number)
        assert apart("odd:process") == child


def test_a_late_child_is_killed() -> None:
    with Apart(0.2, start_s=0.3) as apart:
        began_s = time.monotonic()
        with pytest.raises(TimeoutError, match="odd:sleep: no answer in"):
            apart("odd:sleep")
        assert time.monotonic() - began_s < 30


def test_a_child_that_cannot_be_started_says_so() -> None:
    with Apart(20.0, program="agent.there_is_none") as apart, pytest.raises(OSError, match="process ended"):
        apart("odd:process")


def test_no_process_to_be_had_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/there/is/none")
    with Apart(20.0) as apart, pytest.raises(OSError, match="odd:process: no process can be started for it"):
        apart("odd:process")


def test_a_child_without_memory_is_one_that_failed() -> None:
    with Apart(20.0) as apart:
        with pytest.raises(OSError, match="odd:greedy: no memory in its process: Unable to allocate"):
            apart("odd:greedy")
        assert apart("odd:process")


def test_it_ends_with_its_input() -> None:
    child = subprocess.Popen((sys.executable, "-m", "agent.apart", "0"), stdin=subprocess.PIPE)
    assert child.stdin
    child.stdin.close()
    assert child.wait(30) == 0


def test_it_ends_with_its_input_also_at_work(tmp_path: Path) -> None:
    at_work = tmp_path / "pid"
    child = subprocess.Popen((sys.executable, "-m", "agent.apart", "0"), stdin=subprocess.PIPE)
    assert child.stdin
    pickle.dump(("odd:stuck", (str(at_work),)), child.stdin)
    child.stdin.flush()
    until_s = time.monotonic() + 30
    while not (at_work.exists() and at_work.read_text()):
        assert time.monotonic() < until_s
        time.sleep(0.01)
    child.stdin.close()
    assert child.wait(30) == 0


def test_where_it_may_not_stand_back_it_works(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FORBIDDEN)
    with Apart(20.0, nice=5) as apart:
        assert apart("odd:process")


def test_an_answer_that_cannot_be_read_is_not_taken_for_the_next(tmp_path: Path) -> None:
    with Apart(20.0) as apart:
        with pytest.raises(OSError, match="No module named 'odd'"):
            apart("odd:strange")
        assert apart("odd:length", b"four") == 4


def test_nothing_beside_the_agents_own_folder_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent works in its data folder: a file there that is called like a module is none."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pickle.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path / "data")
    with Apart(20.0) as apart:
        assert apart("odd:process")
