"""Live readings from lines that a command opens itself, while the agent is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import fcntl
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.drivers import Driver, LineOptions, open_line
from agent.drivers.modbus import pdu
from agent.drivers.modbus.driver import ModbusLine
from agent.drivers.modbus.pdu import Table, is_bit_table
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.push import PushOptions
from agent.drivers.udp import UdpOptions
from agent.hub import Listener
from agent.model import Group
from agent.supervise import Backoff, supervise

BACKOFF = Backoff(first_s=0.5, most_s=5.0)
_TABLES: dict[int, Table] = {function: table for table, function in pdu.READ_FUNCTIONS.items()}


class OwnLines:
    """The lines of a configuration with the chosen `devices` (none: all of them).

    UDP lines are left out: modules would take our acknowledgement for the agent's, and forget what the
    agent has never had.
    """

    def __init__(self, config: Config, devices: Sequence[str] = ()) -> None:
        """ValueError names a device that is not there, or that cannot be watched so."""
        chosen = list(_chosen(config.options.line, devices))
        # Only UDP lines have a state to keep, and they are not among these.
        nowhere = Path(tempfile.gettempdir())
        self.lines: list[Driver] = [open_line(line, config.profiles, nowhere) for line in chosen]
        self._profiles = {
            device.name: config.profiles[device.profile] for line in chosen for device in line.device
        }
        self._words: dict[tuple[str, Table, int], int] = {}
        for line in self.lines:
            if isinstance(line, ModbusLine):
                line.tap(self._heard)

    @property
    def groups(self) -> Sequence[Group]:
        """Every group of the chosen devices."""
        return [group for line in self.lines for group in line.groups]

    async def run(self, publish: Listener) -> None:
        """Read until cancelled; a line that is lost is opened again."""
        async with asyncio.TaskGroup() as tasks:
            for line in self.lines:
                tasks.create_task(_supervised(line, publish))

    def now_ms(self) -> int:
        """The time that readings are stamped with."""
        return round(time.time() * 1000)

    def words(self, device: str, point: str) -> str:
        """The registers of a point as they came, in hex; "" if they are not known."""
        profile = self._profiles.get(device)
        if not isinstance(profile, ModbusProfile):
            return ""
        for group in profile.group:
            for each in group.point:
                if each.name == point:
                    table, width = profile.table_of(each), profile.width(each)
                    places = [(device, table, each.address + at) for at in range(width)]
                    if not all(place in self._words for place in places):
                        return ""
                    return " ".join(
                        f"{self._words[place]:{'d' if is_bit_table(table) else '04x'}}" for place in places
                    )
        return ""

    def _heard(self, device: str, request: bytes, answer: bytes) -> None:
        table = _TABLES.get(request[0])
        if table is None:
            return
        address, count = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        values = pdu.bits(answer) if is_bit_table(table) else pdu.registers(answer)
        for at, value in enumerate(values[:count]):
            self._words[device, table, address + at] = value


async def _supervised(line: Driver, publish: Listener) -> None:
    await supervise(lambda: line.run(publish), line.episode, BACKOFF)


def _chosen(lines: Iterable[LineOptions], devices: Sequence[str]) -> Iterator[LineOptions]:
    """The lines that have a chosen device, with only such devices."""
    known = {device.name: line for line in lines for device in line.device}
    for name in devices:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"
            raise ValueError(f"no device is named {name!r}{hint}")
        if isinstance(known[name], UdpOptions | PushOptions):
            raise ValueError(f"{name}: {_NOT_OURS}")  # noqa: TRY004 - it is the name that is wrong
    for line in lines:
        if isinstance(line, UdpOptions | PushOptions):
            if not devices:
                print(f"line {line.name}: left out: {_NOT_OURS}", file=sys.stderr)
            continue
        wanted = [device for device in line.device if not devices or device.name in devices]
        if wanted:
            yield line.model_copy(update={"device": wanted})


_NOT_OURS = "what others send can only be watched through the running agent, use --url"


@contextlib.contextmanager
def in_place_of_the_agent(config: Config) -> Iterator[None]:
    """Hold what the agent would hold; OSError, with a way out, if it is running."""
    try:
        lock = (config.data_dir / "agent.lock").open("rb")
    except OSError:  # it never ran here, or we may not look: its serial ports are locked one by one anyway
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            server = config.options.server
            host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104
            raise OSError(
                f"the agent of {config.file} is running and has these lines: ask it, with "
                f"--url http://{host}:{server.port} --user NAME, or stop it first"
            ) from error
        yield


def statistics(source: OwnLines) -> list[dict[str, Any]]:
    """What each line says of itself, as the status of a running agent has it."""
    return [
        {"name": line.name, "failing": line.episode.failures > 0} | line.statistics() for line in source.lines
    ]
