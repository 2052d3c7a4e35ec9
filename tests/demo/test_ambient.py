"""The simulated ambient module, heard by our own UDP driver."""

import asyncio
import math
import time

from agent.demo.ambient import AmbientModule
from agent.drivers.profile import find
from agent.drivers.udp import JsonProfile, UdpJson, UdpJsonOptions
from agent.schema import read

from .listening import by_point, free_udp_port, running

VALUES = {"temperature": 23.47, "humidity": 61.2, "co2": 612, "battery": 3.31}


def driver(port: int) -> UdpJson:
    options = {
        "driver": "udp-json",
        "name": "wifi",
        "host": "127.0.0.1",
        "port": port,
        "device": [{"name": "room", "profile": "ambient", "id": "room-101"}],
    }
    profile = read(JsonProfile, find("ambient-json", ()))
    return UdpJson(UdpJsonOptions.model_validate(options), {"ambient": profile})


async def test_values_and_time_arrive_exactly() -> None:
    port, ts = free_udp_port(), round(time.time() * 1000) - 1234
    with AmbientModule("room-101", port=port) as module:
        async with running(driver(port).run) as listener:
            await asyncio.sleep(0.1)
            module.send(VALUES, ts)
            reading = await listener.until(lambda reading: True)
            assert reading.time_ms == ts
            assert by_point(reading) == {
                "temperature": 23.47, "humidity": 61.2, "co2": 612, "battery_voltage": 3.31,
            }  # fmt: skip
            module.send({"temperature": None})
            partial = await listener.until(lambda reading: True)
            assert all(map(math.isnan, partial.values))
            assert abs(partial.time_ms - time.time() * 1000) < 2000
    assert module.seq == 2


async def test_what_is_not_a_sample_is_counted_not_published() -> None:
    port = free_udp_port()
    heard = driver(port)
    with AmbientModule("room-102", port=port) as stranger, AmbientModule("room-101", port=port) as module:
        async with running(heard.run) as listener:
            await asyncio.sleep(0.1)
            stranger.send(VALUES)
            module.send_bytes(b"hello")
            module.send(VALUES)
            await listener.until(lambda reading: True)
    assert len(listener.readings) == 1
    assert heard.counters["unknown_device"] == heard.counters["malformed"] == 1


def test_nobody_listening_is_no_error() -> None:
    with AmbientModule("room-101", port=free_udp_port()) as module:
        module.send(VALUES)
        module.send(VALUES)
