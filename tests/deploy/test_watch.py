"""Is a fresh agent well: a table of lives."""

from __future__ import annotations

import pytest

from agent.deploy.host import UnitState, parse_state
from agent.deploy.watch import FALLS_MAX, SICK_S_MAX, START_S_MAX, Seen, watch

UP, STARTING, FAILED = "active", "activating", "failed"


def verdict(life: list[tuple[str, int, str]], well_s: float = 5) -> str:
    """The verdict on looks a second apart, the last of them for ever after; the first is the state before."""
    now_s, looks = [0.0], iter(life)
    seen = [next(looks)]

    def look() -> Seen:
        active, restarts, complaint = seen[-1]
        seen.append(next(looks, seen[-1]))
        return Seen(UnitState(active, restarts, 1, "", ""), complaint)

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    return watch(look, well_s, monotonic=lambda: now_s[0], sleep=sleep)


@pytest.mark.parametrize(
    ("life", "said"),
    [
        ([(STARTING, 0, ""), (STARTING, 0, ""), (UP, 0, "")], ""),
        ([(UP, 7, "")], ""),  # restarts of an earlier life do not count
        ([(STARTING, 0, ""), (FAILED, 0, "")], "does not stay up"),
        ([(STARTING, 0, ""), (STARTING, 1, ""), (STARTING, FALLS_MAX, "")], "does not stay up"),
        ([(UP, 0, ""), (UP, 0, ""), (UP, 0, ""), (STARTING, 1, "")], "fell after it had started"),
        ([(STARTING, 0, "")], f"not up after {START_S_MAX:.0f} s: systemd says activating"),
        ([(UP, 0, "/healthz answers 500")], "/healthz answers 500"),
        ([(UP, 0, ""), (UP, 0, ""), (UP, 0, "sick")], "not well: sick"),
        ([(UP, 0, ""), (UP, 0, ""), *[(UP, 0, "sick")] * int(SICK_S_MAX), (UP, 0, "")], ""),
    ],
)
def test_a_life(life: list[tuple[str, int, str]], said: str) -> None:
    found = verdict(life, well_s=60)
    assert said in found
    assert bool(said) == bool(found)


def test_what_systemd_says() -> None:
    text = "ActiveState=active\nNRestarts=2\nMainPID=77\nInvocationID=abc\nStatusText=a = b\n"
    assert parse_state(text) == UnitState("active", 2, 77, "abc", "a = b")
    assert parse_state("NRestarts=\n") == UnitState("unknown", 0, 0, "", "")
