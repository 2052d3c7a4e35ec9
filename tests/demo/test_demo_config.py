"""The configuration file that the demo writes."""

import stat
import tomllib
from pathlib import Path

from agent.config import load
from agent.demo.config import Ports, write_config
from agent.drivers import open_line

PORTS = Ports(15020, 15021, 15022, 17000, 18830)


def test_names_every_module_of_the_site(tmp_path: Path) -> None:
    file = write_config(tmp_path / "demo", PORTS, server_port=8081)
    config = tomllib.loads(file.read_text(encoding="utf-8"))
    assert config["server"] == {"host": "127.0.0.1", "port": 8081}
    found = {
        device["name"]: (device["profile"], line["port"])
        for line in config["line"]
        for device in line["device"]
    }
    assert found == {
        "main-meter": ("eastron-sdm630", 15020),
        "hvac-meter": ("schneider-pm5xxx", 15021),
        "ac-101": ("intesis-ac", 15022),
        "room-101": ("ambient", 17000),
    }
    assert {line["host"] for line in config["line"]} == {"127.0.0.1"}


def test_the_agent_takes_it(tmp_path: Path) -> None:
    config = load(write_config(tmp_path, PORTS))
    for line in config.options.line:
        assert open_line(line, config.profiles, tmp_path / "state").groups
    assert stat.S_IMODE((tmp_path / "modules.keys").stat().st_mode) == 0o600


def test_the_room_of_the_demo_is_under_control(tmp_path: Path) -> None:
    (room,) = load(write_config(tmp_path, PORTS)).options.room
    assert room.mode == "control"
    assert room.unit[0].on_point == "ac-101.on"


def test_token_is_for_the_owner_only_and_a_second_start_writes_anew(tmp_path: Path) -> None:
    write_config(tmp_path, PORTS)
    file = write_config(tmp_path, PORTS, server_port=9090)
    uplink = tomllib.loads(file.read_text(encoding="utf-8"))["uplink"][0]
    token = tmp_path / uplink["token_file"]
    assert token.read_text(encoding="utf-8").strip()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert uplink["port"] == 18830
    assert "9090" in file.read_text(encoding="utf-8")
