"""Ports and brokers, on real sockets and a real broker."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.doctor import Finding, Level
from agent.doctor.network import _certificate, broker, own_port
from agent.uplink.thingsboard import ThingsBoardOptions
from tests.conftest import Mosquitto

TCP = socket.SOCK_STREAM


def uplink(folder: Path, port: int, **more: object) -> ThingsBoardOptions:
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("T0KEN\n")
    given = {
        "name": "center",
        "kind": "thingsboard",
        "host": "127.0.0.1",
        "port": port,
        "token_file": str(token),
    }
    return ThingsBoardOptions.model_validate(given | more)


async def found(options: ThingsBoardOptions, *, connected: bool = False) -> list[Finding]:
    return [each async for each in broker(options, connected=connected)]


async def test_a_broker_that_takes_us(tmp_path: Path, mosquitto: Mosquitto) -> None:
    findings = await found(uplink(tmp_path, mosquitto.port))
    assert [each.level for each in findings] == [Level.WELL, Level.WELL]
    assert findings[-1].text == "lets us in"


async def test_where_the_agent_is_logged_in_nobody_else_tries(tmp_path: Path, mosquitto: Mosquitto) -> None:
    assert (await found(uplink(tmp_path, mosquitto.port), connected=True))[-1].text.endswith("is logged in")


async def test_nobody_listens(tmp_path: Path, free_port: Callable[[], int]) -> None:
    *_, last = await found(uplink(tmp_path, free_port()))
    assert last.level is Level.FAULT
    assert "firewall" in last.way_out


async def test_a_name_that_nobody_has(tmp_path: Path) -> None:
    (only,) = await found(uplink(tmp_path, 1883, host="no-such-name.invalid"))
    assert only.level is Level.FAULT
    assert "DNS" in only.way_out


async def test_plain_text_where_tls_is_expected(tmp_path: Path, mosquitto: Mosquitto) -> None:
    *_, last = await found(uplink(tmp_path, mosquitto.port, tls=True))
    assert last.level is Level.FAULT


async def test_a_broker_that_says_no(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1000):
            writer.write(bytes((0x20, 2, 0, 5)))
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        *_, last = await found(uplink(tmp_path, server.sockets[0].getsockname()[1]))
    assert last.level is Level.FAULT
    assert "does not let us in" in last.text
    assert "T0KEN" not in str(last)


@pytest.mark.parametrize(("days", "level"), [(400, Level.WELL), (5, Level.WARNING)])
def test_how_long_a_certificate_lasts(days: int, level: Level) -> None:
    at = time.strftime("%b %d %H:%M:%S %Y GMT", time.gmtime(1_800_000_000 + days * 86400))
    assert _certificate("uplink x", {"notAfter": at}, 1_800_000_000).level is level


def test_our_own_port(free_port: Callable[[], int]) -> None:
    port = free_port()
    assert own_port("server", "127.0.0.1", port, TCP, running=False).level is Level.WELL
    assert own_port("server", "127.0.0.1", port, TCP, running=True).level is Level.FAULT
    with socket.create_server(("127.0.0.1", port)):
        assert own_port("server", "127.0.0.1", port, TCP, running=True).level is Level.WELL
        taken = own_port("server", "127.0.0.1", port, TCP, running=False)
    assert taken.level is Level.FAULT
    assert f":{port}" in taken.way_out
