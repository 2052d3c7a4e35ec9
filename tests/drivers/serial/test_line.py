"""The driver on real pseudo-terminals: bytes go in at one end, readings come out at the other."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.drivers.serial.line import SerialLines, SerialLinesOptions, wire_faults
from agent.drivers.serial.profile import SerialProfile
from agent.model import Quality, Reading
from agent.schema import FaultyFile, validate
from tests.conftest import until
from tests.drivers.serial.profiles import BINARY, JSON, KEYED, PLAIN
from tests.drivers.serial.test_decode import frame

NOW_MS = 1_700_000_000_000


def options(port: str, *devices: dict[str, Any], **more: Any) -> SerialLinesOptions:
    devices = devices or ({"name": "module", "profile": "p"},)
    table = {"driver": "serial-lines", "name": "uart", "port": port, "device": list(devices)}
    return validate(SerialLinesOptions, table | more, "config.toml")


def line(port: str, profile: SerialProfile, *devices: dict[str, Any], **more: Any) -> SerialLines:
    return SerialLines(options(port, *devices, **more), {"p": profile}, now_s=lambda: NOW_MS / 1000)


class Wire:
    """A pseudo-terminal: `port` for the agent, `send` for the module at the other end."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        self.port = os.ttyname(self._slave)

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def unplug(self) -> None:
        for fd in (self.master, self._slave):
            if fd >= 0:
                os.close(fd)
        self.master = self._slave = -1


@asynccontextmanager
async def listening(
    profile: SerialProfile, *devices: dict[str, Any], **more: Any
) -> AsyncIterator[tuple[SerialLines, Wire, list[Reading]]]:
    wire, heard = Wire(), list[Reading]()
    driver = line(wire.port, profile, *devices, **more)
    running = asyncio.create_task(driver.run(heard.extend))
    try:
        await until(lambda: driver.counters["connections"] or running.done())
        yield driver, wire, heard
    finally:
        running.cancel()
        await asyncio.wait([running])
        wire.unplug()
    assert running.cancelled() or isinstance(running.exception(), OSError)


async def test_a_frame_is_a_reading() -> None:
    async with listening(JSON) as (driver, wire, heard):
        wire.send(b'{"bme": {"t": 21.5}, "h"')
        wire.send(b': 0.5, "on": false}\n')
        await until(lambda: heard)
        assert heard == [(driver.groups[0], NOW_MS, [21.5, 50.0, 0.0], Quality.GOOD)]
    assert heard[-1].quality is Quality.BAD  # left: nothing is known any more


async def test_binary_with_serial_settings_and_a_gap() -> None:
    settings = {"baudrate": 38400, "parity": "even", "stopbits": 2}
    async with listening(BINARY, **settings) as (driver, wire, heard):
        wire.send(frame()[:7])
        await asyncio.sleep(0.7)
        wire.send(frame(flags=0))
        await until(lambda: heard)
        assert heard[0].values == [23.5, 127.5, 0.0, 42.0]
        assert driver.counters["stale"] == 1


async def test_several_modules_share_a_wire() -> None:
    devices = [{"name": f"room-{at}", "profile": "p", "id": name} for at, name in enumerate("ab")]
    async with listening(KEYED, *devices) as (driver, wire, heard):
        wire.send(b"\nid=b T=2C\nid=a T=1C\nid=x T=3C\n")
        await until(lambda: driver.counters["unknown_device"])
        assert [reading.group.device.name for reading in heard] == ["room-1", "room-0"]


async def test_trouble_is_said_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening(JSON) as (driver, wire, heard):
        wire.send(b'nonsense\n{"h": "x"}\n{"h": 1}\n')
        await until(lambda: heard)
        assert driver.counters["malformed"] == 2
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "others like it: counter 'malformed'" in warnings[0]


async def test_failing_checks_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening(BINARY) as (driver, wire, heard):
        bad = bytearray(frame())
        bad[4] ^= 1
        for data in (bytes(bad), bytes(bad), frame()):
            wire.send(data)
            await asyncio.sleep(0.02)
        await until(lambda: heard)
        assert driver.counters["checksum_errors"] == 2
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "line uart: a frame fails its check: noise, or other serial settings?"
        " (others like it: counter 'checksum_errors')"
    ]


async def test_a_silent_module_is_published_as_bad() -> None:
    device = {"name": "module", "profile": "p", "silence_s": 1}
    async with listening(PLAIN, device) as (_, wire, heard):
        await until(lambda: heard, 5)
        assert heard[0].quality is Quality.BAD
        assert all(map(math.isnan, heard[0].values))
        wire.send(b"\n2200,5\n")
        await until(lambda: heard[-1].quality is Quality.GOOD)


async def test_an_unplugged_port_ends_the_run_with_an_os_error() -> None:
    wire, heard = Wire(), list[Reading]()
    driver = line(wire.port, PLAIN)
    running = asyncio.create_task(driver.run(heard.extend))
    await until(lambda: driver.counters["connections"])
    wire.unplug()
    with pytest.raises(OSError, match="the port has gone") as caught:
        await asyncio.wait_for(running, 5)
    assert str(caught.value).count("has gone") == 1
    assert heard[-1].quality is Quality.BAD


async def test_it_may_be_entered_again() -> None:
    wire, heard = Wire(), list[Reading]()
    driver = line(wire.port, JSON)
    for attempt in (1, 2):
        running = asyncio.create_task(driver.run(heard.extend))
        await until(lambda wanted=attempt: driver.counters["connections"] == wanted)
        wire.send(b'{"h": 0.25}\n')
        await until(lambda: heard and heard[-1].quality is Quality.GOOD)
        running.cancel()
        await asyncio.wait([running])
        assert heard[-1].quality is Quality.BAD
    wire.unplug()


async def test_a_bug_behind_publish_is_not_swallowed() -> None:
    wire = Wire()
    driver = line(wire.port, JSON)
    calls = []

    def broken(readings: object) -> None:
        calls.append(readings)
        if len(calls) == 1:
            raise ZeroDivisionError

    running = asyncio.create_task(driver.run(broken))
    await until(lambda: driver.counters["connections"])
    wire.send(b'{"h": 0.25}\n')
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(running, 5)
    wire.unplug()


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("/dev/serial/by-id/none", "cannot open /dev/serial/by-id/none: no such port: plugged in?"),
        ("/dev/null", "cannot open /dev/null: "),
    ],
)
async def test_a_port_that_does_not_open_says_what_to_do(port: str, words: str) -> None:
    with pytest.raises(OSError, match=words.replace("?", r"\?")):
        await line(port, PLAIN).run(lambda _: None)


async def test_a_port_in_use_says_so() -> None:
    async with listening(PLAIN) as (_, wire, _):
        with pytest.raises(OSError, match="in use by another program"):
            await line(wire.port, PLAIN).run(lambda _: None)


async def test_cancelled_while_opening_leaves_no_port_open() -> None:
    wire = Wire()
    running = asyncio.create_task(line(wire.port, PLAIN).run(lambda _: None))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    await asyncio.sleep(0.1)
    again = line(wire.port, PLAIN)
    second = asyncio.create_task(again.run(lambda _: None))
    await until(lambda: again.counters["connections"])
    second.cancel()
    await asyncio.wait([second])
    wire.unplug()


def test_devices_that_cannot_be_told_apart_are_a_fault() -> None:
    two = [{"name": name, "profile": "p"} for name in "ab"]
    with pytest.raises(FaultyFile, match="expected an id of its own"):
        options("/dev/x", *two)
    with pytest.raises(FaultyFile, match="expected one profile for all of a wire, found p, q"):
        options("/dev/x", two[0], {"name": "b", "profile": "q"})
    named = options("/dev/x", *(device | {"id": device["name"]} for device in two))
    text = 'expected "": the profile p does not say where a frame carries an id'
    assert list(wire_faults(named, {"p": PLAIN})) == [("device[0].id", text), ("device[1].id", text)]
    assert list(wire_faults(named, {"p": KEYED})) == []
