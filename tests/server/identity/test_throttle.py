from __future__ import annotations

import pytest

from agent.server.identity import throttle
from agent.server.identity.throttle import Throttle, peer_key
from tests.server.conftest import Clock


def test_waits_grow_to_a_limit_and_are_forgotten() -> None:
    clock = Clock(0.0)
    tries = Throttle(60, clock)
    waits = []
    for _ in range(13):
        tries.failed("ana")
        waits.append(tries.wait_s("ana"))
        clock.now_s += waits[-1]
        assert tries.wait_s("ana") == 0
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert tries.wait_s("bea") == 0
    clock.now_s += throttle.FORGET_S
    tries.failed("ana")
    assert tries.wait_s("ana") == 0


def test_success_forgives() -> None:
    tries = Throttle(60, Clock(0.0))
    for _ in range(9):
        tries.failed("ana")
    tries.forgive("ana")
    tries.forgive("ana")
    assert tries.wait_s("ana") == 0


def test_memory_is_bounded_and_the_newest_kept() -> None:
    tries = Throttle(60, Clock(0.0))
    for _ in range(9):
        tries.failed("early")
    for at in range(throttle.KEYS_MAX - 1):
        tries.failed(f"key {at}")
    assert tries.wait_s("early") > 0
    for _ in range(9):
        tries.failed("late")
    assert len(tries) == throttle.KEYS_MAX
    assert tries.wait_s("early") == 0
    assert tries.wait_s("late") > 0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.168.0.7", "192.168.0.7"),
        ("::ffff:192.168.0.7", "192.168.0.7"),
        ("fd00:1:2:3:4:5:6:7", "fd00:1:2:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_what_counts_as_one_peer(address: str | None, key: str) -> None:
    assert peer_key(address) == key
