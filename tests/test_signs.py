"""What feeds the watchdog, and what starves it."""

from __future__ import annotations

import pytest

from agent.signs import COMMIT_S_MAX, LAG_MS_MAX, Commits, Punctual
from agent.store.state import StoreState


class Box:
    """A store's state and a clock that a test moves."""

    def __init__(self) -> None:
        self.last, self.committed, self.failing, self.s = 0, 0, False, 0.0
        self.sign = Commits(self.state, lambda: self.s)

    def state(self) -> StoreState:
        values = dict.fromkeys(StoreState._fields, 0)
        known = {"last_seq": self.last, "committed_seq": self.committed, "failing": self.failing}
        return StoreState(**{**values, **known})  # type: ignore[arg-type]

    def later(self, seconds: float) -> str:
        self.s += seconds
        return self.sign()


def test_commits_that_stop_coming_starve_it() -> None:
    box = Box()
    box.last = 5
    assert box.later(1) == ""
    assert box.later(COMMIT_S_MAX) == ""
    assert box.later(1) == f"nothing committed for {COMMIT_S_MAX + 1:.0f} s"
    box.committed = 3
    assert box.later(1) == ""


@pytest.mark.parametrize("what", ["nothing to commit", "a disk that refuses"])
def test_what_a_restart_cannot_mend_does_not(what: str) -> None:
    box = Box()
    box.last, box.failing = (0, False) if what == "nothing to commit" else (5, True)
    for _ in range(100):
        assert box.later(COMMIT_S_MAX) == ""


def test_a_loop_that_is_late() -> None:
    assert Punctual(lambda: LAG_MS_MAX)() == ""
    assert Punctual(lambda: 7500.0)() == "late by 7.5 s"
