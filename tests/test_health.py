"""The agent's word about itself: statistics of the lines as status and as readings."""

from __future__ import annotations

import math
import re
from pathlib import Path

from agent.clock import Clock
from agent.config import load
from agent.drivers import Driver, open_line
from agent.health import Health, line_groups
from agent.hub import Hub
from agent.model import Device, Group, Point, Reading
from agent.store import Store, StoreOptions
from agent.uplink import open_uplinks
from agent.uplink.plain_mqtt import PlainMqttOptions
from tests.conftest import group_of

LINES = """
[agent]
site = "lab"
[[line]]
name = "RS485-a"
driver = "modbus-tcp"
host = "127.0.0.1"
[[line.device]]
name = "m1"
profile = "eastron-sdm630"
[[line]]
name = "rs485_A"
driver = "serial-lines"
port = "/dev/none"
[[line.device]]
name = "s1"
profile = "ambient-serial"
[[line]]
name = "{long}"
driver = "sma-speedwire"
[[line.device]]
name = "e1"
profile = "sma-energy-meter"
[[line]]
name = "wifi"
driver = "udp"
port = 47000
[[line.device]]
name = "u1"
profile = "ambient"
unsigned = true
"""


def lines_in(folder: Path) -> list[Driver]:
    (folder / "config.toml").write_text(LINES.format(long="x" * 64))
    config = load(folder / "config.toml")
    return [open_line(line, config.profiles, folder) for line in config.options.line]


def test_point_names_obey_the_rules_and_are_unique(tmp_path: Path) -> None:
    own = Group(Device("agent", "uicps-agent"), "health", (Point("x"),), 1000)
    groups = line_groups(lines_in(tmp_path), own)
    names = [point.name for group in groups for point in group.points]
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) for name in names)
    assert len(set(names)) == len(names)
    assert names[:3] == ["line_rs485_a_failing", "line_rs485_a_stretch", "line_rs485_a_busy"]
    assert "line_rs485_a_2_failing" in names
    assert {group.device for group in groups} == {own.device}


async def test_status_and_readings_say_the_same(tmp_path: Path) -> None:
    lines, now_s = lines_in(tmp_path), 100.0
    async with Store(tmp_path / "readings.db", StoreOptions()) as store:
        health = Health(
            lambda readings: None, Hub(), store, lines, [],
            interval_s=1.0, clock=Clock("always"), monotonic=lambda: now_s,
        )  # fmt: skip
        told = health.status()["lines"]
        assert [line["name"] for line in told] == [line.name for line in lines]
        assert all(not line["failing"] and not line["connected"] for line in told)
        assert told[0]["devices"]["m1"]["requests"] == 0
        assert told[1]["devices"] == {"s1": {"frames": 0}}
        assert told[2]["devices"] == {"e1": {"datagrams": 0}}
        lines[0].counters["requests"] += 7
        lines[0].episode.failed("test")
        assert health.status()["lines"][0]["counters"] == {}, "asked twice a second costs nothing"
        assert health.status()["lines"][0]["failing"]
        now_s += 1.0
        assert health.status()["lines"][0]["counters"] == {"requests": 7}
        readings = health._line_readings()
    assert [reading.group for reading in readings] == list(health.groups[1:])
    assert all(len(reading.values) == len(reading.group.points) for reading in readings)
    values = dict(zip((point.name for point in readings[0].group.points), readings[0].values, strict=True))
    assert (values["line_rs485_a_failing"], values["line_rs485_a_requests"]) == (1.0, 7.0)
    assert values["line_rs485_a_stretch"] == 1.0


async def test_how_long_a_backlog_takes_is_a_reading_and_not_available_while_nobody_knows(
    tmp_path: Path,
) -> None:
    def options(name: str) -> PlainMqttOptions:
        return PlainMqttOptions(name=name, kind="mqtt", host="127.0.0.1", port=1)

    async with Store(tmp_path / "readings.db", StoreOptions()) as store:
        uplinks = open_uplinks([options("a"), options("b")], store, tmp_path, "lab")
        health = Health(
            lambda readings: None, Hub(), store, [], uplinks, interval_s=1.0, clock=Clock("always")
        )

        def said() -> tuple[float, float, float]:
            values = {
                f"{point.name}": value
                for point, value in zip(health.group.points, health._reading().values, strict=True)
            }
            return values["backlog"], values["backlog_per_s"], values["backlog_left"]

        assert said() == (0.0, 0.0, 0.0)
        store.append([Reading(group_of(), at, (1.0, 2.0)) for at in range(3)])
        backlog, per_s, left_s = said()
        assert (backlog, per_s, math.isnan(left_s)) == (3.0, 0.0, True)
        store.outbox.passed("a", 1, 3)
        assert math.isnan(said()[2])  # b has all of it to go
        store.outbox.passed("b", 1, 3)
        assert said() == (0.0, 0.0, 0.0)
