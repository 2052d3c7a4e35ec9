"""The UDP line on a real socket: what modules send, well and badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.udp import JsonProfile, UdpJson, UdpJsonOptions
from agent.model import Quality, Reading
from tests.conftest import until

NOW_MS = 1_700_000_000_000
PROFILE = JsonProfile.model_validate(
    {
        "driver": "udp-json",
        "title": "test",
        "source": ["test"],
        "group": [
            {
                "name": "all",
                "point": [{"name": "temperature", "unit": "°C", "key": "t"}, {"name": "humidity"}],
            }
        ],
    }
)


def line(port: int = 9, **more: object) -> UdpJson:
    device = {"name": "room", "profile": "p", "id": "mod-1", **more}
    options = {"driver": "udp-json", "name": "wifi", "host": "127.0.0.1", "port": port, "device": [device]}
    return UdpJson(UdpJsonOptions.model_validate(options), {"p": PROFILE}, now_s=lambda: NOW_MS / 1000)


class Module:
    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))

    def send(self, data: bytes | None = None, **message: object) -> None:
        whole = {"id": "mod-1", "seq": 1, "ts": NOW_MS, "values": {"t": 21.5, "humidity": 40}} | message
        self._socket.send(data if data is not None else json.dumps(whole).encode())

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def listening(driver: UdpJson, port: int) -> AsyncIterator[tuple[Module, list[Reading]]]:
    heard: list[Reading] = []
    running = asyncio.create_task(driver.run(heard.extend))
    await asyncio.sleep(0.05)
    module = Module(port)
    try:
        yield module, heard
    finally:
        module.close()
        running.cancel()
        await asyncio.wait([running])


async def test_a_datagram_is_a_reading(free_port: Callable[..., int]) -> None:
    port = free_port(socket.SOCK_DGRAM)
    driver = line(port)
    async with listening(driver, port) as (module, heard):
        module.send(ts=NOW_MS - 1234, values={"t": 21.5, "humidity": True})
        await until(lambda: heard)
    (reading,) = heard
    assert reading == (driver.groups[0], NOW_MS - 1234, [21.5, 1.0], Quality.GOOD)


BAD = {
    "malformed": [
        b"", b"hello", b"[1]", b"{", b"\xff\xfe", b'{"id": 5, "seq": 1, "values": {}}',
        b'{"id": "mod-1", "values": {}}', b'{"id": "mod-1", "seq": -1, "values": {}}',
        b'{"id": "mod-1", "seq": true, "values": {}}', b'{"id": "mod-1", "seq": 1, "values": [1]}',
        b'{"id": "mod-1", "seq": 1, "values": {"t": "21"}}',
        b'{"id": "mod-1", "seq": 1, "values": {"t": NaN}}',
        b'{"id": "mod-1", "seq": 1, "ts": 1.5, "values": {}}', b'{"id":"mod-1","seq":1,"values":{"t":1e999}}',
        b'{"id": "mod-1", "seq": 1, "values": {"t": 1}}' + b" " * 9000,
    ],
    "unknown_device": [b'{"id": "mod-2", "seq": 1, "values": {}}'],
}  # fmt: skip


async def test_bad_datagrams_are_counted_said_once_and_harm_nobody(
    free_port: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port(socket.SOCK_DGRAM)
    driver = line(port)
    async with listening(driver, port) as (module, heard):
        for data in [data for each in BAD.values() for data in each]:
            module.send(data)
        module.send()
        await until(lambda: heard)
    assert len(heard) == 1
    assert {name: driver.counters[name] for name in BAD} == {name: len(each) for name, each in BAD.items()}
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert any("expected the id of a device (mod-1), found 'mod-2'" in text for text in warnings)


async def test_repeats_are_dropped_gaps_counted_and_a_restart_is_no_loss() -> None:
    driver = line()

    def send(seq: int, ts: int = NOW_MS) -> Reading | None:
        try:
            return driver.decode(json.dumps({"id": "mod-1", "seq": seq, "ts": ts, "values": {}}).encode())
        except ValueError:
            return None

    assert send(10)
    assert send(10) is None
    assert send(11)
    assert send(15)
    assert driver.counters["lost"] == 3
    assert send(1, NOW_MS + 5)  # restarted
    assert send(10, NOW_MS + 6)  # the same number, another sample
    assert driver.counters["lost"] == 3 + 8


async def test_an_unknown_value_is_left_out_and_a_missing_one_is_nan() -> None:
    driver = line()
    reading = driver.decode(b'{"id": "mod-1", "seq": 1, "values": {"t": 20, "volt": 3}}')
    assert reading.values[0] == 20.0
    assert math.isnan(reading.values[1])
    assert reading.time_ms == NOW_MS
    assert driver.counters["unknown_key"] == 1


async def test_a_wrong_clock_does_not_date_a_reading() -> None:
    reading = line().decode(b'{"id": "mod-1", "seq": 1, "ts": 1000, "values": {"t": 20}}')
    assert (reading.time_ms, reading.quality) == (NOW_MS, Quality.UNCERTAIN)


async def test_a_silent_module_is_published_as_bad(free_port: Callable[..., int]) -> None:
    port = free_port(socket.SOCK_DGRAM)
    async with listening(line(port, silence_s=1), port) as (_, heard):
        await until(lambda: heard, 5)
    assert heard[0].quality is Quality.BAD


async def test_a_taken_port_is_an_os_error(free_port: Callable[..., int]) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        with pytest.raises(OSError, match="in use"):
            await line(port).run(lambda _: None)


@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "seq", "ts", "values", "t"]), inner, max_size=5),
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
async def test_no_bytes_make_the_decoder_fail_otherwise(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        line().decode(data)
