"""`scan`: what is found, what is printed, and what is kept when it is interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from agent.commands.scan import units
from agent.config import load
from agent.demo.modbus_bus import SimulatedBus
from agent.demo.modbus_line import SimulatedLine
from tests.drivers.modbus.test_rtu_peers import LibModbus, cable

from .running import command, ended, meter, recognisable, started, terminal

CONFIG = '[agent]\nsite = "lab"\n'


async def test_a_gateway_in_a_network(tmp_path: Path) -> None:
    async with SimulatedLine(recognisable(meter(1)), meter(3)) as line:
        found = await command("scan", "tcp", "127.0.0.1/32", "--port", str(line.port), "--json")
    assert found.code == 0
    said = json.loads(found.out)
    by_unit = {each["unit_id"]: each for each in said["found"]}
    assert set(by_unit) == {1, 3}
    assert by_unit[1]["profiles"][0]["profile"] == "eastron-sdm630"
    assert by_unit[1]["presence"] == "device"
    assert by_unit[3]["profiles"] == []
    (tmp_path / "config.toml").write_text(CONFIG + said["toml"])
    options = load(tmp_path / "config.toml").options.line
    assert [(one.driver, [device.profile for device in one.device]) for one in options] == [
        ("modbus-tcp", ["eastron-sdm630"])
    ]


async def test_a_bus(tmp_path: Path) -> None:
    async with SimulatedBus(recognisable(meter(2))) as bus:
        found = await command("scan", "rtu", bus.port, "--baudrates", "9600", "--units", "1-3")
    assert found.code == 0
    assert re.search(r"9600 8N1 +2 +eastron-sdm630 +sure +02 83 02 30 f1", found.out)
    assert "asked 02 03 00 00 00 02 c4 38, answered 02 83 02 30 f1" in found.errors
    assert "% " in found.errors or "%," in found.errors
    (tmp_path / "config.toml").write_text(CONFIG + found.out.split("# For the configuration:")[1])
    (line,) = load(tmp_path / "config.toml").options.line
    assert (line.port, line.baudrate, line.device[0].unit_id) == (bus.port, 9600, 2)  # type: ignore[union-attr]


async def test_libmodbus_is_found_though_nobody_knows_it() -> None:
    with cable() as (ours, theirs), LibModbus(theirs, 7):
        # A libmodbus server takes the request after one to a silent stranger for that one's answer.
        found = await command("scan", "rtu", ours, "--baudrates", "115200", "--units", "7,5-8")
    assert found.code == 0
    assert re.search(r"115200 8N1 +7 +unknown +- +07 03 04 00 64 00 65 ", found.out)
    assert '# profile = "which-profile"' in found.out


async def test_it_says_who_it_is(tmp_path: Path) -> None:
    """FC 43/14 of pymodbus's own server."""
    from pymodbus import ModbusDeviceIdentification
    from pymodbus.server import ModbusTcpServer

    identity = ModbusDeviceIdentification(info_name={"VendorName": "ACME", "ProductCode": "M-1"})
    server = ModbusTcpServer([meter(1).as_simdevice()], address=("127.0.0.1", 0), identity=identity)
    await server.serve_forever(background=True)
    try:
        port = server.transport.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        found = await command("scan", "tcp", "127.0.0.1", "--port", str(port), "--units", "1")
    finally:
        await server.shutdown()
    assert 'says "ACME M-1' in found.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_keeps_what_was_found(number: int) -> None:
    async with SimulatedBus(recognisable(meter(2))) as bus:
        process = await started("scan", "rtu", bus.port)
        assert process.stderr
        async with asyncio.timeout(30):
            while b"answered" not in await process.stderr.readline():
                pass
        process.send_signal(number)
        found = await ended(process)
    assert found.code == 130
    assert "eastron-sdm630" in found.out
    assert '[[line]]\nname = "bus-1"' in found.out
    assert "interrupted: not everything was asked" in found.errors


async def test_the_bar_on_a_terminal_is_drawn_in_place() -> None:
    with terminal() as (ours, theirs):
        async with SimulatedBus(meter(2)) as bus:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent", "scan", "rtu", bus.port, "--baudrates", "9600"),
                *("--units", "1-6"),
                stderr=theirs,
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 60)
        drawn = os.read(ours, 65536).decode()
    assert b"9600 8N1" in out
    bars = re.findall(r"\r\x1b\[K\[[#-]{24}\] +\d+%  \d+:\d\d left  9600 8N1, unit \d", drawn)
    assert len(bars) > 2
    assert (
        "\r\x1b[K1 x the port cannot be set to 9600 8E1" in drawn
    )  # the bar is gone, and ptys have no parity


async def test_a_port_that_is_in_use_is_left_alone() -> None:
    async with SimulatedBus(meter(2)) as bus:
        first = await started("scan", "rtu", bus.port)
        assert first.stderr
        await first.stderr.readline()
        await asyncio.sleep(0.5)
        second = await command("scan", "rtu", bus.port)
        first.send_signal(signal.SIGINT)
        await ended(first)
    assert second.code == 1
    assert (
        "in use by another program: end it (if it is the agent: systemctl stop uicps-agent)" in second.errors
    )


async def test_a_port_that_is_pulled_out_keeps_what_was_found() -> None:
    async with SimulatedBus(recognisable(meter(2))) as bus:
        process = await started("scan", "rtu", bus.port)
        assert process.stderr
        async with asyncio.timeout(30):
            while b"answered" not in await process.stderr.readline():
                pass
        bus.unplug()
        found = await ended(process)
    assert found.code == 1
    assert "eastron-sdm630" in found.out
    assert bus.port in found.errors


async def test_nobody_there() -> None:
    found = await command("scan", "tcp", "127.0.0.1", "--port", "9")
    assert (found.code, found.out) == (1, "")
    assert "1 x nothing listens at the port" in found.errors
    assert "nothing was found" in found.errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tcp", "10.0.0.0/8"), "expected at most 4096: name a part of it, /20 or smaller"),
        (("tcp", "meter"), "expected a network like 192.168.1.0/24 or an address, found 'meter'"),
        (("rtu", "/dev/x", "--units", "0-5"), "expected a whole number from 1 to 255, found '0'"),
        (("rtu", "/dev/x", "--units", "9-5"), "expected the smaller address first, found '9-5'"),
        (
            ("rtu", "/dev/x", "--baudrates", "fast"),
            "expected a whole number from 300 to 4000000, found 'fast'",
        ),
    ],
)
async def test_what_makes_no_sense_is_said(arguments: tuple[str, ...], words: str) -> None:
    refused = await command("scan", *arguments)
    assert refused.code == 2
    assert words in refused.errors


def test_addresses_are_asked_in_the_order_given() -> None:
    assert units(1, "20,1-3,2") == (20, 1, 2, 3)
