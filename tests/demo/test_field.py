"""The field as a process: it gets ready, it works, it ends with its parent."""

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

import aiomqtt
import pytest

from agent.demo.broker import TELEMETRY
from agent.demo.config import Ports
from agent.demo.modbus_device import profile_named
from agent.drivers.modbus.driver import ModbusLine
from agent.drivers.modbus.options import ModbusTcpOptions

from .listening import running

WAIT_S = 10.0


@contextlib.asynccontextmanager
async def field(*arguments: str) -> AsyncIterator[tuple[Process, Ports]]:
    """The process, killed at the latest when the block is left, and its ports."""
    command = [sys.executable, "-W", "error", "-m", "agent.demo.field", "--free-ports", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), WAIT_S))
        assert ready["ready"] is True
        yield process, Ports(**ready["ports"])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def ended(process: Process) -> tuple[int, str]:
    errors = await asyncio.wait_for(process.stderr.read(), WAIT_S)
    return await asyncio.wait_for(process.wait(), WAIT_S), errors.decode()


async def test_serves_values_and_ends_when_its_stdin_closes() -> None:
    async with field("--seed", "1", "--report-s", "0.2") as (process, ports):
        assert len({*vars_of(ports)}) == 5
        options = {
            "driver": "modbus-tcp",
            "name": "line",
            "host": "127.0.0.1",
            "port": ports.main_meter,
            "device": [{"name": "main-meter", "profile": "p"}],
        }
        driver = ModbusLine(ModbusTcpOptions.model_validate(options), {"p": profile_named("eastron-sdm630")})
        async with running(driver.run) as listener:
            values = await listener.values("fast")
        assert 120 < values["voltage_l1"] < 130
        async with aiomqtt.Client("127.0.0.1", ports.center) as client:
            await client.publish(TELEMETRY, b'{"a": [{"ts": 1, "values": {"x": 1, "y": 2}}]}', qos=1)
        report = {}
        async with asyncio.timeout(WAIT_S):
            wanted = {"messages": 1, "readings": 1, "values": 2, "own_readings": 0}
            while report != {"center": wanted}:
                report = json.loads(await process.stdout.readline())
        process.stdin.close()
        assert await ended(process) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_ends_on_a_signal(number: int) -> None:
    async with field() as (process, _):
        process.send_signal(number)
        assert await ended(process) == (0, "")


def vars_of(ports: Ports) -> list[int]:
    return [ports.main_meter, ports.hvac_meter, ports.ac, ports.ambient, ports.center]
