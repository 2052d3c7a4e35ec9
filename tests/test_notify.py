"""What systemd hears, on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.notify import Notifier, Watchdog, watchdog_s


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def heard(self) -> list[dict[str, str]]:
        messages = []
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in text.split("\n")))


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    end = Systemd(str(tmp_path / "notify"))
    yield end
    end.socket.close()


async def test_ready_then_fed_with_the_state_of_things(tmp_path: Path, systemd: Systemd) -> None:
    watchdog = Watchdog(
        Notifier(str(tmp_path / "notify")), {"loop": lambda: ""}, lambda: "3 lines\nwell", 0.03
    )
    task = asyncio.create_task(watchdog.run())
    await asyncio.sleep(0.1)
    task.cancel()
    ready, *fed = systemd.heard()
    assert ready == {"READY": "1"}
    assert len(fed) >= 2
    assert fed[0] == {"WATCHDOG": "1", "STATUS": "3 lines well"}


async def test_a_missing_sign_of_life_starves_it_and_is_named(tmp_path: Path, systemd: Systemd) -> None:
    reason = ["the last commit was tried 40 s ago"]
    signs = {"loop": lambda: "", "store": lambda: reason[0]}
    watchdog = Watchdog(Notifier(str(tmp_path / "notify")), signs, lambda: "well", 1)
    watchdog.feed()
    assert systemd.heard() == [{"STATUS": "not well: store: the last commit was tried 40 s ago"}]
    reason[0] = ""
    watchdog.feed()
    assert systemd.heard() == [{"WATCHDOG": "1", "STATUS": "well"}]


async def test_an_abstract_socket_is_reached() -> None:
    name = f"uicps-test-{os.getpid()}"
    end = Systemd("\0" + name)
    Notifier("@" + name).send(STOPPING=1)
    assert end.heard() == [{"STOPPING": "1"}]
    end.socket.close()


def test_without_systemd_or_with_a_dead_socket_nothing_fails(tmp_path: Path) -> None:
    Notifier("").send(READY=1)
    Notifier(str(tmp_path / "nobody")).send(READY=1)


def test_the_watchdog_is_ours_only_if_it_is_for_this_process() -> None:
    assert watchdog_s({"WATCHDOG_USEC": "30000000"}) == 30
    assert watchdog_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 30
    assert watchdog_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_s({}) is None
    assert watchdog_s({"WATCHDOG_USEC": "soon"}) is None
