"""Writing: what is refused before anything is sent, what goes first, what is confirmed, what is bounded."""

import asyncio
import time
from typing import Any

import pytest

from agent.demo.modbus_bus import SimulatedBus
from agent.demo.modbus_device import SimulatedDevice
from agent.demo.modbus_line import SimulatedLine
from agent.drivers.command import WriteFailed
from agent.model import Quality
from tests.conftest import until
from tests.demo.listening import by_point, running

from .lines import profile_of, row, rtu_line, simulated, tcp_line

W: dict[str, Any] = {"writable": True, "on_silence": "keeps the last value for ever"}
SETPOINT = {
    "name": "setpoint",
    "address": 4,
    "type": "s16",
    "scale": 0.1,
    "min": 16,
    "max": 30,
    "step": 0.5,
} | W
MODE = {"name": "mode", "address": 1, "states": {"0": "auto", "1": "heat", "4": "cool"}, "kind": "state"} | W
AC = profile_of([SETPOINT, MODE, {"name": "temperature", "address": 5, "type": "s16", "scale": 0.1}])


async def test_a_value_is_written_by_the_profile() -> None:
    heard: list[tuple[str, float]] = []
    device = SimulatedDevice(
        AC, writable=["setpoint", "mode"], on_write=lambda point, value: heard.append((point, value))
    )
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: AC})
        async with running(driver.run) as listener:
            await listener.until(lambda reading: reading.quality is Quality.GOOD)
            await driver.write("d1", "setpoint", 23.5)
            await driver.write("d1", "mode", 4)
            assert heard == [("setpoint", 23.5), ("mode", 4.0)]
            await listener.until(lambda reading: by_point(reading)["setpoint"] == 23.5)
        assert driver.counters["writes"] == 2
        assert driver.counters["failed_writes"] == 0


@pytest.mark.parametrize(
    ("point", "value", "reason"),
    [
        ("setpoint", 31, "expected 16 to 30, found 31"),
        ("setpoint", 23.3, "expected steps of 0.5 from 16 on, found 23.3"),
        ("setpoint", float("nan"), "expected a number"),
        ("mode", 2, "expected one of 0 auto, 1 heat, 4 cool, found 2"),
    ],
)
async def test_what_the_profile_forbids_is_never_sent(point: str, value: float, reason: str) -> None:
    device = SimulatedDevice(AC, writable=["setpoint", "mode"], on_write=lambda *_: pytest.fail("sent"))
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: AC})
        async with running(driver.run):
            with pytest.raises(ValueError, match=reason):
                await driver.write("d1", point, value)


@pytest.mark.parametrize("name", ["temperature", "nonsense"])
async def test_what_is_not_writable_fails(name: str) -> None:
    async with SimulatedLine(simulated(AC)) as line:
        driver = tcp_line(line, {1: AC})
        with pytest.raises(WriteFailed, match=rf"d1\.{name}: not a writable point of line tcp"):
            await driver.write("d1", name, 20)


async def test_a_line_that_is_down_says_so_at_once() -> None:
    async with SimulatedLine(simulated(AC)) as line:
        driver = tcp_line(line, {1: AC})
    with pytest.raises(WriteFailed, match="line tcp is down: not connected yet"):
        await driver.write("d1", "setpoint", 20)
    with pytest.raises(OSError):  # noqa: PT011 - any
        await driver.run(lambda readings: None)
    with pytest.raises(WriteFailed, match="line tcp is down: cannot connect"):
        await driver.write("d1", "setpoint", 20)


async def test_a_refusal_is_said_with_its_reason() -> None:
    async with SimulatedLine(SimulatedDevice(AC)) as line:
        driver = tcp_line(line, {1: AC})
        async with running(driver.run) as listener:
            await listener.until(lambda reading: True)
            with pytest.raises(
                WriteFailed, match=r"d1\.setpoint: exception 2, illegal data address"
            ) as caught:
                await driver.write("d1", "setpoint", 20)
            assert not caught.value.unknown


async def test_a_silent_device_fails_within_its_time_and_it_is_unknown_what_it_did() -> None:
    async with SimulatedLine(simulated(AC)) as line:
        driver = tcp_line(line, {1: AC}, interval_s=3600.0)
        async with running(driver.run) as listener:
            await listener.until(lambda reading: True)
            line.silent = True
            started_s = time.monotonic()
            with pytest.raises(WriteFailed, match=r"no answer in 0\.3 s") as caught:
                await driver.write("d1", "setpoint", 20)
            assert caught.value.unknown
            assert time.monotonic() - started_s < 1


async def test_a_line_that_is_lost_while_writing_fails_the_write() -> None:
    device = SimulatedDevice(AC, writable=["setpoint"])
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: AC}, interval_s=3600.0, timeout_s=5.0)
        async with running(driver.run) as listener:
            await listener.until(lambda reading: True)
            device.latency_s = 3.0
            writes = [asyncio.create_task(driver.write("d1", "setpoint", 20)) for _ in range(3)]
            await asyncio.sleep(0.1)
            await line.stop()
            results = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 2)
            assert all(isinstance(result, WriteFailed) for result in results)


async def test_a_lock_that_swallows_writes_is_found_by_reading_back() -> None:
    """Device-facts 3.5: a locked LG acknowledges the write and ignores it."""
    profile = profile_of([SETPOINT | {"readback": True, "readback_s": 0.5}])
    device = SimulatedDevice(profile, writable=["setpoint"])
    device.set("setpoint", 18)
    device._on_write = lambda point, value: asyncio.get_running_loop().call_soon(device.set, point, 18)
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: profile})
        async with running(driver.run) as listener:
            await listener.until(lambda reading: True)
            with pytest.raises(WriteFailed, match=r"wrote 23.5, after 0.5 s it reads 18"):
                await driver.write("d1", "setpoint", 23.5)


async def test_a_device_that_follows_late_is_waited_for_and_the_line_goes_on() -> None:
    profile = profile_of([SETPOINT | {"readback": True, "readback_s": 3.0}])
    device = SimulatedDevice(profile, writable=["setpoint"])
    device.set("setpoint", 18)
    loop = asyncio.get_running_loop()

    def on_write(point: str, value: float) -> None:
        loop.call_soon(device.set, point, 18)
        loop.call_later(0.6, device.set, point, value)

    device._on_write = on_write
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: profile})
        async with running(driver.run) as listener:
            await listener.until(lambda reading: True)
            seen = len(listener.readings)
            await driver.write("d1", "setpoint", 23.5)
            assert len(listener.readings) - seen >= 4


async def test_a_scaled_write_uses_the_scale_register_of_the_moment() -> None:
    profile = profile_of([{"name": "limit", "address": 10, "type": "u16", "scale_register": 11} | W])
    device = SimulatedDevice(profile, writable=["limit"])
    device.set_registers("holding", 11, [0xFFFE])
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: profile})
        async with running(driver.run) as listener:
            await listener.until(lambda reading: reading.quality is Quality.GOOD)
            await driver.write("d1", "limit", 12.34)
            assert device.get("limit") == 12.34
            device.set_registers("holding", 11, [0x8000])
            with pytest.raises(WriteFailed, match="scale register 11 holds no scale"):
                await driver.write("d1", "limit", 12.34)


async def test_on_a_full_bus_a_write_goes_before_reads() -> None:
    """Ten devices of 40 registers at 9600 baud: a round takes a second, a write waits for one request."""
    profile = profile_of([*row(40), {"name": "w", "address": 40} | W])
    heard: list[int] = []  # the number of the request that wrote

    def device(unit: int) -> SimulatedDevice:
        return simulated(profile, unit, writable=["w"], on_write=lambda *_: heard.append(bus.requests))

    async with SimulatedBus(*map(device, units := range(1, 11)), baudrate=9600) as bus:
        line = rtu_line(bus, dict.fromkeys(units, profile), interval_s=0.2)
        async with running(line.run):
            await until(lambda: bus.requests > 10)
            for value in range(5):
                await asyncio.sleep(0.13)
                await until(lambda: bus.requests > bus.answers)  # one is under way
                before = bus.requests
                await line.write("d9", "w", value)
                assert heard.pop() == before + 1  # the next


async def test_two_writes_to_bits_of_one_register_do_not_undo_each_other() -> None:
    profile = profile_of([{"name": f"b{at}", "address": 0, "bit": at} | W for at in range(8)])
    device = SimulatedDevice(profile, writable=[f"b{at}" for at in range(8)])
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: profile})
        async with running(driver.run) as listener:
            await listener.until(lambda reading: True)
            await asyncio.gather(*(driver.write("d1", f"b{at}", 1) for at in range(8)))
            assert all(device.get(f"b{at}") == 1 for at in range(8))


async def test_too_many_writes_at_once_are_refused() -> None:
    device = SimulatedDevice(AC, writable=["setpoint"])
    device.latency_s = 0.01
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: AC})
        async with running(driver.run) as listener:
            await listener.until(lambda reading: True)
            writes = (driver.write("d1", "setpoint", 20) for _ in range(100))
            results = await asyncio.gather(*writes, return_exceptions=True)
        refused = [result for result in results if isinstance(result, WriteFailed)]
        assert 30 <= len(refused) <= 40
        assert "64 requests wait for this line already" in str(refused[0])
