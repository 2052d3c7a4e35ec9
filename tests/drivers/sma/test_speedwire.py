"""The driver on loopback sockets, unicast and multicast, with a real meter's datagram."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.drivers.profile import BUILT_IN
from agent.drivers.sma.datagram import decode
from agent.drivers.sma.speedwire import SmaProfile, SmaSpeedwire, SmaSpeedwireOptions, _rejoin
from agent.model import Quality, Reading
from agent.schema import FaultyFile, read, validate
from tests.conftest import until
from tests.drivers.sma.capture import COUNTERS, DATAGRAM, SERIAL_NUMBER, SUSY_ID, VALUES

NOW_MS = 1_700_000_000_000
PROFILE = read(SmaProfile, BUILT_IN / "sma-energy-meter.toml")
GROUP = "239.12.255.254"


def line(*devices: dict[str, Any], **more: Any) -> SmaSpeedwire:
    devices = devices or ({"name": "meter", "profile": "p"},)
    table = {"driver": "sma-speedwire", "name": "sma", "multicast_group": "", "interface": "127.0.0.1"}
    options = validate(SmaSpeedwireOptions, table | {"device": list(devices)} | more, "config.toml")
    return SmaSpeedwire(options, {"p": PROFILE}, now_s=lambda: NOW_MS / 1000)


def ticked(ticker_ms: int, serial_number: int = SERIAL_NUMBER) -> bytes:
    return DATAGRAM[:20] + serial_number.to_bytes(4, "big") + ticker_ms.to_bytes(4, "big") + DATAGRAM[28:]


@asynccontextmanager
async def listening(driver: SmaSpeedwire) -> AsyncIterator[list[Reading]]:
    heard: list[Reading] = []
    running = asyncio.create_task(driver.run(heard.extend))
    await asyncio.sleep(0.05)
    try:
        yield heard
    finally:
        running.cancel()
        await asyncio.wait([running])


def send(port: int, *datagrams: bytes, host: str = "127.0.0.1") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as meter:
        meter.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        meter.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)  # never leaves this host
        for datagram in datagrams:
            meter.sendto(datagram, (host, port))


def named(reading: Reading) -> dict[str, float]:
    return {point.name: value for point, value in zip(reading.group.points, reading.values, strict=True)}


async def test_unicast(free_port: Callable[..., int]) -> None:
    port = free_port(socket.SOCK_DGRAM)
    driver = line(port=port)
    async with listening(driver) as heard:
        send(port, DATAGRAM)
        await until(lambda: len(heard) == 2)
        fast, slow = heard
        assert (fast.time_ms, fast.quality, fast.group.device.name) == (NOW_MS, Quality.GOOD, "meter")
        values = named(fast)
        assert {name: values[name] for name in VALUES} == VALUES
        assert math.isnan(values["frequency"])
        rest = set(values) - set(VALUES) - {"frequency"}
        assert {values[name] for name in rest} == {0.0}
        assert named(slow) == {name: raw / 3_600_000 for name, raw in COUNTERS.items()}
        assert named(slow)["energy_import"] == pytest.approx(4273.7904)
    assert heard[-1].quality is Quality.BAD


async def test_multicast_on_a_chosen_interface(free_port: Callable[..., int]) -> None:
    port = free_port(socket.SOCK_DGRAM)
    driver = line(port=port, multicast_group=GROUP, interface="lo")
    async with listening(driver) as heard:
        send(port, DATAGRAM, host=GROUP)
        await until(lambda: heard)
        assert named(heard[0])["active_power"] == 634.7


async def test_a_group_that_others_joined_is_not_ours(free_port: Callable[..., int]) -> None:
    port = free_port(socket.SOCK_DGRAM)
    driver = line(port=port, multicast_group=GROUP, interface="lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(
            socket.IPPROTO_IP,
            socket.IP_ADD_MEMBERSHIP,
            socket.inet_aton("239.1.2.3") + socket.inet_aton("127.0.0.1"),
        )
        async with listening(driver):
            send(port, DATAGRAM, host="239.1.2.3")
            send(port, ticked(5), host=GROUP)
            await until(lambda: driver.counters["datagrams"])
            await asyncio.sleep(0.1)
            assert driver.counters["datagrams"] == 1


async def test_what_is_not_a_known_meters_is_counted_and_said_once(
    free_port: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port(socket.SOCK_DGRAM)
    device = {"name": "meter", "profile": "p", "serial_number": SERIAL_NUMBER, "susy_id": SUSY_ID}
    driver = line(device, port=port)
    inverter = DATAGRAM[:16] + bytes.fromhex("6065") + DATAGRAM[18:]
    async with listening(driver) as heard:
        send(port, b"hello", DATAGRAM[:300], inverter, ticked(1, serial_number=7), ticked(2, serial_number=8))
        send(port, DATAGRAM, DATAGRAM)
        await until(lambda: driver.counters["repeated"])
        assert len(heard) == 2
    assert driver.counters == {
        "datagrams": 7, "malformed": 2, "other_protocol": 1, "unknown_device": 2, "repeated": 1
    }  # fmt: skip
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert any("found serial_number = 7, susy_id = 349" in text for text in warnings)


async def test_a_silent_meter_is_published_as_bad_and_the_group_joined_anew(
    free_port: Callable[..., int],
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    device = {"name": "meter", "profile": "p", "silence_s": 1}
    driver = line(device, port=port, multicast_group=GROUP, interface="127.0.0.1")
    async with listening(driver) as heard:
        await until(lambda: heard, 5)
        assert [reading.quality for reading in heard] == [Quality.BAD, Quality.BAD]
        send(port, DATAGRAM, host=GROUP)
        await until(lambda: heard[-1].quality is Quality.GOOD)


async def test_a_group_that_a_switch_forgot_is_joined_anew_once_per_silence(
    free_port: Callable[..., int],
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    joined: list[socket.socket] = []
    device = {"name": "meter", "profile": "p", "silence_s": 1}
    table = {"driver": "sma-speedwire", "name": "sma", "multicast_group": GROUP, "interface": "127.0.0.1"}
    options = validate(SmaSpeedwireOptions, table | {"port": port, "device": [device]}, "config.toml")
    driver = SmaSpeedwire(options, {"p": PROFILE}, rejoin=lambda used, _: joined.append(used))
    async with listening(driver) as heard:
        await until(lambda: joined, 5)
        assert len(heard) == 2
        request = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
        joined[0].setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, request)  # nothing comes now
        send(port, ticked(1), host=GROUP)
        await asyncio.sleep(0.1)
        assert len(heard) == 2
        joined[0].setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        _rejoin(joined[0], options)
        send(port, ticked(2), host=GROUP)
        await until(lambda: len(heard) == 4)
    assert len(joined) == 1


def test_groups_keep_their_own_grid_and_the_ticker_is_no_time() -> None:
    driver = line()
    fast, slow = driver.groups
    counts = {fast: 0, slow: 0}
    for second in range(100):
        ticker_ms = (0xFFFFFFFF - 3000 + second * 1000) & 0xFFFFFFFF  # wraps, and nobody minds
        for reading in driver.readings(decode(ticked(ticker_ms)), 1000 + second + 0.01 * (second % 3)):
            counts[reading.group] += 1
            assert reading.time_ms == NOW_MS
    assert counts == {fast: 100, slow: 10}


def test_meters_are_told_apart_by_their_numbers() -> None:
    devices = [
        {"name": "old", "profile": "p", "serial_number": 5},
        {"name": "em2", "profile": "p", "susy_id": SUSY_ID},
        {"name": "both", "profile": "p", "serial_number": 9, "susy_id": SUSY_ID},
    ]
    driver = line(*devices)

    def meter(serial_number: int) -> str:
        return driver.readings(decode(ticked(1, serial_number)), 1.0)[0].group.device.name

    assert (meter(5), meter(9), meter(10)) == ("old", "both", "em2")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"multicast_group": "192.0.2.1"}, "expected a group from 224.0.0.0 to 239.255.255.255"),
        ({"multicast_group": "lan"}, "expected an IPv4 address, found 'lan'"),
        (
            {"device": [{"name": "a", "profile": "p"}, {"name": "b", "profile": "p", "serial_number": 5}]},
            "expected a serial_number of its own",
        ),
    ],
)
def test_faulty_options(more: dict[str, Any], words: str) -> None:
    with pytest.raises(FaultyFile, match=words):
        line(**more)


async def test_no_such_interface_names_those_that_are() -> None:
    with pytest.raises(OSError, match=r"interface eth77: no such interface.*known: .*lo"):
        await line(multicast_group=GROUP, interface="eth77").run(lambda _: None)
    with pytest.raises(OSError, match=r"cannot join 239.12.255.254 on interface 192\.0\.2\.77"):
        await line(multicast_group=GROUP, interface="192.0.2.77", port=19522).run(lambda _: None)
