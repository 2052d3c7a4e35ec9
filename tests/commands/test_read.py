"""`read`: raw registers, and what they may mean."""

from __future__ import annotations

import asyncio
import re

import pytest

from agent.commands.read import Run, number_text, raw_rows
from agent.demo.modbus_bus import SimulatedBus
from agent.demo.modbus_line import SimulatedLine
from tests.drivers.modbus.test_rtu_peers import LibModbus, cable

from .running import command, ended, meter, started


async def test_voltages_come_first() -> None:
    async with SimulatedBus(meter(3)) as bus:
        read = await command(
            *("read", "--rtu", bus.port, "--unit", "3", "--table", "input", "--count", "18", "--again-s", "0")
        )
    assert read.code == 0
    assert "     0 (0x0000)  42fe 0000 4300 0000 4301 0000 4120 0000\n" in read.out
    first = read.out.split("SCORE")[1].splitlines()[1]
    assert re.match(r"0\.\d\d +0-1 +f32 +ABCD +1 +127 V +voltage +within 20 % of 127 V", first)


async def test_a_counter_is_found_by_reading_twice() -> None:
    device = meter(1)
    device.set("energy_import", 1234.5)
    async with SimulatedLine(device) as line:
        process = await started(
            *("read", "--tcp", f"127.0.0.1:{line.port}", "--table", "input", "--address", "0x48"),
            *("--count", "2", "--again-s", "1"),
        )
        assert process.stdout
        async with asyncio.timeout(30):
            while b"ADDRESS" not in await process.stdout.readline():
                pass
        device.set("energy_import", 1234.75)
        read = await ended(process)
    assert re.search(r"72-73 +f32 +ABCD +1 +1234.5 +energy +grew by 0.25", read.out)


async def test_few_registers_are_shown_every_way() -> None:
    with cable() as (ours, theirs), LibModbus(theirs, 7):
        read = await command(
            *("read", "--rtu", ours, "--baudrate", "115200", "--unit", "7", "--address", "10"),
            *("--count", "2", "--again-s", "0"),
        )
    assert read.code == 0
    for row in ("10 +u16 +- +110", "10 +u16 +BADC +28160", "10 +u32 +ABCD +7209071", "11 +u16 +- +111"):
        assert re.search(f"(?m)^{row}$", read.out), row


async def test_what_the_device_does_not_have_is_left_out() -> None:
    """libmodbus has 40 registers: asked for 60, the first 40 come."""
    with cable() as (ours, theirs), LibModbus(theirs, 7):
        read = await command(
            *("read", "--rtu", ours, "--baudrate", "115200", "--unit", "7", "--address", "8"),
            *("--count", "60", "--again-s", "0"),
        )
    assert read.code == 0
    rows = [line for line in read.out.splitlines() if "(0x" in line]
    assert rows[0].startswith("     8 (0x0008)  006c 006d")
    assert rows[-1] == "    32 (0x0020)  0084 0085 0086 0087 0088 0089 008a 008b"


async def test_bits() -> None:
    with cable() as (ours, theirs), LibModbus(theirs, 7):
        read = await command(
            *("read", "--rtu", ours, "--baudrate", "115200", "--unit", "7", "--table", "coil", "--count", "9")
        )
    assert read.out == "     0 (0x0000)  1 0 0 1 0 0 1 0\n     8 (0x0008)  0\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--rtu-tcp", "meter.lan"), 1, "expected HOST:PORT, found 'meter.lan'"),
        (("--rtu", "/dev/null", "--rs485"), 1, "cannot open /dev/null"),
        (("--tcp", "127.0.0.1:9"), 1, "cannot connect to 127.0.0.1:9"),
        (("--tcp", "x", "--rtu", "y"), 2, "not allowed with argument"),
        ((), 2, "one of the arguments --tcp --rtu --rtu-tcp is required"),
        (("--tcp", "x", "--address", "70000"), 2, "expected a whole number from 0 to 65535, found '70000'"),
    ],
)
async def test_what_makes_no_sense_is_said(arguments: tuple[str, ...], code: int, words: str) -> None:
    read = await command("read", *arguments)
    assert read.code == code
    assert words in read.errors


async def test_a_silent_unit_is_said() -> None:
    async with SimulatedBus(meter(3)) as bus:
        read = await command("read", "--rtu", bus.port, "--unit", "9", "--wait-ms", "100")
    assert read.code == 1
    assert "unit 9: no answer in" in read.errors
    assert "is the unit id right, are the settings?" in read.errors


async def test_a_device_that_refuses_all_of_it() -> None:
    async with SimulatedLine(meter(1)) as line:
        read = await command("read", "--tcp", f"127.0.0.1:{line.port}", "--count", "3")
    assert read.code == 1
    assert read.out == "unit 1 has nothing at holding 0: all is refused\n"


def test_rows_of_eight() -> None:
    assert raw_rows(Run(7, tuple(range(9))), is_bits=False) == [
        "     7 (0x0007)  0000 0001 0002 0003 0004 0005 0006 0007",
        "    15 (0x000f)  0008",
    ]


def test_whole_numbers_are_shown_whole() -> None:
    assert number_text("u64", "ABCD", (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFD)) == str(2**64 - 3)
    assert number_text("u32", "CDAB", (0x4240, 0x000F)) == "1000000"
    assert number_text("s32", "ABCD", (0xFFF0, 0xBDC0)) == "-1000000"
    assert number_text("f32", "ABCD", (0x4B18, 0x967F)) == "9999999"
