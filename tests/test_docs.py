"""The documentation against the code: every option, with its true default, in the example."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from agent.alarms import AlarmsOptions
from agent.alarms.outlets import CentreOptions, MailOptions, WebhookOptions
from agent.alarms.rules import DeviationRule, ExpressionRule, LimitRule, RateRule, StaleRule, StateRule
from agent.analysis.site import AnalysisOptions, MeterOptions
from agent.config import AgentOptions, load
from agent.control.options import ControlOptions, TariffOptions, UnitOptions
from agent.control.options import RoomOptions as ControlRoomOptions
from agent.drivers.modbus.options import (
    ModbusDeviceOptions,
    ModbusRtuOptions,
    ModbusRtuTcpOptions,
    ModbusTcpOptions,
    RtuDeviceOptions,
)
from agent.drivers.push import PushDeviceOptions, PushOptions
from agent.drivers.serial.line import SerialDeviceOptions, SerialLinesOptions
from agent.drivers.sma.speedwire import SmaDeviceOptions, SmaSpeedwireOptions
from agent.drivers.udp import UdpDeviceOptions, UdpOptions
from agent.plugins.options import PluginOptions
from agent.reports.options import ReportsOptions
from agent.schedule import JobOptions
from agent.server.options import ServerOptions
from agent.store import StoreOptions
from agent.uplink.plain_mqtt import PlainMqttOptions
from agent.uplink.rest_options import RoomOptions
from agent.uplink.thingsboard import ThingsBoardOptions
from tests.log_lines import unlisted, unsaid

ROOT = Path(__file__).parent.parent
EXAMPLE = (ROOT / "config.example.toml").read_text(encoding="utf-8")

# Each table of the example, in its order, and the class that reads it.
TABLES: list[type[BaseModel]] = [
    AgentOptions,
    StoreOptions,
    ServerOptions,
    ThingsBoardOptions,
    RoomOptions,
    PlainMqttOptions,
    AlarmsOptions,
    LimitRule,
    RateRule,
    DeviationRule,
    StaleRule,
    StateRule,
    ExpressionRule,
    WebhookOptions,
    MailOptions,
    CentreOptions,
    ModbusTcpOptions,
    ModbusDeviceOptions,
    ModbusRtuOptions,
    RtuDeviceOptions,
    ModbusRtuTcpOptions,
    RtuDeviceOptions,
    UdpOptions,
    UdpDeviceOptions,
    SerialLinesOptions,
    SerialDeviceOptions,
    SmaSpeedwireOptions,
    SmaDeviceOptions,
    PushOptions,
    PushDeviceOptions,
    ReportsOptions,
    JobOptions,
    AnalysisOptions,
    MeterOptions,
    ModbusTcpOptions,
    ModbusDeviceOptions,
    ControlOptions,
    TariffOptions,
    ControlRoomOptions,
    UnitOptions,
]


def sections() -> list[str]:
    """The text of each table, without its head."""
    return re.split(r"^\[+[a-z.]+\]+.*$", EXAMPLE, flags=re.MULTILINE)[1:]


@pytest.mark.parametrize(("table", "at"), [(table, at) for at, table in enumerate(TABLES)])
def test_every_option_is_there_with_its_default(table: type[BaseModel], at: int) -> None:
    text = sections()[at]
    written: dict[str, Any] = tomllib.loads(text)
    off = set(re.findall(r"^# ([a-z_]+) = ", text, flags=re.MULTILINE))
    inner = ("device", "room", "unit")
    fields = {name: field for name, field in table.model_fields.items() if name not in inner}
    assert set(written) | off == set(fields)
    for name, field in fields.items():
        if field.default_factory is not None:
            continue  # empty by default; it is shown, the first assertion has seen to it
        if field.default is PydanticUndefined:
            assert name in written, f"{name} has no default: show one"
        elif field.default is None:
            assert name in off | set(written), f"{name} is off by default: show it, commented if need be"
        elif name not in off:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert str(default) == str(written[name]), name


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(EXAMPLE, encoding="utf-8")
    token = tmp_path / "center.token"
    token.touch(mode=0o600)
    token.write_text("T0KEN\n")
    password = tmp_path / "center.password"
    password.touch(mode=0o600)
    password.write_text("S3CRET\n")
    keys = tmp_path / "modules.keys"
    keys.touch(mode=0o600)
    keys.write_text(f"room-101 {'0f' * 32}\n", encoding="utf-8")
    hook = tmp_path / "hook.secret"
    hook.touch(mode=0o600)
    hook.write_text(f"{'0f' * 32}\n")
    config = load(file)
    assert len(config.options.line) == 8


def test_the_plugin_that_is_off_shows_every_option() -> None:
    text = EXAMPLE[EXAMPLE.index("# [[plugin]]\n") :]
    shown = set(re.findall(r"^#   ([a-z_]+)[a-z_.]* = ", text, flags=re.MULTILINE))
    assert shown | {"every_s", "at"} == set(PluginOptions.model_fields)


def test_every_table_is_covered() -> None:
    assert len(sections()) == len(TABLES)


def test_links_lead_somewhere() -> None:
    for page in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "bench").glob("*.md"),
    ):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_each_warning_of_the_log_is_in_the_table_of_what_to_do() -> None:
    missing = unlisted()
    assert not missing, "say in the table of docs/operations.md what to do:\n" + "\n".join(missing)


def test_that_table_has_nothing_that_is_not_said() -> None:
    assert unsaid() == []
