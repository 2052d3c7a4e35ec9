"""Searches by REST, on a whole running agent: a network and a serial port, with lines that go on or rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.client import Answered
from agent.demo.modbus_bus import SimulatedBus
from agent.demo.modbus_device import SimulatedDevice
from agent.demo.modbus_line import SimulatedLine
from agent.scanning import Scans
from tests.commands.running import meter, recognisable
from tests.server.test_setting import Running, agent


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    two = SimulatedDevice("eastron-sdm630", 1), SimulatedDevice("eastron-sdm630", 1)
    async with agent(tmp_path / "config.toml", *two) as found:
        yield found


async def ask(running: Running, method: str, path: str, body: Any = None) -> Any:
    url = f"{running.service.url}/api/v1/scans{path}"
    async with running.client.http.request(method, url, headers=running.client.headers, json=body) as reply:
        found = await reply.json()
        if reply.status >= 400:
            raise Answered(reply.status, found["error"], found["error_description"])
        return found


async def begin_bus(running: Running, bus: SimulatedBus, **device: float) -> None:
    """A line on a port that only the file on the box may name, taken up with a change by REST."""
    line = f'[[line]]\nname = "bus"\ndriver = "modbus-rtu"\nport = "{bus.port}"\n'
    line += '[[line.device]]\nname = "meter-bus"\nprofile = "eastron-sdm630"\n'
    line += "".join(f"{key} = {value}\n" for key, value in device.items())
    with running.file.open("a", encoding="utf-8") as file:
        file.write(line)
    await running.change("PUT", "/lines/bus", {"driver": "modbus-rtu", "port": bus.port})


async def ended(running: Running, scan: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while scan["state"] == "running":
            await asyncio.sleep(0.05)
            scan = await ask(running, "GET", f"/{scan['id']}")
    return scan


async def connected(running: Running) -> dict[str, bool]:
    lines = (await running.client.get("/api/v1/lines"))["lines"]
    return {each["name"]: each["connected"] for each in lines}


async def test_a_network_is_searched_while_the_lines_go_on(running: Running) -> None:
    async with SimulatedLine(recognisable(meter(3))) as line:
        order = {"network": "127.0.0.1/32", "port": line.port, "units": [1, 3], "wait_ms": 100}
        scan = await ask(running, "POST", "/tcp", order)
        assert (scan["kind"], scan["by"], scan["state"]) == ("tcp", "ana", "running")
        with pytest.raises(Answered) as refused:
            await ask(running, "POST", "/tcp", order)
        assert (refused.value.status, refused.value.code) == (409, "busy")
        scan = await ended(running, scan)
    assert scan["state"] == "done", scan
    (found,) = scan["found"]
    assert (found["unit_id"], found["profiles"][0]["profile"]) == (3, "eastron-sdm630")
    assert 'profile = "eastron-sdm630"' in scan["toml"]
    assert (await ask(running, "GET", ""))["scans"] == [scan]


async def test_the_centre_searches_by_the_same_door(running: Running, tmp_path: Path) -> None:
    async with (
        SimulatedLine(recognisable(meter(3))) as line,
        Scans(running.service.field.lines, tmp_path / "profiles", time.time) as scans,
    ):
        assert await scans.rescan(None) == {"state": "none", "found": []}
        order = {"network": "127.0.0.1/32", "port": line.port, "units": [3], "wait_ms": 100}
        scan = await scans.rescan(order)
        with pytest.raises(ValueError, match="search 1 is running"):
            await scans.rescan(order)
        async with asyncio.timeout(60):
            while scan["state"] == "running":
                await asyncio.sleep(0.05)
                scan = await scans.rescan({})
        assert (scan["state"], scan["found_count"]) == ("done", 1)
        assert [each["profiles"][0]["profile"] for each in scan["found"]] == ["eastron-sdm630"]
        for wrong, words in (
            ({"network": "8.8.8.0/24"}, "private"),
            ({"port": "/etc/passwd"}, "port"),
            ("all", "TcpScan"),
        ):
            with pytest.raises(ValueError, match=words):
                await scans.rescan(wrong)


async def test_a_host_that_a_line_talks_to_is_left_alone(running: Running) -> None:
    one = (await running.client.get("/api/v1/config/lines"))["lines"][0]["port"]
    order = {"network": "127.0.0.1", "port": one, "units": [1], "wait_ms": 100}
    scan = await ended(running, await ask(running, "POST", "/tcp", order))
    assert (scan["skipped"], scan["found"]) == ({"127.0.0.1": "one"}, [])
    scan = await ended(running, await ask(running, "POST", "/tcp", order | {"pause": True}))
    assert (scan["state"], scan["skipped"], scan["resting"]) == ("done", {}, ["one"])
    assert [each["unit_id"] for each in scan["found"]] == [1]
    async with asyncio.timeout(10):
        while not all((await connected(running)).values()):
            await asyncio.sleep(0.05)


async def test_a_line_rests_while_its_port_is_searched(running: Running) -> None:
    async with SimulatedBus(recognisable(meter(2)), recognisable(meter(4))) as bus:
        await begin_bus(running, bus, unit_id=2, interval_s=0.2)
        async with running.client.talk() as talk:
            await talk.subscribe(["meter-bus.*"], mode="every")
            heard: list[str] = []

            async def listen() -> None:
                async for message in talk:
                    heard.extend(each["quality"] for each in message.get("readings", ()))

            listening = asyncio.create_task(listen())
            await until_heard(heard, "good")
            order = {"port": bus.port, "baudrates": [9600], "units": [2, 4]}
            with pytest.raises(Answered) as refused:
                await ask(running, "POST", "/rtu", order)
            assert (refused.value.status, refused.value.code) == (409, "port_in_use")
            assert "line bus reads" in str(refused.value)
            scan = await ask(running, "POST", "/rtu", order | {"pause": True})
            await until_heard(heard, "bad")
            scan = await ended(running, scan)
            assert (scan["state"], scan["resting"]) == ("done", ["bus"]), scan
            assert {each["unit_id"] for each in scan["found"]} == {2, 4}
            heard.clear()
            await until_heard(heard, "good")
            listening.cancel()


async def until_heard(heard: list[str], quality: str) -> None:
    async with asyncio.timeout(20):
        while quality not in heard:
            await asyncio.sleep(0.02)


async def test_a_search_is_cancelled_and_keeps_what_it_found(running: Running) -> None:
    async with SimulatedBus(recognisable(meter(1))) as bus:
        await begin_bus(running, bus, unit_id=1)
        # Would take minutes. A busy machine answers within this wait too, and what is found is known only
        # after some twenty questions that time out.
        order = {"port": bus.port, "pause": True, "baudrates": [9600], "wait_ms": 400}
        scan = await ask(running, "POST", "/rtu", order)
        async with asyncio.timeout(60):
            while not scan["found"]:
                await asyncio.sleep(0.05)
                scan = await ask(running, "GET", f"/{scan['id']}")
        assert scan["left_s"] > 60
        assert ", unit " in scan["asking"]
        assert not (await connected(running))["bus"]
        scan = await ask(running, "DELETE", f"/{scan['id']}")
        assert (scan["state"], len(scan["found"]), scan["left_s"]) == ("cancelled", 1, 0.0)
        async with asyncio.timeout(60):
            while not (await connected(running))["bus"]:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("POST", "/tcp", {"network": "8.8.8.0/24"}, (400, "expected private addresses")),
        ("POST", "/tcp", {"network": "10.0.0.0/8"}, (400, "at most 4096 addresses")),
        ("POST", "/tcp", {"network": "the office"}, (400, "expected a network like")),
        ("POST", "/tcp", {"network": "10.0.0.0/24", "units": [256]}, (400, "units.0")),
        ("POST", "/rtu", {"port": "/etc/passwd"}, (400, "expected a serial port")),
        ("POST", "/rtu", {"port": "/dev/sda"}, (400, "expected a serial port")),
        ("POST", "/rtu", {"port": "/dev/ttyUSB0", "units": [0]}, (400, "units.0")),
        ("GET", "/99", None, (404, "no search")),
        ("DELETE", "/x", None, (404, "no search")),
    ],
)
async def test_what_cannot_be_meant(
    running: Running, method: str, path: str, body: Any, answer: tuple[int, str]
) -> None:
    with pytest.raises(Answered) as refused:
        await ask(running, method, path, body)
    assert refused.value.status == answer[0]
    assert answer[1] in str(refused.value)


async def test_a_port_that_is_not_there_fails_with_a_way_out(running: Running) -> None:
    scan = await ended(running, await ask(running, "POST", "/rtu", {"port": "/dev/ttyUSB99"}))
    assert scan["state"] == "failed"
    assert "no such port: plugged in?" in scan["reason"]
    assert isinstance((await ask(running, "GET", "/ports"))["ports"], list)


async def test_a_line_that_goes_while_it_rests_stays_gone(running: Running) -> None:
    async with SimulatedBus(recognisable(meter(1))) as bus:
        await begin_bus(running, bus, unit_id=1)
        scan = await ask(running, "POST", "/rtu", {"port": bus.port, "pause": True})
        assert scan["resting"] == ["bus"]
        assert (await running.change("DELETE", "/lines/bus"))["restarted"] == ["bus"]
        scan = await ask(running, "DELETE", f"/{scan['id']}")
    assert scan["state"] == "cancelled"
    assert set(await connected(running)) == {"one", "two"}
    await running.change(
        "PUT", "/devices/meter-1", {"line": "one", "profile": "eastron-sdm120", "unit_id": 1}
    )
