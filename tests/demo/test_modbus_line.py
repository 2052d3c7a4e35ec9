"""The simulated Modbus modules on their sockets: read by our driver, and by pymodbus's client alone."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator

import pytest
from pymodbus.client import AsyncModbusTcpClient

from agent.demo.modbus_device import SimulatedDevice
from agent.demo.modbus_line import SimulatedLine
from agent.drivers.modbus.driver import ModbusLine
from agent.model import Quality

from .listening import Listener, by_point, end, modbus_driver, running

METER = {
    "voltage_l1": 127.31, "voltage_l2": 126.9, "voltage_l3": 128.04, "current_l1": 4.283,
    "active_power_l1": 1500.0, "active_power": 3079.9, "power_factor": 0.93, "frequency": 59.98,
}  # fmt: skip


@contextlib.asynccontextmanager
async def client_of(line: SimulatedLine, timeout_s: float = 1.0) -> AsyncIterator[AsyncModbusTcpClient]:
    client = AsyncModbusTcpClient(line.host, port=line.port, timeout=timeout_s, retries=0, reconnect_delay=0)
    assert await client.connect()
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("name", ["eastron-sdm630", "schneider-pm5xxx", "intesis-ac"])
async def test_our_driver_reads_exactly_what_was_set(name: str) -> None:
    device = SimulatedDevice(name)
    wanted = {
        point: index / 100 if "power_factor" in point else float(index)
        for index, point in enumerate(device.points, 1)
    }
    device.update(wanted)
    async with SimulatedLine(device) as line, running(modbus_driver(line, device.profile).run) as listener:
        found = {}
        for group in device.profile.group:
            found |= await listener.values(group.name)
    assert found == wanted


async def test_sdm_values_and_a_change() -> None:
    device = SimulatedDevice("eastron-sdm630")
    device.update(METER)
    async with SimulatedLine(device) as line, running(modbus_driver(line, device.profile).run) as listener:
        reading = await listener.until(lambda reading: reading.group.name == "fast")
        assert by_point(reading).items() >= METER.items()
        assert reading.quality is Quality.GOOD
        device.set("voltage_l1", 90.07)
        await listener.until(lambda reading: by_point(reading).get("voltage_l1") == 90.07)


async def test_unknown_ac_temperature_is_nan() -> None:
    device = SimulatedDevice("intesis-ac")
    device.set("temperature", math.nan)
    device.set("temperature_setpoint", 22.5)
    async with SimulatedLine(device) as line, running(modbus_driver(line, device.profile).run) as listener:
        values = await listener.values("state")
    assert math.isnan(values["temperature"])
    assert values["temperature_setpoint"] == 22.5


async def test_holes_and_limits_are_those_of_the_device() -> None:
    sdm = SimulatedDevice("eastron-sdm630", unit_id=1)
    pm = SimulatedDevice("schneider-pm5xxx", unit_id=2)
    sdm.update(METER)
    async with SimulatedLine(sdm, pm) as line, client_of(line) as client:
        whole = await client.read_input_registers(0, count=80, device_id=1)
        assert whole.registers[36:52] == [0] * 16
        assert whole.registers[:2] == [0x42FE, 0x9EB8]
        assert (await client.read_input_registers(0, count=81, device_id=1)).exception_code == 3
        assert (await client.read_input_registers(80, count=2, device_id=1)).exception_code == 2
        assert (await client.read_input_registers(60000, count=2, device_id=1)).exception_code == 2
        assert (await client.read_holding_registers(0, count=2, device_id=1)).exception_code == 2
        assert (await client.read_coils(0, count=2, device_id=1)).exception_code in (1, 2)
        assert (await client.write_register(0, 1, device_id=1)).exception_code == 2
        assert (await client.read_holding_registers(3005, count=2, device_id=2)).exception_code == 2
        assert not (await client.read_holding_registers(3027, count=6, device_id=2)).isError()
        assert (await client.read_holding_registers(3027, count=6, device_id=9)).exception_code == 11


async def test_writes_reach_the_callback_and_may_be_refused() -> None:
    heard = []

    def on_write(point: str, value: float) -> None:
        heard.append((point, value))
        if value > 30:
            raise ValueError(value)

    device = SimulatedDevice("intesis-ac", writable=["on", "temperature_setpoint"], on_write=on_write)
    async with SimulatedLine(device) as line, client_of(line) as client:
        assert not (await client.write_register(4, 235)).isError()
        assert not (await client.write_registers(0, [1])).isError()
        assert heard == [("temperature_setpoint", 23.5), ("on", 1)]
        assert (device.get("temperature_setpoint"), device.get("on")) == (23.5, 1)
        assert (await client.write_register(4, 400)).exception_code == 3
        assert device.get("temperature_setpoint") == 23.5
        assert (await client.write_register(5, 200)).exception_code == 2
        assert (await client.read_holding_registers(4, count=1)).registers == [235]


async def test_raw_registers() -> None:
    device = SimulatedDevice("eastron-sdm630")
    device.set_registers("input", 0, [0x4366, 0x3334])
    async with SimulatedLine(device) as line, running(modbus_driver(line, device.profile).run) as listener:
        assert (await listener.values("fast"))["voltage_l1"] == 230.20001


async def test_a_refused_register_spoils_only_itself_and_is_asked_again() -> None:
    device = SimulatedDevice("schneider-pm5xxx")
    device.update({"voltage_l1": 127.5, "frequency": 60.01})
    device.refuse("frequency")
    async with SimulatedLine(device) as line:
        driver = modbus_driver(line, device.profile, recheck_s=0.3)
        async with running(driver.run) as listener:
            await _refused_then_not(device, driver, listener)


async def _refused_then_not(device: SimulatedDevice, driver: ModbusLine, listener: Listener) -> None:
    reading = await listener.until(lambda reading: reading.group.name == "fast")
    assert reading.quality is Quality.UNCERTAIN
    assert driver.statistics()["devices"]["device"]["refused"] == ["frequency"]
    assert by_point(reading)["voltage_l1"] == 127.5
    assert math.isnan(by_point(reading)["frequency"])
    device.refuse()
    await listener.until(lambda reading: by_point(reading).get("frequency") == 60.01)


async def test_silence_is_a_bad_reading_and_passes() -> None:
    device = SimulatedDevice("intesis-ac")
    async with SimulatedLine(device) as line:
        driver = modbus_driver(line, device.profile, timeout_s=0.1)
        async with running(driver.run) as listener:
            await listener.until(lambda reading: reading.quality is Quality.GOOD)
            line.silent = True
            await listener.until(lambda reading: reading.quality is Quality.BAD)
            line.silent = False
            await listener.until(lambda reading: reading.quality is Quality.GOOD)


async def test_late_answers_never_land_on_other_points() -> None:
    """The device answers just too late for a while: what is read is right or not there."""
    device = SimulatedDevice("eastron-sdm630")
    wanted = {point: float(index) for index, point in enumerate(device.points, 1)}
    device.update(wanted)
    async with SimulatedLine(device) as line:
        driver = modbus_driver(line, device.profile, timeout_s=0.06)
        async with running(driver.run) as listener:
            await listener.values("slow")
            device.latency_s = 0.07
            await asyncio.sleep(0.4)
            device.latency_s = 0
            await listener.until(lambda reading: reading.quality is Quality.GOOD)
            await listener.values("slow")
    for reading in listener.readings:
        for point, value in by_point(reading).items():
            assert math.isnan(value) or value == wanted[point]


async def test_stops_and_starts_again_on_the_same_port() -> None:
    device = SimulatedDevice("intesis-ac")
    line = SimulatedLine(device)
    await line.start()
    port = line.port
    async with client_of(line) as client:
        assert not (await client.read_holding_registers(0, count=2)).isError()
        await line.stop()
        await asyncio.sleep(0.05)
        assert not client.connected
    await line.stop()
    await line.start()
    assert line.port == port
    async with client_of(line) as client:
        assert not (await client.read_holding_registers(0, count=2)).isError()
    await line.stop()


async def test_driver_sees_the_loss_of_the_connection() -> None:
    device = SimulatedDevice("intesis-ac")
    async with SimulatedLine(device) as line:
        driver = modbus_driver(line, device.profile)
        answered = asyncio.Event()
        task = asyncio.create_task(driver.run(lambda readings: answered.set()))
        await asyncio.wait_for(answered.wait(), 5)
        await line.stop()
        with pytest.raises(OSError):  # noqa: PT011 - that it is one is the contract, which one is not
            await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("turns", range(12))
async def test_driver_ends_when_cancelled_whatever_it_is_doing(turns: int) -> None:
    device = SimulatedDevice("eastron-sdm630")
    async with SimulatedLine(device) as line:
        published = asyncio.Event()
        task = asyncio.create_task(modbus_driver(line, device.profile).run(lambda readings: published.set()))
        await published.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=0.3)
        await end(task)
        assert ended


async def test_port_taken() -> None:
    async with SimulatedLine(SimulatedDevice("intesis-ac")) as line:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{line.port}"):
            await SimulatedLine(SimulatedDevice("intesis-ac"), port=line.port).start()


async def test_serves_hundreds_of_requests_a_second() -> None:
    device = SimulatedDevice("eastron-sdm630")
    async with SimulatedLine(device) as line, client_of(line) as client:
        started_s = time.monotonic()
        for _ in range(200):
            await client.read_input_registers(0, count=72)
        assert time.monotonic() - started_s < 2
    assert device.requests == 200
