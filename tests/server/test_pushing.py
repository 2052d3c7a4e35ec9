"""Readings from outside by REST, on a whole running agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.client import Answered
from agent.demo.modbus_device import SimulatedDevice
from agent.server import IDENTITY_FILE
from agent.server.identity.keys import Keys
from agent.server.identity.users import Users
from tests.server.conftest import CHEAP
from tests.server.test_setting import Running, agent

WEATHER = {"driver": "push", "device": [{"name": "weather", "profile": "weather-push"}]}
PATH = "/api/v1/devices/weather/readings"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    two = SimulatedDevice("eastron-sdm630", 1), SimulatedDevice("eastron-sdm630", 1)
    async with agent(tmp_path / "config.toml", *two) as found:
        await found.change("PUT", "/lines/outside", WEATHER)
        yield found


async def post(running: Running, path: str, *readings: Any, token: str = "") -> tuple[Any, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else running.client.headers
    url, body = f"{running.service.url}{path}", {"readings": list(readings)}
    async with running.client.http.post(url, headers=headers, json=body) as reply:
        found = await reply.json()
        if reply.status != 200:
            raise Answered(reply.status, found["error"], found["error_description"])
        return found, reply.headers


async def test_what_is_handed_in_is_a_reading_like_any_other(running: Running) -> None:
    async with running.client.talk() as talk:
        await talk.subscribe(["weather.*"], mode="every")
        now = {"values": {"temperature": 21.5, "irradiance": 640}}
        old = {"time": "2026-01-02T03:04:05Z", "values": {"temperature": 20.0}}
        with pytest.raises(Answered) as refused:
            await post(running, PATH, now, old)
        assert (refused.value.status, refused.value.code) == (422, "invalid_readings")
        assert "readings[1].time: expected at most 5 s ahead and 604800 s back" in str(refused.value)
        assert (await post(running, PATH, now))[0] == {"readings": 1}
        seen: list[Any] = []
        async for message in talk:
            seen += message.get("readings", ())
            if seen:
                break
    assert seen[0]["values"]["irradiance"] == 640
    assert seen[0]["values"]["wind_speed"] is None
    assert seen[0]["quality"] == "good"
    (latest,) = (await running.client.get("/api/v1/latest?points=weather.*"))["readings"]
    assert latest == seen[0]
    text = await running.client.http.get(
        f"{running.service.url}/api/v1/export.csv?points=weather.temperature", headers=running.client.headers
    )
    assert "21.5" in await text.text()


@pytest.mark.parametrize(
    ("path", "reading", "answer", "text"),
    [
        (PATH, {"values": {"temprature": 1}}, (422, "invalid_readings"), "did you mean 'temperature'?"),
        (PATH, {"values": {"temperature": "21"}}, (400, "invalid_request"), "readings.0.values.temperature"),
        (PATH, {"values": {"temperature": True}}, (400, "invalid_request"), "temperature"),
        (PATH, {"time": "yesterday", "values": {"humidity": 1}}, (400, "invalid_time"), "readings[0].time"),
        (PATH, {"values": {}}, (422, "invalid_readings"), "at least one value"),
        (PATH, {"value": 1}, (400, "invalid_request"), "value"),
        ("/api/v1/devices/nothing/readings", {"values": {"x": 1}}, (404, "unknown_device"), "nothing"),
        (
            "/api/v1/devices/meter-1/readings",
            {"values": {"voltage_l1": 1}},
            (409, "not_pushed"),
            "on line one",
        ),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    running: Running, path: str, reading: Any, answer: tuple[int, str], text: str
) -> None:
    with pytest.raises(Answered) as refused:
        await post(running, path, reading)
    assert (refused.value.status, refused.value.code) == answer
    assert text in str(refused.value)


async def test_many_at_once(running: Running) -> None:
    """More than a stranger may send."""
    readings = [
        {"values": {"temperature": at / 10, "humidity": 50.5, "wind_speed": 1.25}} for at in range(1000)
    ]
    assert (await post(running, PATH, *readings))[0] == {"readings": 1000}
    with pytest.raises(Answered) as refused:
        await post(running, PATH, *readings, readings[0])
    assert refused.value.status == 400
    for _ in range(5):
        await post(running, PATH, *readings)
    with pytest.raises(Answered) as refused:
        await post(running, PATH, readings[0])
    assert (refused.value.status, refused.value.code) == (429, "too_many")


async def test_a_machine_needs_the_scope(running: Running) -> None:
    async with Users(running.file.with_name("data") / IDENTITY_FILE, hasher=CHEAP) as users:
        keys = Keys(users.database)
        _, pushing = await keys.add("station", ["push"], "test", None)
        _, reading = await keys.add("reader", ["read"], "test", None)
    async with asyncio.timeout(20):
        while 401 in (found := {key: await status_of(running, key) for key in (pushing, reading)}).values():
            await asyncio.sleep(0.1)  # a key made by another process is known within a second
    assert found == {pushing: 200, reading: 403}


async def status_of(running: Running, token: str) -> int:
    try:
        await post(running, PATH, {"values": {"temperature": 1}}, token=token)
    except Answered as refused:
        return refused.status
    return 200
