"""`uicps-agent thingsboard sync` and `ledger reconcile` as their user types them, over real HTTP."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.centre.reconcile import HOUR_MS, Claim
from agent.centre.requests import FOLDER, waiting
from agent.centre.wanted import MARK
from agent.cli import main
from agent.commands import thingsboard
from agent.config import Config, load
from agent.model import Group, Reading
from agent.store import Store
from tests.conftest import group_of
from tests.thingsboard_http.server import PASSWORD, USER, FakeThingsBoard

CONFIG = """
[agent]
site = "acme"
[[uplink]]
name = "center"
kind = "thingsboard"
host = "127.0.0.1"
token_file = "center.token"
rest_url = "{url}"
rest_user = "{user}"
rest_password_file = "center.password"
{more}
[[uplink.room]]
name = "101"
devices = ["sensor"]
[[line]]
name = "meters"
driver = "modbus-tcp"
host = "127.0.0.1"
[[line.device]]
name = "meter"
profile = "eastron-sdm120"
[[line]]
name = "wifi"
driver = "udp"
port = 47000
key_file = "modules.keys"
[[line.device]]
name = "sensor"
profile = "ambient"
"""


@contextmanager
def in_a_thread() -> Iterator[FakeThingsBoard]:
    """A fake ThingsBoard on a loop of its own, since a command runs a loop itself."""
    ready: list[FakeThingsBoard] = []
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with FakeThingsBoard.at() as fake:
            ready.append(fake)
            loops.append(asyncio.get_running_loop())
            started.set()
            await stop.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield ready[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)


@pytest.fixture
def fake() -> Iterator[FakeThingsBoard]:
    with in_a_thread() as fake:
        yield fake


Write = Callable[..., str]


@pytest.fixture
def config(tmp_path: Path, fake: FakeThingsBoard) -> Write:
    def write(url: str = "", more: str = "") -> str:
        for name, text in (
            ("center.token", "T0KEN"),
            ("center.password", PASSWORD),
            ("modules.keys", f"sensor {'0f' * 32}"),
        ):
            (tmp_path / name).touch(mode=0o600)
            (tmp_path / name).write_text(f"{text}\n")
        file = tmp_path / "config.toml"
        file.write_text(CONFIG.format(url=url or fake.url, user=USER, more=more))
        return str(file)

    return write


def test_dry_run_first_then_apply_then_nothing(
    fake: FakeThingsBoard, config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["thingsboard", "sync", config()]) == 0
    said = capsys.readouterr().out
    assert "+ device meter\n" in said
    assert "+ relation: acme / 101 Contains sensor\n" in said
    assert said.endswith("15 to do. Nothing was changed: add --apply to do it\n")
    assert fake.writes == []

    assert main(["thingsboard", "sync", config(), "--apply"]) == 0
    assert capsys.readouterr().out.endswith("  done\n")
    assert len(fake.writes) == 15
    assert fake.centre.find("DEVICE", "sensor")

    assert main(["thingsboard", "sync", config()]) == 0
    assert capsys.readouterr().out.endswith("nothing to do\n")


def test_what_is_foreign_is_refused_until_adopted(
    fake: FakeThingsBoard, config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.centre.save("DEVICE", {"name": "meter"})
    assert main(["thingsboard", "sync", config(), "--apply"]) == 1
    said = capsys.readouterr().out
    assert "! the device 'meter' is there and was not made by this agent" in said
    assert said.endswith("done, but for 1 left alone\n")
    assert main(["thingsboard", "sync", config(), "--adopt", "meter", "--apply"]) == 0
    found = fake.centre.find("DEVICE", "meter")
    assert found
    assert found["additionalInfo"][MARK] == "acme"
    capsys.readouterr()
    assert main(["thingsboard", "sync", config(), "--adopt", "metre"]) == 0
    assert "? --adopt 'metre': there is nothing to take over of that name" in capsys.readouterr().out


def test_the_language_is_remembered(
    fake: FakeThingsBoard, config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["thingsboard", "sync", config(), "--language", "pt-BR", "--apply"])
    assert "Tensão" in repr(fake.centre.of("DASHBOARD"))
    capsys.readouterr()
    assert main(["thingsboard", "sync", config()]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["thingsboard", "sync", config(), "--language", "en"]) == 0
    assert "~ dashboard acme - UICPS Edge Agent" in capsys.readouterr().out


def test_what_goes_wrong_is_said_in_one_line(
    fake: FakeThingsBoard, config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config()
    Path(file).with_name("center.password").write_text("wr0ng\n")
    assert main(["thingsboard", "sync", file]) == 1
    said = capsys.readouterr().err
    assert said.startswith("uicps-agent: POST /api/auth/login: 401: user tenant@thingsboard.org or")
    assert "wr0ng" not in said
    assert main(["thingsboard", "sync", config(), "--uplink", "centre"]) == 1
    assert "uplink centre: expected one of center" in capsys.readouterr().err


def test_faults_of_the_options(
    fake: FakeThingsBoard, config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", config("ftp://x")]) == 2
    assert "uplink[0].rest_url: expected an address like https://centre.example" in capsys.readouterr().err
    assert main(["check", config("http://me:secret@x")]) == 2
    said = capsys.readouterr().err
    assert "the user is rest_user, the password in its file" in said
    assert "secret" not in said
    assert main(["check", config(more='rest_gateway = "meter"\nrest_ca_file = "none.pem"')]) == 2
    said = capsys.readouterr().err
    assert "uplink[0].rest_gateway: expected another name than a device's" in said
    assert "uplink[0].rest_ca_file: expected certificates in PEM" in said
    assert "https beside rest_ca_file" in said
    room = '[[uplink.room]]\nname = "101"\ndevices = ["meter", "sensr"]'
    assert main(["check", config(more=room)]) == 2
    said = capsys.readouterr().err
    assert "uplink[0].room[1].name: expected each room and building once, found '101' again" in said
    assert "uplink[0].room[0].devices: expected devices of this file, found 'sensr'" in said
    file = Path(config())
    file.with_name("center.password").chmod(0o644)
    assert main(["check", str(file)]) == 2
    assert "uplink[0].rest_password_file: expected a file that others cannot read" in capsys.readouterr().err
    file.write_text(file.read_text().replace('rest_password_file = "center.password"', ""))
    assert main(["check", str(file)]) == 2
    assert "expected rest_user and rest_password_file beside rest_url" in capsys.readouterr().err
    file.write_text(file.read_text().replace("rest_url", "# rest_url"))
    assert main(["thingsboard", "sync", str(file)]) == 1
    assert "expected an [[uplink]] with rest_url" in capsys.readouterr().err


# -- ledger reconcile, with the books of a test


class Books:
    def __init__(self, found: Sequence[Claim], groups: Sequence[Group]) -> None:
        self.found, self.groups, self.asked = found, groups, (0, 0)

    async def claims(self, uplink: str, from_ms: int, to_ms: int) -> Sequence[Claim]:
        assert uplink == "center"
        self.asked = from_ms, to_ms
        return self.found

    async def here(self, device: str, from_ms: int, to_ms: int) -> Mapping[Group, set[int]]:
        return {group: {from_ms + 5} for group in self.groups if group.device.name == device}


def run_reconcile(books: Books, *argv: str) -> int:
    @asynccontextmanager
    async def open_books(config: Config) -> AsyncIterator[Any]:
        books.groups = thingsboard.groups_of(config)
        yield books

    parser = argparse.ArgumentParser()
    thingsboard.add_reconcile(parser.add_subparsers(required=True), open_books, settle_s=0.01)
    arguments = parser.parse_args(["reconcile", *argv])
    code: int = arguments.command(arguments)
    return code


LAST_HOUR_MS = (time.time_ns() // 1_000_000 // HOUR_MS - 1) * HOUR_MS


def test_what_is_missing_is_left_for_the_agent_to_send_again(
    fake: FakeThingsBoard, config: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.centre.save("DEVICE", {"name": "sensor"})
    fake.centre.telemetry("sensor", LAST_HOUR_MS, {"temperature": 21.5})
    claims = [Claim("sensor", LAST_HOUR_MS, 2), Claim("sensor", LAST_HOUR_MS - HOUR_MS, 0)]
    folder = tmp_path / "data" / FOLDER
    assert run_reconcile(Books(claims, ()), config(), "--dry-run") == 1
    assert not folder.exists()
    assert run_reconcile(books := Books(claims, ()), config()) == 1
    said = capsys.readouterr().out
    assert "sensor: 1 hours, 2 readings delivered, 1 not stored" in said
    assert "1 to be sent again" in said
    (request,) = [request for _, request in waiting(folder)]
    assert (request.uplink, request.device) == ("center", "sensor")
    assert (request.from_ms, request.to_ms) == (LAST_HOUR_MS + 5, LAST_HOUR_MS + 6)
    assert math.isclose(books.asked[1] - books.asked[0], 7 * 24 * HOUR_MS)
    assert books.asked[1] % HOUR_MS == 0

    fake.centre.telemetry("sensor", LAST_HOUR_MS + 5, {"co2": 400})
    assert run_reconcile(Books(claims, ()), config(), "--json") == 0
    (verdict,) = json.loads(capsys.readouterr().out)["center"]
    assert verdict["status"] == "well"


async def test_the_books_of_a_store(tmp_path: Path) -> None:
    group = group_of("meter")

    class Row(NamedTuple):
        hour_ms: int = LAST_HOUR_MS
        device: str = "meter"
        acquired: int = 3
        delivered: Mapping[str, int] = {"center": 2}

        def waiting(self, uplink: str) -> int:
            return 1

    class Ledger:
        async def rows(self, from_ms: int, to_ms: int) -> Sequence[Row]:
            return [Row()]

    async with Store(tmp_path / "readings.db") as store:
        store.append([Reading(group, LAST_HOUR_MS + 7, (1.0, 2.0))])
        books = thingsboard.StoreBooks(Ledger(), store.history, [group])
        assert await books.claims("center", 0, 1) == [Claim("meter", LAST_HOUR_MS, 2, 1)]
        (times,) = (await books.here("meter", LAST_HOUR_MS, LAST_HOUR_MS + HOUR_MS)).values()
    assert times == {LAST_HOUR_MS + 7}


def test_older_than_the_retention_is_not_compared(
    fake: FakeThingsBoard, config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = [Claim("sensor", LAST_HOUR_MS - 30 * HOUR_MS, 2)]
    assert run_reconcile(Books(claims, ()), config(more="rest_retention_days = 1")) == 0
    assert "1 hours are older than rest_retention_days: not compared" in capsys.readouterr().out
    assert run_reconcile(Books((), ()), config()) == 0
    assert "nothing was delivered in this time" in capsys.readouterr().out


def test_days_that_are_none(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_reconcile(Books((), ()), config(), "--days", "0")
    assert "expected a whole number of days, 1 to 400, found '0'" in capsys.readouterr().err


def test_the_agent_s_own_points_are_those_that_it_publishes(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[agent]\nsite = "lab"\n[[line]]\nname = "bus"\ndriver = "modbus-rtu"\nport = "/dev/none"\n'
        '[[line.device]]\nname = "m"\nprofile = "pzem-016"\n'
    )
    groups = thingsboard.agent_groups_of(load(tmp_path / "config.toml"))
    names = [point.name for group in groups for point in group.points]
    assert {"uptime", "line_bus_stretch", "line_bus_timeouts"} < set(names)
