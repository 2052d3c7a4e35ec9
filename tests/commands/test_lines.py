"""`line stats`: what the traffic is like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from agent.commands.lines import line_text
from agent.demo.modbus_bus import SimulatedBus

from .running import command, meter
from .sites import agent_on, configure


async def test_of_lines_opened_here(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1, dead=9)
        stats = await command("line", "stats", str(file), "--seconds", "3")
    assert stats.code == 0
    assert re.match(r"Bus-1  \S+ 9600 8N1  open, busy \d+%, stretch 1\.\d\d\n", stats.out)
    assert re.search(r"(?m)^main +1 +[1-9]\d* +\d+ +0 +0 +0 +0 +\d+\.\d ", stats.out)
    assert re.search(r"(?m)^dead +9 +\d+ +\d+ +0 +0 +0 +0 +- +- +- +- +silent, \d times in a row$", stats.out)


async def test_of_a_running_agent(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with SimulatedBus(meter(1)) as bus:
        file = configure(tmp_path, free_port(), bus.port, main=1)
        async with agent_on(file) as asked:
            await command("watch", *asked, "--once")
            stats = await command("line", "stats", *asked, "--json")
    assert stats.code == 0
    (line,) = json.loads(stats.out)
    assert line["name"] == "Bus-1"
    assert line["devices"]["main"]["requests"] > 0
    assert 5 < line["devices"]["main"]["response_ms"]["p50"] < 2000


async def test_a_line_that_cannot_be_opened(tmp_path: Path, free_port: Callable[[], int]) -> None:
    file = configure(tmp_path, free_port(), "/dev/serial/by-id/none", main=1)
    stats = await command("line", "stats", str(file), "--seconds", "0.5")
    assert stats.code == 1
    assert "Bus-1  /dev/serial/by-id/none 9600 8N1  failing" in stats.out
    assert "no such port: plugged in?" in stats.out


def test_lines_that_only_listen() -> None:
    line = {"name": "wifi", "where": "udp 0.0.0.0:47000", "failing": False, "connected": True}
    text = line_text(line | {"counters": {"datagrams": 3}, "devices": {"room": {"datagrams": 2, "lost": 1}}})
    assert text == "wifi  udp 0.0.0.0:47000  open\n  all: datagrams 3\n  room: datagrams 2, lost 1"


def test_what_is_slow_is_not_called_refused() -> None:
    device = {"unit_id": 1, "silent": 0, "refused": ["thd"], "unanswered": ["clock"], "requests": 100}
    device |= {
        "timeouts": 3,
        "crc_errors": 0,
        "strays": 4,
        "exceptions": 1,
        "malformed": 0,
        "response_ms": None,
    }
    line = {"name": "bus", "failing": False, "connected": True, "devices": {"m": device}}
    text = line_text(line)
    assert "refuses thd; too slow or silent for clock, asked again later; other units' frames" in text
    assert "other units" not in line_text(line | {"devices": {"m": device | {"strays": 2}}})
