"""The TCP line: splitting, quarantine, gateways, hung peers, statistics, cancellation."""

import asyncio
import contextlib
import itertools
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from agent.demo.modbus_device import SimulatedDevice
from agent.demo.modbus_line import SimulatedLine
from agent.drivers.modbus.driver import ModbusLine
from agent.drivers.modbus.frame import crc16
from agent.drivers.modbus.options import ModbusRtuTcpOptions, ModbusTcpOptions
from agent.drivers.modbus.profile import ModbusProfile
from agent.model import Quality, Reading
from tests.conftest import until
from tests.demo.listening import Listener, by_point, end, running

from .lines import devices, profile_of, row, simulated, tcp_line

Answer = Callable[[bytes], Awaitable[bytes]]
WIDE = profile_of(row(40))


def good(reading: Reading) -> bool:
    return reading.quality is Quality.GOOD


@contextlib.asynccontextmanager
async def peer(answer: Answer) -> AsyncIterator[tuple[str, int]]:
    """A TCP server of a few lines, for what no decent server does: `answer(request)` gives its bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(await answer(data))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()


def line_to(host: str, port: int, profile: ModbusProfile, **options: object) -> ModbusLine:
    config = {"driver": "modbus-tcp", "name": "tcp", "host": host, "port": port, "timeout_s": 0.2}
    config["device"] = devices({1: profile}, 0.1)
    return ModbusLine(ModbusTcpOptions.model_validate(config | options), {"p1": profile})


async def test_a_hole_costs_only_itself_and_few_requests() -> None:
    device = simulated(WIDE)
    device.refuse("r7", "r30")
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: WIDE})
        async with running(driver.run) as listener:
            for _ in range(3):
                reading = await listener.until(lambda reading: True)
            asked = device.requests
            await listener.until(lambda reading: True)
            await listener.until(lambda reading: True)
            assert device.requests - asked in (6, 7)  # 0-6, 8-29, 31-39, twice
        values = by_point(reading)
        assert reading.quality is Quality.UNCERTAIN
        assert {point for point, value in values.items() if math.isnan(value)} == {"r7", "r30"}
        assert values["r8"] == 9
        assert sorted(driver.statistics()["devices"]["d1"]["refused"]) == ["r30", "r7"]


async def test_a_device_that_takes_less_at_once_than_its_profile_says_loses_nothing() -> None:
    strict = WIDE.model_copy(update={"max_registers": 12})
    device = simulated(strict)
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: WIDE})
        async with running(driver.run) as listener:
            reading = await listener.until(good)
            asked = device.requests
            await listener.until(good)
            assert device.requests - asked == 4  # 10 registers each, as halving found
        assert by_point(reading)["r39"] == 40
        assert driver.counters["exceptions"] == 3


async def test_a_hole_between_values_is_not_read_again() -> None:
    """The profile allows filling a hole that the device refuses: two requests then, nothing lost."""
    points = [{"name": "r0", "address": 0}, {"name": "r1", "address": 5}]
    strict, generous = profile_of(points), profile_of(points, max_gap=10)
    device = simulated(strict)
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: generous})
        async with running(driver.run) as listener:
            reading = await listener.until(good)
        assert by_point(reading) == {"r0": 1, "r1": 2}
        assert driver.counters["exceptions"] == 1


async def test_a_device_that_refuses_everything_is_alive_and_bad() -> None:
    device = simulated(WIDE)
    device.refuse(*device.points)
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: WIDE})
        async with running(driver.run) as listener:
            await asyncio.sleep(1)
            assert {reading.quality for reading in listener.readings} == {Quality.BAD}
            asked = device.requests
            await asyncio.sleep(0.5)
            assert device.requests == asked  # all shelved
            assert driver.statistics()["devices"]["d1"]["silent"] == 0


async def test_a_scale_register_is_read_with_its_values() -> None:
    points = [
        {"name": "power", "address": 10, "type": "s16", "scale_register": 12},
        {"name": "energy", "address": 13, "type": "u32", "scale_register": 30},
        {"name": "plain", "address": 11},
    ]
    profile = profile_of(points)
    device = SimulatedDevice(profile)
    device.set_registers("holding", 12, [0xFFFF])  # 10^-1
    device.set_registers("holding", 30, [2])
    device.update({"power": -230.1, "energy": 4200.0, "plain": 5})
    async with SimulatedLine(device) as line, running(tcp_line(line, {1: profile}).run) as listener:
        assert by_point(await listener.until(good)) == {"power": -230.1, "energy": 4200.0, "plain": 5}
        device.set_registers("holding", 12, [0x8000])  # SunSpec: not implemented
        reading = await listener.until(lambda reading: math.isnan(by_point(reading)["power"]))
        assert by_point(reading)["energy"] == 4200.0


async def test_bits_and_bit_fields() -> None:
    points = [
        {"name": "pump", "table": "coil", "address": 17},
        {"name": "door", "table": "discrete", "address": 3},
        {"name": "fan", "address": 2, "mask": 0x7000},
        {"name": "on", "address": 2, "bit": 0},
        {"name": "flag", "address": 4, "type": "bool"},
    ]
    profile = profile_of(points)
    device = SimulatedDevice(profile)
    wanted = {"pump": 1.0, "door": 1.0, "fan": 5.0, "on": 1.0, "flag": 1.0}
    device.update(wanted)
    async with SimulatedLine(device) as line, running(tcp_line(line, {1: profile}).run) as listener:
        assert by_point(await listener.until(good)) == wanted
        device.update({"on": 0, "pump": 0})
        await listener.until(lambda reading: by_point(reading) == wanted | {"on": 0.0, "pump": 0.0})


async def test_behind_a_gateway_a_missing_device_rests_and_the_others_go_on() -> None:
    async with SimulatedLine(simulated(WIDE, 1), simulated(WIDE, 2)) as line:
        driver = tcp_line(line, dict.fromkeys((1, 2, 9), WIDE))
        async with running(driver.run) as listener:
            await asyncio.sleep(2.0)
            counts = [
                len([each for each in listener.readings if each.group.device.name == name and good(each)])
                for name in ("d1", "d2", "d9")
            ]
        assert counts[0] >= 17
        assert counts[1] >= 17
        assert counts[2] == 0
        assert driver.statistics()["devices"]["d9"]["timeouts"] == 2  # exception 11: at 0 s and 1 s


async def test_a_silent_block_of_a_living_device_is_left_alone_ever_longer() -> None:
    """Some devices do not answer at all where others refuse."""
    profile = profile_of([{"name": "r0", "address": 0}, {"name": "gone", "address": 100}])

    async def answer(request: bytes) -> bytes:
        await asyncio.sleep(0)
        return b"" if request[9] == 100 else request[:4] + bytes((0, 5, 1, 3, 2, 0, 7))

    async with peer(answer) as (host, port):
        driver = line_to(host, port, profile)
        async with running(driver.run) as listener:
            await asyncio.sleep(3)
            readings = [reading for reading in listener.readings if reading.quality is Quality.UNCERTAIN]
        assert len(readings) >= 15
        assert driver.counters["timeouts"] <= 4
        device = driver.statistics()["devices"]["d1"]
        assert (device["unanswered"], device["refused"]) == (["gone"], [])


async def test_older_answers_on_tcp_are_dropped() -> None:
    held: list[bytes] = []

    async def answer(request: bytes) -> bytes:
        """Each answer comes one request late, before the right one."""
        right = request[:4] + bytes((0, 5, 1, 3, 2, 0, request[1]))
        held.append(right)
        await asyncio.sleep(0)
        return held[-2] + right if len(held) > 1 else b""

    async with peer(answer) as (host, port):
        driver = line_to(host, port, profile_of(row(1)))
        async with running(driver.run) as listener:
            for _ in range(5):
                reading = await listener.until(good)
                assert by_point(reading)["r0"] == held[-1][-1]


async def test_a_hung_peer_is_connected_to_anew() -> None:
    async def answer(request: bytes) -> bytes:
        await asyncio.sleep(0)
        return b""

    async with peer(answer) as (host, port):
        driver = line_to(host, port, WIDE, timeout_s=0.05)
        with pytest.raises(ConnectionError, match="no answer to 3 requests in a row"):
            await asyncio.wait_for(driver.run(lambda readings: None), 10)


async def test_a_peer_that_speaks_something_else_is_said() -> None:
    async def answer(request: bytes) -> bytes:
        await asyncio.sleep(0)
        return b"HTTP/1.1 400 Bad Request\r\n\r\n"

    async with peer(answer) as (host, port):
        with pytest.raises(ConnectionError, match="expected Modbus TCP, found 48 54 54 50"):
            await asyncio.wait_for(line_to(host, port, WIDE).run(lambda readings: None), 5)


async def test_an_answer_of_the_wrong_length_is_counted_and_not_used() -> None:
    async def answer(request: bytes) -> bytes:
        await asyncio.sleep(0)
        return request[:4] + bytes((0, 5, 1, 3, 2, 0, 7))

    async with peer(answer) as (host, port):
        driver = line_to(host, port, profile_of(row(2)))
        async with running(driver.run) as listener:
            reading = await listener.until(lambda reading: True)
        assert reading.quality is Quality.BAD
        assert driver.counters["malformed"] >= 1
        assert driver.counters["timeouts"] == 0


async def test_rtu_over_tcp() -> None:
    frame = bytes.fromhex("01 04 04 43 69 69 78 10 6E")  # device-facts 10, with its 00s

    async def answer(request: bytes) -> bytes:
        assert request == bytes.fromhex("01 04 00 00 00 02 71 CB")  # device-facts 6
        await asyncio.sleep(0)
        return b"\x00" + frame + b"\x00"

    profile = profile_of([{"name": "voltage", "address": 0, "type": "f32"}], table="input")
    async with peer(answer) as (host, port):
        config = {"driver": "modbus-rtu-tcp", "name": "rtu", "host": host, "port": port}
        config["device"] = devices({1: profile}, 0.1)
        driver = ModbusLine(ModbusRtuTcpOptions.model_validate(config), {"p1": profile})
        async with running(driver.run) as listener:
            assert by_point(await listener.until(good))["voltage"] == pytest.approx(233.41, abs=0.01)


async def test_delays_are_kept() -> None:
    times: list[float] = []

    async def answer(request: bytes) -> bytes:
        times.append(time.monotonic())
        await asyncio.sleep(0)
        return request[:4] + bytes((0, 5, 1, 3, 2, 0, 7))

    profile = profile_of([{"name": f"r{at}", "address": 10 * at} for at in range(4)])
    async with peer(answer) as (host, port):
        started_s = time.monotonic()
        driver = line_to(host, port, profile, delay_ms=50.0, connect_delay_ms=100.0)
        async with running(driver.run) as listener:
            await listener.until(good)
        assert times[0] - started_s >= 0.1
        assert min(b - a for a, b in itertools.pairwise(times[:4])) >= 0.049
        times.clear()
        slow = profile.model_copy(update={"delay_ms": 40.0})
        async with running(line_to(host, port, slow).run) as listener:
            await listener.until(good)
        assert min(b - a for a, b in itertools.pairwise(times[:4])) >= 0.039


async def test_statistics_are_plain_data() -> None:
    async with SimulatedLine(simulated(WIDE)) as line:
        driver = tcp_line(line, {1: WIDE})
        assert driver.statistics()["down"] == "not connected yet"
        async with running(driver.run) as listener:
            for _ in range(4):
                await listener.until(good)
            found = json.loads(json.dumps(driver.statistics()))
        assert found["connected"]
        assert found["stretch"] == 1.0
        assert 0 <= found["busy"] < 0.5
        device = found["devices"]["d1"]
        assert device["requests"] >= 4
        assert 0 < device["response_ms"]["p50"] <= device["response_ms"]["max"] < 300
        assert driver.statistics()["down"].startswith("not connected") or not driver.statistics()["connected"]


async def test_learning_starts_anew_with_each_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    device = simulated(WIDE)
    device.refuse("r7")
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: WIDE})
        async with running(driver.run) as listener:
            await listener.until(lambda reading: reading.quality is Quality.UNCERTAIN)
        device.refuse()
        async with running(driver.run) as listener:
            await listener.until(good)
    assert [record.message for record in caplog.records if "r7" in record.message] == [
        "device d1: holding register 7 (r7): exception 2, illegal data address; its neighbours go on,"
        " asked again in 600 s"
    ]


async def test_nobody_listens() -> None:
    async with SimulatedLine(simulated(WIDE)) as line:
        pass
    listener = Listener()
    with pytest.raises(ConnectionError, match=rf"cannot connect to 127.0.0.1:{line.port}: .*is it powered"):
        await tcp_line(line, {1: WIDE}).run(listener)
    assert [reading.quality for reading in listener.readings] == [Quality.BAD]


@pytest.mark.parametrize("turns", range(24))
async def test_ends_at_once_wherever_it_is_cancelled(turns: int) -> None:
    async with SimulatedLine(simulated(WIDE)) as line:
        task = asyncio.create_task(tcp_line(line, {1: WIDE}).run(lambda readings: None))
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 2 else 0.002)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.3)
        await end(task)
        assert done
        assert task.cancelled()


async def test_an_answer_with_another_unit_id_is_a_stray_and_said(caplog: pytest.LogCaptureFixture) -> None:
    profile = profile_of(row(1))

    async def answer(request: bytes) -> bytes:
        return request[:4] + bytes((0, 5, 9, 3, 2, 0, 7))

    async with peer(answer) as (host, port):
        driver = line_to(host, port, profile)
        async with running(driver.run):
            await until(lambda: driver.counters["strays"] >= 1)
    assert driver.counters["timeouts"] == 0
    assert driver.statistics()["devices"]["d1"]["strays"] >= 1
    assert "only one with another unit or transaction id" in caplog.text


async def test_a_late_device_is_not_booked_as_errors_of_a_healthy_one() -> None:
    """What comes is whole, and of unit 2: no CRC failed."""
    profile = profile_of(row(1))

    async def answer(_: bytes) -> bytes:
        frame = bytes((2, 3, 2, 0, 7))
        return frame + crc16(frame).to_bytes(2, "little")

    async with peer(answer) as (host, port):
        config = {"driver": "modbus-rtu-tcp", "name": "bus", "host": host, "port": port, "timeout_s": 0.2}
        config["device"] = devices({1: profile}, 0.1)
        driver = ModbusLine(ModbusRtuTcpOptions.model_validate(config), {"p1": profile})
        async with running(driver.run):
            await until(lambda: driver.counters["strays"] >= 2)  # it is asked once more, as after noise
    assert driver.counters["crc_errors"] == 0


async def test_a_write_goes_before_a_read_that_waits_already() -> None:
    """While one write is under way the next read waits; a second write comes after it, and is first."""
    profile = profile_of([*row(4), {"name": "w", "address": 9, "writable": True, "on_silence": "keeps it"}])
    device = simulated(profile, writable=["w"])
    asked: list[int] = []
    async with SimulatedLine(device) as line:
        driver = tcp_line(line, {1: profile}, interval_s=0.05, timeout_s=2.0)
        driver.tap(lambda _, question, __: asked.append(question[0]))
        async with running(driver.run):
            await until(lambda: len(asked) > 2)
            device.latency_s = 0.3
            first = asyncio.create_task(driver.write("d1", "w", 1))
            await until(lambda: driver._link is not None and bool(driver._link.turns._waiting[1]))
            second = asyncio.create_task(driver.write("d1", "w", 2))
            await asyncio.gather(first, second)
            await until(lambda: asked[-1] == 3)
    at = asked.index(6)
    assert asked[at : at + 3] == [6, 6, 3]
