"""Profiles by REST, on a whole running agent with Modbus lines on real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.client import Answered
from agent.demo.modbus_device import SimulatedDevice
from agent.drivers.profile import BUILT_IN
from tests.conftest import until
from tests.server.test_setting import Running, agent

OWN = """\
# Measured by Ana, with the datasheet beside her.
driver = "modbus"
title = "A meter of ours"
source = ["the datasheet in the cupboard"]
type = "f32"
table = "input"

[[group]]
name = "fast"
point = [
  { name = "voltage_l1", unit = "V", address = 0x0000 },  # the red wire
]
"""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    file = tmp_path / "config.toml"
    two = SimulatedDevice("eastron-sdm630", 1), SimulatedDevice("eastron-sdm630", 1)
    async with agent(file, *two) as found:
        yield found


async def ask(running: Running, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, str]:
    """The answer and its ETag; Answered if it is refused."""
    sent = {**running.client.headers, **{key.replace("_", "-"): each for key, each in headers.items()}}
    url = f"{running.service.url}/api/v1/profiles{path}"
    async with running.client.http.request(method, url, headers=sent, json=body) as reply:
        found = await reply.json()
        if reply.status != 200:
            raise Answered(reply.status, found["error"], found["error_description"])
        return found, reply.headers.get("ETag", "")


async def refused(status: int, *asked: Any, **headers: str) -> str:
    with pytest.raises(Answered) as answer:
        await ask(*asked, **headers)
    assert answer.value.status == status, str(answer.value)
    return str(answer.value)


async def test_an_own_profile_is_made_used_changed_and_removed(running: Running) -> None:
    made, etag = await ask(running, "PUT", "/ours", {"text": OWN}, If_None_Match="*")
    assert made == {"restarted": []}
    file = running.file.with_name("profiles") / "ours.toml"
    assert file.read_text(encoding="utf-8") == OWN
    device = {"line": "one", "profile": "ours", "unit_id": 1, "interval_s": 0.1}
    assert (await running.change("PUT", "/devices/meter-1", device))["restarted"] == ["one"]
    shown, again = await ask(running, "GET", "/ours")
    assert again == etag
    assert (shown["text"], shown["own"], shown["devices"], shown["points"]) == (
        *(OWN, True, ["meter-1"]),
        ["voltage_l1"],
    )
    assert "meter-1" in await refused(409, running, "DELETE", "/ours", If_Match=etag)

    point = {"group": "fast", "unit": "V", "address": 2}
    changed, newer = await ask(running, "PUT", "/ours/points/voltage_l2", point, If_Match=etag)
    assert changed == {"restarted": ["one"]}  # and not the other line
    text = file.read_text(encoding="utf-8")
    assert "# the red wire" in text
    assert text.startswith("# Measured by Ana")
    assert file.with_name("ours.toml.previous").read_text(encoding="utf-8") == OWN
    latest = running.service.status
    assert latest["lines"]

    async def points() -> set[str]:
        found = (await running.client.get("/api/v1/points?points=meter-1.*"))["points"]
        return {each["point"] for each in found}

    assert await points() == {"voltage_l1", "voltage_l2"}
    await refused(412, running, "DELETE", "/ours/points/voltage_l2", If_Match=etag)
    _, newest = await ask(running, "DELETE", "/ours/points/voltage_l2", If_Match=newer)
    assert await points() == {"voltage_l1"}
    await running.change("PUT", "/devices/meter-1", device | {"profile": "eastron-sdm630"})
    assert (await ask(running, "DELETE", "/ours", If_Match=newest))[0] == {"restarted": []}
    assert not file.exists()
    await refused(404, running, "GET", "/ours")


async def test_a_point_of_a_built_in_one_makes_an_own_copy(running: Running) -> None:
    sheet, etag = await ask(running, "GET", "/eastron-sdm630")
    assert not sheet["own"]
    assert sheet["devices"] == ["meter-1", "meter-2"]
    await refused(409, running, "DELETE", "/eastron-sdm630", If_Match=etag)
    point = {"group": "fast", "unit": "V", "address": 0x0000}
    changed, etag = await ask(running, "PUT", "/eastron-sdm630/points/voltage_first", point, If_Match=etag)
    assert changed == {"restarted": ["one", "two"]}

    async def first() -> Any:
        (reading,) = (await running.client.get("/api/v1/latest?points=meter-1.voltage_first"))["readings"]
        return reading["values"]["voltage_first"]

    async with running.client.talk() as talk:
        await talk.subscribe(["meter-1.voltage_first"])
        async for message in talk:
            if any(each["values"].get("voltage_first") == 127.5 for each in message.get("readings", ())):
                break
    assert await first() == 127.5
    assert (await ask(running, "DELETE", "/eastron-sdm630", If_Match=etag))[0]["restarted"] == ["one", "two"]
    sheet, _ = await ask(running, "GET", "/eastron-sdm630")
    assert sheet["text"] == (BUILT_IN / "eastron-sdm630.toml").read_text(encoding="utf-8")


async def test_a_faulty_one_changes_nothing(running: Running) -> None:
    folder = running.file.with_name("profiles")
    _, etag = await ask(running, "GET", "/eastron-sdm630")
    for name, text, words in (
        ("ours", "driver = ", "expected TOML"),
        ("ours", OWN.replace("modbus", "modbuss"), "did you mean 'modbus'?"),
        ("ours", OWN.replace("address", "adress"), "ours.toml: group[0].point[0].adress: unknown key"),
        ("our.s", OWN, "expected a name of up to 64 letters"),
        ("x" * 65, OWN, "expected a name of up to 64 letters"),
    ):
        found = await refused(422, running, "PUT", f"/{name}", {"text": text}, If_None_Match="*")
        assert words in found
        assert "/tmp" not in found
    other = OWN.replace('driver = "modbus"', 'driver = "udp"')
    await refused(422, running, "PUT", "/eastron-sdm630", {"text": other}, If_Match=etag)
    for path in ("/..%2F..%2Fx", "/..", "/%2e%2e%2fconfig"):
        with pytest.raises(Answered):
            await ask(running, "PUT", path, {"text": OWN}, If_None_Match="*")
    assert not list(folder.glob("*.toml")) if folder.exists() else True
    await refused(412, running, "PUT", "/eastron-sdm630", {"text": OWN}, If_None_Match="*")
    await refused(412, running, "PUT", "/ours", {"text": OWN}, If_Match=etag)
    await refused(428, running, "PUT", "/ours", {"text": OWN})
    point = {"group": "nothing", "address": 1}
    assert "no group" in await refused(404, running, "PUT", "/eastron-sdm630/points/x", point, If_Match=etag)
    await refused(404, running, "DELETE", "/eastron-sdm630/points/nothing", If_Match=etag)


async def test_a_rule_that_needs_the_point_keeps_it(running: Running) -> None:
    text = running.file.read_text(encoding="utf-8")
    rule = '[[alarm]]\nname = "high"\nkind = "limit"\npoint = "meter-1.frequency"\nhigh = 62.0\n'
    running.file.write_text(text + rule, encoding="utf-8")
    _, etag = await ask(running, "GET", "/eastron-sdm630")
    found = await refused(422, running, "DELETE", "/eastron-sdm630/points/frequency", If_Match=etag)
    assert "alarm[0]" in found
    assert "frequency" in found


async def test_a_large_one_takes_a_token(running: Running) -> None:
    """Strangers get no room for it."""
    lines = "".join(f'  {{ name = "p{at}", address = {at * 2} }},\n' for at in range(900))
    text = OWN.replace('  { name = "voltage_l1"', lines + '  { name = "voltage_l1"')
    text = text.replace("0x0000 },  #", "9000 },  #")
    assert len(text) > 20_000
    await ask(running, "PUT", "/large", {"text": text}, If_None_Match="*")
    sheet, _ = await ask(running, "GET", "/large")
    assert len(sheet["points"]) == 901
    url = f"{running.service.url}/api/v1/profiles/large"
    async with running.client.http.put(url, data=json.dumps({"text": text})) as reply:
        assert reply.status == 413
    await refused(413, running, "PUT", "/larger", {"text": text * 12}, If_None_Match="*")


async def test_what_was_changed_is_in_the_audit_log(running: Running) -> None:
    _, etag = await ask(running, "PUT", "/ours", {"text": OWN}, If_None_Match="*")
    await ask(running, "DELETE", "/ours", If_Match=etag)
    file = running.file.with_name("data") / "audit.db"
    await until(lambda: b"config.profile" in file.read_bytes() + file.with_name("audit.db-wal").read_bytes())


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("a = " + "[" * 900, 422, "fz.toml: expected TOML: "),
        ("a = " + "9" * 5000, 400, "line 1: expected at most 2000 characters, found 5004"),
        ("a" + ".a" * 60_000 + " = 1", 400, "line 1: expected at most 2000 characters"),  # a minute to parse
    ],
)
async def test_a_text_that_is_a_weapon_is_refused(
    running: Running, text: str, status: int, words: str
) -> None:
    assert words in await refused(status, running, "PUT", "/fz", {"text": text}, If_None_Match="*")
