"""Alarms end to end: a simulated meter, the running agent, its REST and the command line, a webhook."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agent.commands.alarm import span_s
from agent.config import load
from agent.demo.modbus_bus import SimulatedBus
from agent.server import IDENTITY_FILE, Users
from tests.server.conftest import basic

from .running import command, meter
from .sites import PASSWORD, agent_on, configure

ALARMS = """
[alarms]
language = "en"
device_dead_s = 1.0
[[alarm]]
name = "voltage"
kind = "limit"
point = "main.voltage_l1"
high = 120.0
text_pt = "Tensão alta"
text_en = "High voltage"
[[alarm]]
name = "backwards"
kind = "expression"
when = "main.active_power < 0 and main.voltage_l1 > 0"
priority = "critical"
[[outlet]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:{port}/hook"
secret_file = "hook.secret"
"""


@asynccontextmanager
async def receiver(port: int) -> AsyncIterator[list[dict[str, Any]]]:
    got: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield got
    finally:
        await runner.cleanup()


def write(folder: Path, http_port: int, bus_port: str, hook_port: int, **units: int) -> Path:
    file = configure(folder, http_port, bus_port, **units)
    file.write_text(file.read_text() + ALARMS.format(port=hook_port))
    secret = folder / "hook.secret"
    secret.touch(mode=0o600)
    secret.write_text("0f" * 32)
    return file


async def eventually(check: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """What `check` answers once it is true."""
    async with asyncio.timeout(timeout_s):
        while not (found := await check()):
            await asyncio.sleep(0.1)
    return found


@pytest.fixture
async def bus() -> AsyncIterator[SimulatedBus]:
    async with SimulatedBus(meter(1)) as bus:
        yield bus


def ask(asked: tuple[str, ...], user: str = "tec") -> tuple[str, ...]:
    """What is on the command line, as another user."""
    return tuple(
        user if before == "--user" else each for before, each in zip(("", *asked), asked, strict=False)
    )


async def prepared(folder: Path, free_port: Callable[[], int], bus: SimulatedBus, hook_port: int = 9) -> Path:
    file = write(folder, free_port(), bus.port, hook_port, main=1, dead=9)
    async with Users(load(file).data_dir / IDENTITY_FILE) as users:
        await users.add("tec", PASSWORD, "technician")
    return file


async def listed(asked: tuple[str, ...], *wanted: str) -> dict[str, Any]:
    """The alarms of a running agent once all of `wanted` are there; by id."""

    async def look() -> Any:
        found = await command("alarm", "list", *asked, "--json")
        alarms = {each["id"]: each for each in json.loads(found.out)["alarms"]}
        return alarms if alarms.keys() >= set(wanted) else None

    found: dict[str, Any] = await eventually(look)
    return found


async def test_from_the_meter_to_whoever_is_told(
    tmp_path: Path, free_port: Callable[[], int], bus: SimulatedBus
) -> None:
    hook_port = free_port()
    file = await prepared(tmp_path, free_port, bus, hook_port)
    async with receiver(hook_port) as got:
        async with agent_on(file) as viewer:
            one = (await listed(viewer, "voltage.high"))["voltage.high"]
            assert (one["state"], one["value"]) == ("unacknowledged", 127.0)
            shown = await command("alarm", "list", *viewer, "--language", "pt-BR")
            assert shown.code == 3
            assert "Tensão alta (120) (127)" in shown.out
            assert "backwards" not in shown.out
            refused = await command("alarm", "ack", *viewer, "voltage.high")
            assert refused.code == 1
            assert 'expected the permission "acknowledge"' in refused.errors
            done = await command("alarm", "ack", *ask(viewer), "voltage.high", "voltage.hihg")
            assert (done.code, done.out) == (1, "voltage.high: acknowledged\n")
            assert "voltage.hihg: there is no such alarm now" in done.errors

            async def told() -> bool:
                changes = [(each["event"]["change"], each["event"]["alarm"]["id"]) for each in got]
                return {("raised", "voltage.high"), ("acknowledged", "voltage.high")} <= set(changes)

            await eventually(told)
        async with agent_on_again(file) as viewer:
            again = await listed(viewer, "voltage.high")
            assert again["voltage.high"]["state"] == "acknowledged"


async def test_what_a_technician_does_about_a_dead_device(
    tmp_path: Path, free_port: Callable[[], int], bus: SimulatedBus
) -> None:
    file = await prepared(tmp_path, free_port, bus)
    async with agent_on(file) as viewer:
        asked = ask(viewer)
        await listed(viewer, "voltage.high", "agent.device.dead")
        shelved = await command(
            "alarm", "shelve", *asked, "agent.device.dead", "--for", "2h", "--reason", "x"
        )
        assert "agent.device.dead: shelved until 20" in shelved.out
        everything = await command("alarm", "ack", *asked, "--all")
        assert everything.out == "voltage.high: acknowledged\n"
        assert (await command("alarm", "list", *asked)).code == 0  # everything was seen
        back = await command("alarm", "unshelve", *asked, "agent.device.dead")
        assert back.out == "agent.device.dead: unacknowledged\n"
        history = await command("alarm", "history", *viewer, "--id", "agent.device.dead")
        lines = [line.split() for line in history.out.splitlines()[1:]]
        assert [line[2] for line in lines] == ["unshelved", "shelved", "raised"]
        assert lines[1][-1] == "tec"


@asynccontextmanager
async def agent_on_again(file: Path) -> AsyncIterator[tuple[str, ...]]:
    """`agent_on`, which makes its user."""
    async with Users(load(file).data_dir / IDENTITY_FILE) as users:
        await users.remove("ana")
    async with agent_on(file) as asked:
        yield asked


async def test_rest_says_what_is_wrong_and_attacks_are_alarms(
    tmp_path: Path, free_port: Callable[[], int], bus: SimulatedBus
) -> None:
    file = await prepared(tmp_path, free_port, bus)
    async with agent_on(file) as asked, aiohttp.ClientSession() as http:
        url = asked[1]
        async with http.get(f"{url}/api/v1/alarms") as reply:
            assert reply.status == 401
        async with http.post(f"{url}/token", headers=basic("tec", PASSWORD)) as reply:
            headers = {"Authorization": f"Bearer {(await reply.json())['access_token']}"}

        async def post(path: str, body: Any) -> tuple[int, str]:
            async with http.post(f"{url}/api/v1/alarms/{path}", json=body, headers=headers) as reply:
                return reply.status, (await reply.json()).get("error_description", "")

        assert await post("acknowledge", {}) == (400, "body: id: expected a value, found none")
        assert await post("acknowledge", []) == (400, "expected a JSON object")
        assert await post("acknowledge", {"id": "x", "rased_ms": 1}) == (
            400,
            "body: rased_ms: unknown key, did you mean 'raised_ms'?",
        )
        assert await post("acknowledge", {"id": "x"}) == (409, "x: there is no such alarm now")
        assert (await post("shelve", {"id": "voltage.high", "for_s": 5}))[0] == 409
        assert (await post("unshelve", {"id": "voltage.high"}))[0] == 409
        for query in ("?frm=1", "?from=yesterday", "?limit=-1", "?before=x"):
            async with http.get(f"{url}/api/v1/alarms/history{query}", headers=headers) as reply:
                assert reply.status == 400, query
        for _ in range(40):
            async with http.get(f"{url}/api/v1/alarms", headers={"Authorization": "Bearer x.y.z"}) as reply:
                assert reply.status == 401

        async def raised() -> Any:
            async with http.get(f"{url}/api/v1/alarms", headers=headers) as reply:
                found = (await reply.json())["alarms"]
            return [each for each in found if each["id"].startswith("agent.server.")]

        attacks = await eventually(raised)
        assert attacks[0]["priority"] == "high"
        async with http.get(f"{url}/api/v1/latest", headers=headers) as reply:
            readings = (await reply.json())["readings"]
        groups = {each["group"] for each in readings if each["device"] == "agent"}
        assert {"alarms", "alarm_states"} <= groups


async def test_who_asks_wrongly_is_told() -> None:
    nobody = await command("alarm", "list", "--url", "http://127.0.0.1:9", "--user", "ana")
    assert nobody.code == 130  # nobody to ask for the password
    for text, seconds in (("90s", 90.0), ("30min", 1800.0), ("1.5h", 5400.0), ("2d", 172_800.0)):
        assert span_s(text) == seconds
    for text in ("", "5", "h", "-5h", "5 weeks", "1e9h"):
        with pytest.raises(RuntimeError, match="like 4h"):
            span_s(text)
