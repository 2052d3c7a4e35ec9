"""RTU on a simulated RS-485 bus: bytes at the speed of a wire, and everything that goes wrong on one."""

import asyncio
import logging
import math
import os

import pytest

from agent.demo.modbus_bus import SimulatedBus
from agent.demo.modbus_device import SimulatedDevice
from agent.model import Quality, Reading
from tests.demo.listening import Listener, by_point, running

from .lines import profile_of, row, rtu_line, simulated

METER = profile_of(row(10))


def good(reading: Reading) -> bool:
    return reading.quality is Quality.GOOD


def of_unit(listener: Listener, unit_id: int) -> list[Reading]:
    return [reading for reading in listener.readings if reading.group.device.name == f"d{unit_id}"]


def no_wrong_values(listener: Listener) -> bool:
    """Every value read is the one that was set, or not there."""
    wanted = {f"r{at}": float(at + 1) for at in range(40)}
    return all(
        math.isnan(value) or value == wanted[point]
        for reading in listener.readings
        for point, value in by_point(reading).items()
    )


async def test_reads_and_keeps_the_silence() -> None:
    async with SimulatedBus(simulated(METER), baudrate=9600) as bus:
        async with running(rtu_line(bus, {1: METER}).run) as listener:
            reading = await listener.until(good)
            assert by_point(reading)["r9"] == 10
            await asyncio.sleep(1)
        assert (bus.early, bus.collisions) == (0, 0)


async def test_ten_devices_on_one_bus_of_which_three_are_sick() -> None:
    """One dead, one answering too late, one with a hole: the seven healthy keep the achievable period."""
    profile = profile_of(row(20))
    sick_of_map = simulated(profile, 3)
    sick_of_map.refuse("r7")
    late = simulated(profile, 2)
    late.latency_s = 0.25
    healthy = [simulated(profile, unit) for unit in range(4, 11)]
    async with SimulatedBus(late, sick_of_map, *healthy, baudrate=9600) as bus:
        # 48 ms of bytes and 7 ms of silence each: eight answering devices take 0.5 s of every 0.8 s
        line = rtu_line(bus, dict.fromkeys(range(1, 11), profile), interval_s=0.8)
        async with running(line.run) as listener:
            await asyncio.sleep(8)
            listener.readings.clear()
            await asyncio.sleep(12)
            stretch = line.stretch
        del listener.readings[-10:]  # the line's end: all bad
        for unit in range(4, 11):
            readings = of_unit(listener, unit)
            assert len([reading for reading in readings if good(reading)]) >= 0.75 * 12 / 0.8, (
                unit
            )  # all, if idle
        assert 11 <= len(of_unit(listener, 3)) <= 16
        assert {reading.quality for reading in of_unit(listener, 3)} == {Quality.UNCERTAIN}
        assert all(math.isnan(by_point(reading)["r7"]) for reading in of_unit(listener, 3))
        assert not any(good(reading) for unit in (1, 2) for reading in of_unit(listener, unit))
        assert no_wrong_values(listener)
        assert stretch == pytest.approx(1.0, abs=0.3)
        assert bus.early == 0
    sick = line.statistics()["devices"]
    assert sick["d3"]["refused"] == ["r7"]
    assert sick["d1"]["timeouts"] <= 6
    assert sick["d1"]["response_ms"] is None


async def test_an_overloaded_bus_is_used_to_the_last() -> None:
    """Asked for five times what 9600 baud carry; the theoretical limit counts bytes and silences only."""
    profile = profile_of(row(40))
    units = range(1, 11)
    async with SimulatedBus(*(simulated(profile, unit) for unit in units), baudrate=9600) as bus:
        line = rtu_line(bus, dict.fromkeys(units, profile), interval_s=0.2)
        loop = asyncio.get_running_loop()
        async with running(line.run) as listener:
            await asyncio.sleep(1)
            wire_s, from_s = bus.wire_s, loop.time()
            await asyncio.sleep(10)
            share = (bus.wire_s - wire_s) / (loop.time() - from_s)
        counts = [len(of_unit(listener, unit)) for unit in units]
    assert share >= 0.75  # 0.99 on an idle machine: bench/rtu_bus.py prints it
    assert max(counts) - min(counts) <= 3
    assert line.stretch == pytest.approx(5.2, rel=0.25)


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [(b"\x00", b"\x00"), (b"\xff\xff", b""), (b"Relay board v2\r\n", b"\x00")],
    ids=["zeros", "ones", "text"],
)
async def test_noise_around_every_answer(prefix: bytes, suffix: bytes) -> None:
    async with SimulatedBus(simulated(METER), baudrate=38400) as bus:
        bus.prefix, bus.suffix = prefix, suffix
        bus.chunk_bytes = 256  # or a busy machine's pauses end an answer
        line = rtu_line(bus, {1: METER})
        async with running(line.run) as listener:
            for _ in range(5):
                await listener.until(good)
    assert line.counters["timeouts"] == line.counters["crc_errors"] == 0
    assert all(good(reading) for reading in listener.readings[:5])


async def test_broken_answers_are_asked_for_again_at_once_and_counted() -> None:
    async with SimulatedBus(simulated(METER), baudrate=38400) as bus:
        bus.spoil_every = 3
        line = rtu_line(bus, {1: METER})
        async with running(line.run) as listener:
            await listener.until(lambda _: bus.spoilt > 3 and len(listener.readings) > 9)
        assert all(good(reading) for reading in listener.readings[:-1])
        assert line.counters["crc_errors"] == pytest.approx(bus.spoilt, abs=1)
        assert line.counters["timeouts"] == 0


async def test_a_two_wire_adapter_that_echoes() -> None:
    profile = profile_of(
        [{"name": "r0", "address": 0, "writable": True, "on_silence": "stays"}, *row(4, 1)[1:]]
    )
    device = simulated(profile, writable=["r0"])
    async with SimulatedBus(device, baudrate=38400) as bus:
        bus.echo = True
        line = rtu_line(bus, {1: profile, 2: profile})
        async with running(line.run) as listener:
            reading = await listener.until(good)
            assert by_point(reading)["r3"] == 4
            await line.write("d1", "r0", 99)
            assert device.get("r0") == 99
            with pytest.raises(Exception, match=r"d2\.r0: TimeoutError unit 2: no answer in"):
                await line.write("d2", "r0", 5)


async def test_late_answers_never_land_on_other_points() -> None:
    """Two groups of the same shape; the device is late for a while: what is read is right or not there."""
    groups = [
        {"name": "low", "interval_s": 0.1, "point": row(4)},
        {
            "name": "high",
            "interval_s": 0.1,
            "point": [{"name": f"h{at}", "address": 20 + at} for at in range(4)],
        },
    ]
    profile = profile_of([], group=groups)
    device = SimulatedDevice(profile)
    wanted = {point: float(at) for at, point in enumerate(device.points, 1)}
    device.update(wanted)
    async with SimulatedBus(device, baudrate=38400) as bus:
        line = rtu_line(bus, {1: profile}, timeout_s=0.06)
        async with running(line.run) as listener:
            await listener.until(good)
            for latency_s in (0.08, 0.12, 0.2, 0.5):
                device.latency_s = latency_s
                await asyncio.sleep(0.3)
                device.latency_s = 0
                await asyncio.sleep(1.2)
            listener.readings.clear()
            await listener.until(good)
    assert line.counters["timeouts"] >= 3
    for reading in listener.readings:
        for point, value in by_point(reading).items():
            assert math.isnan(value) or value == wanted[point]


async def test_a_port_that_is_pulled_out_ends_the_line_and_all_is_bad() -> None:
    async with SimulatedBus(simulated(METER), baudrate=38400) as bus:
        line = rtu_line(bus, {1: METER, 2: METER})
        listener = Listener()
        task = asyncio.create_task(line.run(listener))
        await listener.until(good)
        bus.unplug()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(task, 2)
        assert [reading.quality for reading in listener.readings[-2:]] == [Quality.BAD, Quality.BAD]


async def test_a_pulled_port_is_noticed_while_nothing_is_due() -> None:
    async with SimulatedBus(simulated(METER), baudrate=38400) as bus:
        line = rtu_line(bus, {1: METER}, interval_s=3600)
        listener = Listener()
        task = asyncio.create_task(line.run(listener))
        await listener.until(good)
        bus.unplug()
        with pytest.raises(OSError, match="connection lost"):
            await asyncio.wait_for(task, 2)


async def test_a_dead_device_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with SimulatedBus(simulated(METER)) as bus:
        line = rtu_line(bus, {1: METER, 7: METER}, timeout_s=0.05)
        async with running(line.run):
            await asyncio.sleep(2.5)
    said = [record.message for record in caplog.records if "d7" in record.message]
    assert len(said) == 1
    assert "holding registers 0-9: unit 7: no answer in" in said[0]


@pytest.mark.parametrize("turns", range(0, 40, 2))
async def test_ends_at_once_wherever_it_is_cancelled(turns: int) -> None:
    async with SimulatedBus(simulated(METER), baudrate=115200) as bus:
        task = asyncio.create_task(rtu_line(bus, {1: METER, 2: METER}).run(lambda readings: None))
        for _ in range(turns):
            await asyncio.sleep(0.001 if turns % 4 else 0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.3)
        assert done
        assert task.cancelled()


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("/dev/serial/by-id/usb-none", "no such port: plugged in"),
        ("/dev/null", "cannot open /dev/null: "),
    ],
)
async def test_a_port_that_cannot_be_had_is_said_with_a_way_out(port: str, words: str) -> None:
    async with SimulatedBus(simulated(METER)) as bus:
        bus.port = port
        with pytest.raises(OSError, match=words):
            await rtu_line(bus, {1: METER}).run(lambda readings: None)


async def test_a_port_in_use_is_said() -> None:
    async with (
        SimulatedBus(simulated(METER), baudrate=38400) as bus,
        running(rtu_line(bus, {1: METER}).run) as listener,
    ):
        await listener.until(good)
        with pytest.raises(OSError, match="in use by another program"):
            await rtu_line(bus, {1: METER}).run(lambda readings: None)


async def test_a_port_without_rs485_is_said() -> None:
    async with SimulatedBus(simulated(METER)) as bus:
        with pytest.raises(OSError, match=f"cannot open {bus.port}: .*rs485 = false"):
            await rtu_line(bus, {1: METER}, rs485=True).run(lambda readings: None)


def test_a_port_that_is_forbidden_names_the_group() -> None:
    from agent.drivers.serial_port import way_out

    assert "dialout" in way_out(PermissionError(13, os.strerror(13)), "/dev/ttyUSB0")


async def test_a_silent_block_of_one_device_does_not_hold_up_the_others() -> None:
    """It answers its first registers, and nothing at all to a question for the others."""
    groups = [{"name": "low", "point": row(4)}, {"name": "high", "point": [{"name": "gone", "address": 200}]}]
    odd = profile_of([], group=groups)
    device = SimulatedDevice(odd, 2)
    async with SimulatedBus(simulated(METER, 1), device, baudrate=38400) as bus:
        line = rtu_line(bus, {1: METER, 2: odd}, timeout_s=0.05)
        bus.ignores = lambda unit_id, pdu: pdu[2] == 200
        async with running(line.run) as listener:
            await asyncio.sleep(4)
            healthy = [reading for reading in of_unit(listener, 1) if good(reading)]
            low = [each for each in of_unit(listener, 2) if each.group.name == "low" and good(each)]
    assert len(healthy) >= 33
    assert len(low) >= 10
    assert line.statistics()["devices"]["d2"]["unanswered"] == ["gone"]
    assert line.statistics()["devices"]["d2"]["refused"] == []
