"""What the configuration by API may name: judged by the text, before anything is opened."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from agent.config import PATH_KEYS
from agent.drivers import LineOptions
from agent.schema import FilePath
from agent.server.places import confine, port_fault
from agent.server.replies import Refused

HERE: dict[str, Any] = {"driver": "udp", "key_file": "old/place.keys", "device": [{"name": "a"}]}
PORTS = (
    *("/etc/shadow", "/dev/../etc/shadow", "ttyUSB0", "/dev/", "/tmp/x", "/dev/sda", "/dev/mem", "/dev/tty"),
    *("/dev/pts/0", "/dev/watchdog", "/dev/serial/by-id/..", "/dev/serial/by-id/a/b", "/dev/ttyS0/../sda"),
)
SERIAL: dict[str, Any] = {"driver": "modbus-rtu", "port": "/tmp/tty-of-a-test"}


@pytest.mark.parametrize(
    "wanted",
    [
        {"key_file": "modules.keys"},
        {"key_file": "old/place.keys"},  # what the file says already
        {"port": "/dev/ttyUSB0"},
        {"port": "/dev/serial/by-id/usb-FTDI_FT232R-if00-port0"},
        {"port": "/tmp/tty-of-a-test"},
        {"port": 502, "host": "192.0.2.1"},
    ],
)
def test_may_be_named(wanted: dict[str, Any]) -> None:
    confine(wanted, [HERE, SERIAL])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("key_file", each)
            for each in (
                *("/etc/shadow", "../x.keys", "data/token-keys.json", "center.token", "keys/x.keys", ".keys"),
                *("x.keys\n", "/tmp/tty-of-a-test", 5, True, "a" * 70 + ".keys"),
            )
        ),
        *(("port", each) for each in PORTS),
        *((each, "modules.keys") for each in PATH_KEYS if each != "key_file"),
    ],
)
def test_may_not_be_named(key: str, value: Any) -> None:
    for wanted, place in (({key: value}, key), ({"device": [{key: value}]}, f"device[0].{key}")):
        with pytest.raises(Refused) as refused:
            confine(wanted, [HERE, SERIAL])
        assert refused.value.status == 422
        assert refused.value.text.startswith(f"{place}: expected ")


def test_every_path_of_a_line_is_known_as_one() -> None:
    paths = set()
    for line in get_args(get_args(LineOptions)[0]):
        device = get_args(get_args(line.model_fields["device"].annotation)[0] or str)
        for model in (line, *device):
            fields = getattr(model, "model_fields", {})
            paths |= {
                name for name, field in fields.items() if str(FilePath) in str(field) or "Path" in str(field)
            }
    assert paths == {"key_file"}


def test_a_serial_port() -> None:
    assert port_fault("/dev/ttyUSB0", ()) == ""
    assert "expected a serial port" in port_fault("/dev/rs485", ())
    assert port_fault("/dev/rs485", ["/dev/rs485"]) == ""
