"""What the tests of the Modbus lines share: profiles made on the spot, drivers on simulated lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.demo.modbus_bus import SimulatedBus
from agent.demo.modbus_device import SimulatedDevice
from agent.demo.modbus_line import SimulatedLine
from agent.drivers.modbus.driver import ModbusLine
from agent.drivers.modbus.options import ModbusRtuOptions, ModbusTcpOptions
from agent.drivers.modbus.profile import ModbusProfile

Points = Sequence[Mapping[str, Any]]


def profile_of(points: Points, **more: Any) -> ModbusProfile:
    """A profile with one group `all`."""
    group = {"name": "all", "interval_s": 0.1, "point": [dict(point) for point in points]}
    return ModbusProfile.model_validate(
        {"driver": "modbus", "title": "test", "source": ["this test"], "group": [group]} | more
    )


def row(count: int, first: int = 0) -> list[dict[str, Any]]:
    """`count` points r0, r1, ... in registers side by side from `first` on."""
    return [{"name": f"r{at}", "address": first + at} for at in range(count)]


def rtu_line(
    bus: SimulatedBus,
    profiles: Mapping[int, ModbusProfile],
    *,
    interval_s: float | None = 0.1,
    **options: Any,
) -> ModbusLine:
    """Our driver on a bus: device `d<unit>` with each profile."""
    recheck_s = options.pop("recheck_s", 600.0)
    config = {"driver": "modbus-rtu", "name": "bus", "port": bus.port, "timeout_s": 0.2}
    config["device"] = devices(profiles, interval_s)
    read = ModbusRtuOptions.model_validate(config | options)
    return ModbusLine(read, {f"p{u}": p for u, p in profiles.items()}, recheck_s=recheck_s)


def tcp_line(
    line: SimulatedLine, profiles: Mapping[int, ModbusProfile], *, interval_s: float = 0.1, **options: Any
) -> ModbusLine:
    """Our driver on a simulated TCP line: device `d<unit>` with each profile."""
    recheck_s = options.pop("recheck_s", 600.0)
    config = {"driver": "modbus-tcp", "name": "tcp", "host": line.host, "port": line.port, "timeout_s": 0.3}
    config["device"] = devices(profiles, interval_s)
    read = ModbusTcpOptions.model_validate(config | options)
    return ModbusLine(read, {f"p{u}": p for u, p in profiles.items()}, recheck_s=recheck_s)


def devices(profiles: Mapping[int, ModbusProfile], interval_s: float | None) -> list[dict[str, Any]]:
    interval = {} if interval_s is None else {"interval_s": interval_s}
    return [{"name": f"d{unit}", "profile": f"p{unit}", "unit_id": unit} | interval for unit in profiles]


def simulated(profile: ModbusProfile, unit_id: int = 1, **more: Any) -> SimulatedDevice:
    """A device whose points hold 1, 2, 3, ... in their order."""
    device = SimulatedDevice(profile, unit_id, **more)
    device.update({point: float(at) for at, point in enumerate(device.points, 1)})
    return device
