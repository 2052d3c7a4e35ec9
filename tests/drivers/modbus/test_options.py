"""What a configuration may say of a Modbus line, as a whole file and in figures."""

from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.drivers import open_line
from agent.drivers.modbus.driver import ModbusLine
from agent.drivers.modbus.options import ModbusRtuOptions, ModbusRtuTcpOptions
from agent.schema import FaultyFile

RTU = """
[agent]
site = "lab"

[[line]]
name = "basement"
driver = "modbus-rtu"
port = "/dev/ttyUSB0"
[[line.device]]
name = "m1"
profile = "eastron-sdm630"
unit_id = 1

[[line]]
name = "roof"
driver = "modbus-rtu-tcp"
host = "192.0.2.1"
port = 4001
[[line.device]]
name = "m2"
profile = "schneider-pm5xxx"
"""


def fault(folder: Path, text: str) -> str:
    file = folder / "config.toml"
    file.write_text(text)
    with pytest.raises(FaultyFile) as caught:
        load(file)
    return "\n".join(map(str, caught.value.faults))


def test_every_kind_of_line_opens_as_the_same_driver(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(RTU)
    config = load(file)
    lines = [open_line(options, config.profiles, tmp_path) for options in config.options.line]
    assert all(isinstance(line, ModbusLine) for line in lines)
    assert {group.device.name for line in lines for group in line.groups} == {"m1", "m2"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("unit_id = 1", "unit_id = 0", "line[0].device[0].unit_id: expected greater than or equal to 1"),
        (
            'port = "/dev/ttyUSB0"',
            'port = "/dev/ttyUSB0"\nparity = "N"',
            "line[0].parity: expected 'none', 'even'",
        ),
        ('port = "/dev/ttyUSB0"', 'port = "/dev/ttyUSB0"\nbautrate = 9600', "did you mean 'baudrate'?"),
        ('port = "/dev/ttyUSB0"', "port = 4001", "line[0].port: expected a text in quotes, found 4001"),
        (
            'driver = "modbus-rtu-tcp"\nhost = "192.0.2.1"\nport = 4001',
            'driver = "modbus-rtu"\nport = "/dev/ttyUSB0"',
            "line[1].port: expected each serial port once, '/dev/ttyUSB0' is also at line[0].port",
        ),
    ],
)
def test_faults(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in RTU
    assert words in fault(tmp_path, RTU.replace(old, new))


DEVICE = {"name": "m", "profile": "p"}


@pytest.mark.parametrize(
    ("options", "byte_ms", "silence_ms"),
    [
        ({"baudrate": 9600}, 10 / 9.6, 35 / 9.6),
        ({"baudrate": 9600, "parity": "even"}, 11 / 9.6, 38.5 / 9.6),
        ({"baudrate": 2400, "stopbits": 2}, 11 / 2.4, 38.5 / 2.4),
        ({"baudrate": 115200}, 10 / 115.2, 1.75),  # fixed above 19200 baud
        ({"baudrate": 9600, "silence_ms": 10.0}, 10 / 9.6, 10.0),
    ],
)
def test_the_times_of_a_line(options: dict[str, Any], byte_ms: float, silence_ms: float) -> None:
    line = {"driver": "modbus-rtu", "name": "l", "port": "/dev/x", "device": [DEVICE]}
    pace = ModbusRtuOptions.model_validate(line | options).pace
    assert 1000 * pace.byte_s == pytest.approx(byte_ms)
    assert 1000 * pace.silence_s == pytest.approx(silence_ms)


def test_where_a_line_is_for_people() -> None:
    line: dict[str, Any] = {"name": "l", "device": [DEVICE]}
    rtu = ModbusRtuOptions.model_validate(
        line | {"driver": "modbus-rtu", "port": "/dev/x", "parity": "even", "baudrate": 19200}
    )
    assert rtu.where == "/dev/x 19200 8E1"
    tcp = ModbusRtuTcpOptions.model_validate(line | {"driver": "modbus-rtu-tcp", "host": "h", "port": 4001})
    assert tcp.where == "RTU at h:4001"
