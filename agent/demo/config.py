"""The demo's configuration file: the same TOML as a real site's, pointing at the simulated modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.demo.ambient import demo_key

TOKEN = "demo-gateway"  # the simulated centre lets everyone in


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of the demo. `ambient` is where the agent listens, the others where modules do."""

    main_meter: int = 15020
    hvac_meter: int = 15021
    ac: int = 15022
    ambient: int = 17000
    center: int = 18830


@dataclass(frozen=True, slots=True)
class _Module:
    line: str
    port: int
    name: str
    label: str
    profile: str


def write_config(folder: Path, ports: Ports, *, server_port: int = 8080) -> Path:
    """Write `config.toml` and the secrets it names into `folder` (made if need be); its path."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_secret(folder / "center.token", TOKEN)
    _write_secret(folder / "modules.keys", f"room-101 {demo_key('room-101').hex()}")
    config = folder / "config.toml"
    config.write_text(config_text(ports, server_port=server_port), encoding="utf-8")
    return config


def _write_secret(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(f"{text}\n", encoding="utf-8")


def config_text(ports: Ports, *, server_port: int = 8080) -> str:
    """The text of the demo's configuration file."""
    return "\n".join((_AGENT.format(server=server_port, center=ports.center), *_lines(ports), _ROOM))


_AGENT = """\
# Written by `uicps-agent demo`; written anew at each start.
[agent]
site = "demo"
trust_clock = "always"
data_dir = "data"

[store]

[server]
host = "127.0.0.1"
port = {server}

[[uplink]]
name = "center"
kind = "thingsboard"
protocol = "3.1.1"   # all that the demo's broker speaks
host = "127.0.0.1"
port = {center}
token_file = "center.token"
"""

_ROOM = """\
[control]
cycle_s = 30.0
site_power_point = "main-meter.active_power"

[tariff]
id = "exemplo-branca"

[[room]]
id = "office-101"
temperature_point = "room-101.temperature"
humidity_point = "room-101.humidity"
power_point = "hvac-meter.active_power"
mode = "control"
saturday = ["08:00-18:00"]
sunday = ["08:00-18:00"]
holidays = ["08:00-18:00"]
[[room.unit]]
id = "split"
on_point = "ac-101.on"
setpoint_point = "ac-101.temperature_setpoint"
mode_point = "ac-101.mode"
cool_code = 4.0
dry_code = 2.0
fan_point = "ac-101.fan_speed"
fan_code = 0.0
rated_w = 1200.0
setpoint_step_k = 0.5
"""

_MODBUS = """\
[[line]]
name = "{line}"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {port}
[[line.device]]
name = "{name}"
label = "{label}"
profile = "{profile}"
unit_id = 1
"""

_UDP = """\
[[line]]
name = "{line}"
driver = "udp"
host = "127.0.0.1"
port = {port}
key_file = "modules.keys"
[[line.device]]
name = "{name}"
label = "{label}"
profile = "{profile}"
id = "{name}"
"""


def _lines(ports: Ports) -> Iterator[str]:
    for module in (
        _Module("meter-main", ports.main_meter, "main-meter", "Main meter", "eastron-sdm630"),
        _Module("meter-hvac", ports.hvac_meter, "hvac-meter", "Air conditioning meter", "schneider-pm5xxx"),
        _Module("ac", ports.ac, "ac-101", "Air conditioner, room 101", "intesis-ac"),
        _Module("wifi", ports.ambient, "room-101", "Room 101", "ambient"),
    ):
        text = _UDP if module.profile == "ambient" else _MODBUS
        yield text.format(
            line=module.line, port=module.port, name=module.name, label=module.label, profile=module.profile
        )
