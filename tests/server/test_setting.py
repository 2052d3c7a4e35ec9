"""The configuration by REST, on a whole running agent with Modbus lines on real sockets."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.client import Answered, Client, Talk
from agent.config import Config, load
from agent.demo.modbus_device import SimulatedDevice
from agent.demo.modbus_line import SimulatedLine
from agent.server import IDENTITY_FILE
from agent.server.identity.users import Users
from agent.service import Service
from tests.conftest import until
from tests.server.conftest import CHEAP, PASSWORD

CONFIG = """\
# The basement. Do not touch the second line!
[agent]
site = "lab"
trust_clock = "always"
[server]
port = 0

[[line]]  # the old bus
name = "one"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {one}  # moved in May
timeout_s = 0.5
[[line.device]]
name = "meter-1"
profile = "eastron-sdm630"
unit_id = 1
interval_s = 0.2

[[line]]
name = "two"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {two}
timeout_s = 10.0
[[line.device]]
name = "meter-2"  # Ana's
profile = "eastron-sdm630"
unit_id = 1
interval_s = 0.2
"""


class Running:
    """An agent, and a client that may configure it."""

    def __init__(self, service: Service, client: Client, file: Path) -> None:
        self.service, self.client, self.file = service, client, file

    async def etag(self) -> str:
        async with self.client.http.get(
            f"{self.service.url}/api/v1/config/lines", headers=self.client.headers
        ) as reply:
            return str(reply.headers["ETag"])

    async def change(self, method: str, path: str, body: Any = None, etag: str | None = None) -> Any:
        """The answer's body; `Answered` if it is refused."""
        sent = {**self.client.headers, "If-Match": await self.etag() if etag is None else etag}
        async with self.client.http.request(
            method, f"{self.service.url}/api/v1/config{path}", headers=sent, json=body
        ) as reply:
            found = await reply.json()
            if reply.status != 200:
                raise Answered(reply.status, found["error"], found["error_description"])
            return found


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    file = tmp_path / "config.toml"
    async with agent(
        file, SimulatedDevice("eastron-sdm630", 1), SimulatedDevice("eastron-sdm630", 1)
    ) as found:
        yield found


def configured(file: Path, one: int, two: int) -> Config:
    file.write_text(CONFIG.format(one=one, two=two), encoding="utf-8")
    return load(file)


@asynccontextmanager
async def agent(file: Path, first: SimulatedDevice, second: SimulatedDevice) -> AsyncIterator[Running]:
    first.update({"voltage_l1": 127.5})
    second.update({"voltage_l1": 220.5})
    async with SimulatedLine(first) as one, SimulatedLine(second) as two:
        config = configured(file, one.port, two.port)
        async with Users(config.data_dir / IDENTITY_FILE, hasher=CHEAP) as users:
            await users.add("ana", PASSWORD, "technician")
        service, ready = Service(config), asyncio.Event()

        async def up() -> None:
            ready.set()

        task = asyncio.create_task(service.run(up))
        try:
            await asyncio.wait({task, asyncio.ensure_future(ready.wait())}, return_when="FIRST_COMPLETED")
            async with Client(service.url, "ana", PASSWORD) as client:
                yield Running(service, client, file)
        finally:
            service.stop()
            await task


async def listen(talk: Talk, heard: dict[str, list[tuple[int, Any]]]) -> None:
    async for message in talk:
        for each in message.get("readings", ()):
            value = each["values"].get("voltage_l1")
            heard.setdefault(each["device"], []).append((each["time_ms"], value))


def undisturbed(running: Running, since: int = 0) -> int:
    """How many requests line two has made on its one connection: a line that is restarted counts anew."""
    (two,) = [line for line in running.service.field.lines.drivers if line.name == "two"]
    assert two.counters["connections"] == 1
    assert two.counters["requests"] >= since
    return two.counters["requests"]


async def test_only_the_line_that_changes_is_restarted(running: Running) -> None:
    heard: dict[str, list[tuple[int, Any]]] = {}
    async with running.client.talk() as talk:
        await talk.subscribe(["*.voltage_l1"], mode="every")
        listening = asyncio.create_task(listen(talk, heard))
        await until(lambda: len(heard.get("meter-1", ())) > 2 and len(heard.get("meter-2", ())) > 2)
        requests = undisturbed(running, since=3)
        change = {"line": "one", "profile": "eastron-sdm630", "unit_id": 1, "interval_s": 0.1}
        assert await running.change("PUT", "/devices/meter-new", {**change, "unit_id": 7}) == {
            "restarted": ["one"]
        }
        requests = undisturbed(running, requests)
        await running.change("DELETE", "/devices/meter-1")
        requests = undisturbed(running, requests)
        await running.change("PUT", "/devices/meter-new", change)
        await talk.subscribe(["*.voltage_l1"], mode="every")
        await until(lambda: any(value == 127.5 for _, value in heard.get("meter-new", ())))
        count = len(heard["meter-2"])
        await until(lambda: len(heard["meter-2"]) > count + 2)
        undisturbed(running, requests + 1)
        assert not listening.done()
        listening.cancel()
    assert all(value == 220.5 for _, value in heard["meter-2"])  # not one failed read
    points = (await running.client.get("/api/v1/points"))["points"]
    assert {each["device"] for each in points} == {"meter-new", "meter-2", "agent", "job", "analysis"}
    latest = (await running.client.get("/api/v1/latest"))["readings"]
    assert "meter-1" not in {each["device"] for each in latest}


async def test_the_file_keeps_its_comments_and_its_version_before(running: Running) -> None:
    before = running.file.read_text(encoding="utf-8")
    port = tomllib.loads(before)["line"][0]["port"]
    line = {"driver": "modbus-tcp", "host": "127.0.0.1", "port": port, "timeout_s": 0.75}
    await running.change("PUT", "/lines/one", line)
    after = running.file.read_text(encoding="utf-8")
    assert after == before.replace("timeout_s = 0.5", "timeout_s = 0.75", 1)
    assert running.file.with_name("config.toml.previous").read_text(encoding="utf-8") == before
    first = {"name": "pump", "profile": "eastron-sdm120"}
    new = {"driver": "modbus-tcp", "host": "127.0.0.1", "port": 1, "device": [first]}
    assert await running.change("PUT", "/lines/three", new) == {"restarted": ["three"]}
    device = {"line": "three", "profile": "eastron-sdm120", "unit_id": 3}
    assert await running.change("PUT", "/devices/solar", device) == {"restarted": ["three"]}
    assert await running.change("PUT", "/devices/solar", device | {"line": "two", "unit_id": 2}) == {
        "restarted": ["three", "two"]
    }
    assert await running.change("DELETE", "/lines/three") == {"restarted": ["three"]}
    text = running.file.read_text(encoding="utf-8")
    assert text.startswith(after.rstrip())
    assert [each["name"] for each in tomllib.loads(text)["line"][1]["device"]] == ["meter-2", "solar"]
    lines = {each["name"] for each in (await running.client.get("/api/v1/lines"))["lines"]}
    assert lines == {"one", "two"}
    assert sorted(each.name for each in running.file.parent.glob("*config.toml*")) == [
        "config.toml",
        "config.toml.previous",
    ]


async def test_a_change_that_would_be_faulty_changes_nothing(running: Running) -> None:
    before = running.file.read_text(encoding="utf-8")
    for path, body, status, texts in (
        ("/devices/meter-3", {"line": "one", "profile": "eastron-sdm631", "unit_id": 3}, 422, ["sdm630"]),
        ("/devices/meter-3", {"line": "one", "profile": "eastron-sdm630", "unitid": 3}, 422, ["unit_id"]),
        ("/devices/meter-3", {"line": "one", "profile": "eastron-sdm630", "unit_id": 1}, 422, ["once"]),
        ("/devices/meter-3", {"line": "ten", "profile": "eastron-sdm630"}, 404, ['no line "ten"']),
        ("/devices/agent", {"line": "one", "profile": "eastron-sdm630"}, 422, ["the agent itself"]),
        ("/lines/one", {"driver": "modbus-tpc"}, 422, ["config.toml", "modbus-tcp"]),
        ("/lines/one", {"driver": "modbus-tcp", "host": "h", "device": []}, 400, ["device: put each"]),
    ):
        with pytest.raises(Answered) as refused:
            await running.change("PUT", path, body)
        assert refused.value.status == status, str(refused.value)
        for text in texts:
            assert text in str(refused.value)
    with pytest.raises(Answered) as refused:
        await running.change("DELETE", "/devices/nothing")
    assert refused.value.status == 404
    assert running.file.read_text(encoding="utf-8") == before
    assert [each.name for each in running.file.parent.glob("*config.toml*")] == ["config.toml"]


async def test_of_two_who_change_at_once_one_is_told(running: Running) -> None:
    etag = await running.etag()
    device = {"line": "one", "profile": "eastron-sdm120"}
    outcomes = await asyncio.gather(
        *(running.change("PUT", f"/devices/d{at}", {**device, "unit_id": 10 + at}, etag) for at in range(2)),
        return_exceptions=True,
    )
    (refused,) = [each for each in outcomes if isinstance(each, Answered)]
    assert (refused.status, refused.code) == (412, "stale")
    with pytest.raises(Answered) as missing:
        await running.change("DELETE", "/devices/d0", etag="")
    assert missing.value.status == 428


async def test_what_a_technician_may_not_name_is_refused_alike(running: Running) -> None:
    """Whether such a file exists or not, and whatever it holds, cannot be told from the answer."""
    there = running.file.with_name("center.token")
    there.write_text("T0KEN-of-the-centre\n", encoding="utf-8")
    there.chmod(0o600)
    line = {"driver": "udp", "port": 9, "device": [{"name": "room", "profile": "ambient", "unsigned": True}]}
    found = set()
    for name in (
        "center.token",
        "nothing.token",
        str(there),
        "/etc/shadow",
        "../../etc/passwd",
        "data/x.keys",
    ):
        with pytest.raises(Answered) as refused:
            await running.change("PUT", "/lines/modules", line | {"key_file": name})
        assert (refused.value.status, refused.value.code) == (422, "faulty_configuration")
        found.add(str(refused.value).partition(", found")[0])
    assert len(found) == 1
    for name in ("../config", "../../config", "/etc/x", str(running.file.with_suffix(""))):
        with pytest.raises(Answered) as refused:
            await running.change(
                "PUT", "/devices/meter-3", {"line": "one", "profile": name[:64], "unit_id": 3}
            )
        assert "no profile of this name" in str(refused.value)
    for port in ("/etc/hostname", "/dev/sda"):
        with pytest.raises(Answered) as refused:
            await running.change("PUT", "/lines/bus", {"driver": "modbus-rtu", "port": port})
        assert "expected a serial port" in str(refused.value)
    assert "T0KEN" not in running.file.read_text(encoding="utf-8")


async def test_the_site_is_changed_for_the_next_start(running: Running) -> None:
    changed = {"timezone": "America/Manaus", "health_interval_s": 20.0}
    assert await running.change("PATCH", "/site", changed) == {"restarted": []}
    text = running.file.read_text(encoding="utf-8")
    assert text.startswith("# The basement.")
    assert tomllib.loads(text)["agent"] == {"site": "lab", "trust_clock": "always", **changed}
    for body, status in (({"timezone": "Marte/Olimpo"}, 422), ({"data_dir": "/"}, 400), ({"site": "x"}, 400)):
        with pytest.raises(Answered) as refused:
            await running.change("PATCH", "/site", body)
        assert refused.value.status == status


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"host": None}, "TOML has no null"),
        ({"device": [None]}, "TOML has no null"),
        ({"device": [{"name": "x", "profile": "ambient", "unit_id": None}]}, "TOML has no null"),
        ({"x": [[[[[[[[[1]]]]]]]]]}, "at most 8 deep"),
    ],
)
async def test_what_no_file_can_say_is_refused(running: Running, odd: dict[str, Any], words: str) -> None:
    before = running.file.read_text(encoding="utf-8")
    line = {"driver": "modbus-tcp", "host": "127.0.0.1", "port": 502, **odd}
    with pytest.raises(Answered, match=words) as answer:
        await running.change("PUT", "/lines/three", line)
    assert answer.value.status == 400
    assert running.file.read_text(encoding="utf-8") == before


async def test_a_long_file_is_not_parsed_in_the_event_loop(running: Running) -> None:
    """Beside the parser, which takes a second, the loop goes on turning."""
    with running.file.open("a", encoding="utf-8") as file:
        file.writelines(f"# {at} {'x' * 60}\n" for at in range(20_000))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    turning = asyncio.create_task(turn())
    await running.client.get("/api/v1/config/lines")
    turning.cancel()
    assert turns > 10
