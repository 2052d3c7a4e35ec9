"""The doors to the hardware. A new driver is one entry in each of the two lines below."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, get_args, runtime_checkable

from pydantic import BaseModel, Field

from agent.drivers.modbus.driver import ModbusLine
from agent.drivers.modbus.options import ModbusRtuOptions, ModbusRtuTcpOptions, ModbusTcpOptions
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.push import PushLine, PushOptions, PushProfile
from agent.drivers.serial.line import SerialLines, SerialLinesOptions
from agent.drivers.serial.profile import SerialProfile
from agent.drivers.sma.speedwire import SmaProfile, SmaSpeedwire, SmaSpeedwireOptions
from agent.drivers.udp import UdpModules, UdpOptions, UdpProfile
from agent.model import Group, Reading
from agent.supervise import Episode

LineOptions = Annotated[
    ModbusTcpOptions
    | ModbusRtuOptions
    | ModbusRtuTcpOptions
    | UdpOptions
    | SerialLinesOptions
    | SmaSpeedwireOptions
    | PushOptions,
    Field(discriminator="driver"),
]
DRIVERS: Mapping[str, tuple[Callable[..., Driver], type[BaseModel]]]


class Driver(Protocol):
    """One physical line and the devices on it.

    `run` takes the line, publishes what it reads and ends only by raising OSError when the line is
    gone; it may be entered again. A single device that does not answer is not an error: its group
    is published as a bad reading. `counters` only grow; `episode` is told when the line is well.

    `write` may be called at any time, also while the line is down. It returns when the device has
    confirmed the value. ValueError: the profile does not allow it, nothing was sent. WriteFailed, within a
    bounded time: anything else, with the reason. A driver without writable points is `ReadOnly`.

    `stretch` is how much longer than configured the periods are; NaN where the devices speak by themselves.
    `statistics` is plain data for people, at any time: `line`, `where`, `connected`, `counters`, `devices`
    (by name) and whatever the driver knows beside these.
    """

    name: str
    counters: Counter[str]
    episode: Episode

    @property
    def groups(self) -> Sequence[Group]: ...

    @property
    def stretch(self) -> float: ...

    def statistics(self) -> dict[str, Any]: ...

    async def run(self, publish: Callable[[Sequence[Reading]], None]) -> None: ...

    async def write(self, device: str, point: str, value: float) -> None: ...


@runtime_checkable
class Remembering(Protocol):
    """A driver that keeps something in a folder, which may `move` while it runs. OSError: it did not."""

    async def move(self, state_dir: Path) -> None: ...


DRIVERS = {
    "modbus-tcp": (ModbusLine, ModbusProfile),
    "modbus-rtu": (ModbusLine, ModbusProfile),
    "modbus-rtu-tcp": (ModbusLine, ModbusProfile),
    "udp": (UdpModules, UdpProfile),
    "serial-lines": (SerialLines, SerialProfile),
    "sma-speedwire": (SmaSpeedwire, SmaProfile),
    "push": (PushLine, PushProfile),
}

# What a profile's own `driver` key says, and the class that reads such a profile.
PROFILES: Mapping[str, type[BaseModel]] = {
    get_args(profile.model_fields["driver"].annotation)[0]: profile for _, profile in DRIVERS.values()
}


def open_line(
    options: LineOptions,
    profiles: Mapping[str, Any],
    state_dir: Path,
    now_s: Callable[[], float] = time.time,
    certain: Callable[[], bool] = lambda: True,
) -> Driver:
    """The driver of a line. `profiles` holds, by name, the profile of each of its devices; readings are
    stamped with `now_s`, Unix seconds, which is right as far as we know if `certain`. What a driver must
    remember over a restart is in `state_dir`, made when it is needed."""
    driver, _ = DRIVERS[options.driver]
    if isinstance(options, UdpOptions):
        return driver(options, profiles, state_dir, now_s=now_s, certain=certain)
    if isinstance(options, PushOptions):
        return driver(options, profiles, now_s=now_s, certain=certain)
    return driver(options, profiles, now_s=now_s)
