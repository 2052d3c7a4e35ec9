"""The stamping clock against wall clocks that are wrong, jump and are set back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import BEHIND_S_MAX, SLOW_RATE, Clock, boot_id, kernel_synchronised, since_boot_s


class Box:
    """A machine: time since boot, a wall clock that can be set, an NTP state."""

    def __init__(self, wall_s: float = 1_000_000.0) -> None:
        self.boot_s = 10.0
        self._wall_at_boot_s = wall_s - 10.0
        self.synchronised = False

    def wall_s(self) -> float:
        return self._wall_at_boot_s + self.boot_s

    def set_wall(self, by_s: float) -> None:
        self._wall_at_boot_s += by_s

    def clock(self, trust: str = "synchronised") -> Clock:
        return Clock(
            trust,  # type: ignore[arg-type]
            wall_s=self.wall_s,
            boot_s=lambda: self.boot_s,
            synchronised=lambda: self.synchronised,
        )


def test_what_was_stamped_before_trust_is_shifted_with_the_clock() -> None:
    box = Box(wall_s=100.0)
    clock = box.clock()
    assert not clock.trusted
    assert not clock.certain
    before_s = clock.now_s()
    box.boot_s += 30
    assert clock.check() == 0
    box.set_wall(1_700_000_000)
    box.synchronised = True
    assert clock.check() == 1_700_000_000_000
    assert clock.trusted
    assert clock.certain
    assert clock.now_s() == pytest.approx(box.wall_s())
    shifted_s = before_s + 1_700_000_000
    assert clock.now_s() - shifted_s == pytest.approx(30)


def test_before_trust_every_jump_shifts_and_none_is_lost() -> None:
    box = Box()
    clock = box.clock()
    stamp_s, shift_ms = clock.now_s(), 0
    for by_s in (3600.0, -7200.0, 0.5, 86400.0):
        box.boot_s += 5
        box.set_wall(by_s)
        shift_ms += clock.check()
    box.synchronised = True
    shift_ms += clock.check()
    assert clock.now_s() - (stamp_s + shift_ms / 1000) == pytest.approx(20)


def test_before_trust_two_seconds_are_a_jump_and_less_is_a_drift() -> None:
    box = Box()
    clock = box.clock()
    box.set_wall(1.9)
    assert clock.check() == 0
    box.set_wall(0.2)
    assert clock.check() == 2100
    assert clock.now_s() == pytest.approx(box.wall_s())
    box.set_wall(-2.1)
    assert clock.check() == -2100


def test_a_restart_goes_on_after_the_last_stamp_and_runs_slow() -> None:
    box = Box(wall_s=1e9)
    clock = box.clock("always")
    clock.stay_after(1e9 + 3600)
    assert 1e9 + 3600 < clock.now_s() < 1e9 + 3600.1
    assert not clock.certain
    assert clock.check() == 0
    before_s = clock.now_s()
    box.boot_s += 10
    assert clock.now_s() - before_s == pytest.approx(10 * SLOW_RATE)
    assert clock.is_slewing
    box.set_wall(3600 + 1)
    clock.check()
    assert clock.certain
    assert clock.now_s() == pytest.approx(box.wall_s(), abs=1.1)


@pytest.mark.parametrize("floor_s", [1e9 - 5, 1e9 + BEHIND_S_MAX + 5])
def test_a_last_stamp_that_passed_or_cannot_be_does_not_hold(floor_s: float) -> None:
    clock = Box(wall_s=1e9).clock("always")
    clock.stay_after(floor_s)
    assert clock.now_s() == 1e9
    assert clock.certain


def test_what_is_shifted_when_trust_comes_stays_after_the_last_stamp() -> None:
    box = Box(wall_s=100.0)
    clock = box.clock()
    stamp_s = clock.now_s()
    clock.stay_after(1e9 + 50)
    assert clock.now_s() == 100.0
    box.boot_s += 30
    box.set_wall(1e9 - 100)  # the first reading would be shifted to 1e9
    box.synchronised = True
    shift_ms = clock.check()
    assert stamp_s + shift_ms / 1000 == pytest.approx(1e9 + 50, abs=0.01)
    assert clock.now_s() == pytest.approx(1e9 + 80, abs=0.01)
    assert not clock.certain


def test_a_trusted_clock_follows_a_jump_ahead_and_shifts_nothing() -> None:
    box = Box()
    clock = box.clock("always")
    box.set_wall(3600)
    assert clock.check() == 0
    assert clock.now_s() == pytest.approx(box.wall_s())
    assert clock.certain


def test_a_clock_set_back_is_approached_slowly_and_uncertain() -> None:
    box = Box()
    clock = box.clock("always")
    box.set_wall(-10)
    last_s = clock.now_s()
    seconds = 0
    while seconds < 300:
        clock.check()
        box.boot_s += 0.5
        seconds += 0.5
        assert clock.now_s() > last_s
        assert clock.now_s() - last_s >= 0.5 * SLOW_RATE - 1e-9
        last_s = clock.now_s()
        if abs(clock.now_s() - box.wall_s()) < 0.06:
            break
        if box.wall_s() - clock.now_s() < -2.2:
            assert not clock.certain
    assert 90 <= seconds <= 110
    clock.check()
    assert clock.certain
    before_s = clock.now_s()
    box.boot_s += 10
    clock.check()
    assert clock.now_s() - before_s == pytest.approx(10, abs=0.06)


@given(st.lists(st.tuples(st.floats(0.001, 30), st.floats(-1e5, 1e5)), max_size=60))
def test_once_trusted_no_two_stamps_are_equal_or_reversed(steps: list[tuple[float, float]]) -> None:
    box = Box(wall_s=1e9)
    clock = box.clock("always")
    last_s = clock.now_s()
    for elapsed_s, jump_s in steps:
        box.boot_s += elapsed_s
        box.set_wall(jump_s)
        clock.check()
        assert clock.now_s() > last_s
        last_s = clock.now_s()


def test_this_machine_answers() -> None:
    assert kernel_synchronised() in (True, False)
    assert len(boot_id()) == 32
    assert since_boot_s() > 0


def test_a_sandbox_may_hand_the_boot_id_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UICPS_BOOT_ID", "0123456789abcdef0123456789abcdef")
    assert boot_id() == "0123456789abcdef0123456789abcdef"
