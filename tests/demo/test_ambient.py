"""The simulated ambient module, heard by our own UDP driver."""

import asyncio
import math
import time
from pathlib import Path

from agent.demo.ambient import AmbientModule, demo_key
from agent.drivers.profile import find
from agent.drivers.udp import UdpModules, UdpOptions, UdpProfile
from agent.schema import read

from .listening import by_point, free_udp_port, running

VALUES = {"temperature": 23.47, "humidity": 61.2, "co2": 612, "battery": 3.31}


def driver(port: int, folder: Path) -> UdpModules:
    keys = folder / "modules.keys"
    keys.write_text(f"room-101 {demo_key('room-101').hex()}\n", encoding="utf-8")
    options = {
        "driver": "udp",
        "key_file": keys,
        "name": "wifi",
        "host": "127.0.0.1",
        "port": port,
        "device": [{"name": "room", "profile": "ambient", "id": "room-101"}],
    }
    profile = read(UdpProfile, find("ambient", ()))
    return UdpModules(UdpOptions.model_validate(options), {"ambient": profile}, folder)


async def test_values_and_time_arrive_exactly(tmp_path: Path) -> None:
    port, ts = free_udp_port(), round(time.time() * 1000) - 1234
    with AmbientModule("room-101", port=port) as module:
        async with running(driver(port, tmp_path).run) as listener:
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


async def test_what_is_not_a_sample_is_counted_not_published(tmp_path: Path) -> None:
    port = free_udp_port()
    heard = driver(port, tmp_path)
    with AmbientModule("room-102", port=port) as stranger, AmbientModule("room-101", port=port) as module:
        async with running(heard.run) as listener:
            await asyncio.sleep(0.1)
            stranger.send(VALUES)
            module.send_bytes(b"hello")
            module.send(VALUES)
            await listener.until(lambda reading: True)
    assert len(listener.readings) == 1
    assert heard.counters["unknown_key"] == heard.counters["malformed"] == 1


def test_nobody_listening_is_no_error() -> None:
    with AmbientModule("room-101", port=free_udp_port()) as module:
        module.send(VALUES)
        module.send(VALUES)
