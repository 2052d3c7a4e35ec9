"""The doors to the hardware. A new driver is one entry in each of the two lines below."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, Field

from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.modbus.tcp import ModbusTcp, ModbusTcpOptions
from agent.drivers.udp import JsonProfile, UdpJson, UdpJsonOptions
from agent.model import Group, Reading
from agent.supervise import Episode

LineOptions = Annotated[ModbusTcpOptions | UdpJsonOptions, Field(discriminator="driver")]
DRIVERS: Mapping[str, tuple[Callable[..., Driver], type[BaseModel]]]


class Driver(Protocol):
    """One physical line and the devices on it.

    `run` takes the line, publishes what it reads and ends only by raising OSError when the line is
    gone; it may be entered again. A single device that does not answer is not an error: its group
    is published as a bad reading. `counters` only grow; `episode` is told when the line is well.
    """

    name: str
    counters: Counter[str]
    episode: Episode

    @property
    def groups(self) -> Sequence[Group]: ...

    async def run(self, publish: Callable[[Sequence[Reading]], None]) -> None: ...


DRIVERS = {
    "modbus-tcp": (ModbusTcp, ModbusProfile),
    "udp-json": (UdpJson, JsonProfile),
}


def open_line(
    options: LineOptions, profiles: Mapping[str, Any], now_s: Callable[[], float] = time.time
) -> Driver:
    """The driver of a line. `profiles` holds, by name, the profile of each of its devices; readings are
    stamped with `now_s`, Unix seconds."""
    driver, _ = DRIVERS[options.driver]
    return driver(options, profiles, now_s=now_s)
