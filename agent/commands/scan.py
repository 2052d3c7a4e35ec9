"""`scan`: what answers on a serial port or in a network, and the tables of a configuration for it."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.profiles import profiles_in
from agent.commands.terminal import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WELL,
    Progress,
    run_until_interrupted,
    table,
)
from agent.commissioning import found as show
from agent.commissioning.scan_plan import LATENCY_S, UNITS, settings_of_devices
from agent.commissioning.search import (
    CONNECT_S,
    CONNECTIONS_MAX,
    TCP_UNITS,
    Found,
    NetworkSearch,
    Search,
    SerialSearch,
    hosts_of,
)
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.serial_port import BY_ID

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

REASONS_SHOWN = 6
_WAIT = "how long a device may think before it answers (%(default)s)"
_KEPT = "Nothing is written to them. Ctrl-C ends it; what was found until then is printed."
_Work = tuple[Search, Coroutine[Any, Any, None]]


def add_to(commands: Commands) -> None:
    """`scan tcp NETWORK`, `scan rtu PORT`."""
    text = "find Modbus devices in a network or on a serial port; writes nothing to them"
    actions = commands.add_parser("scan", help=text, description=text).add_subparsers(
        required=True, metavar="WHERE"
    )
    tcp = actions.add_parser(
        "tcp", help="a network", description=f"Find Modbus TCP devices in a network. {_KEPT}"
    )
    tcp.add_argument("network", type=_network, metavar="NETWORK", help="like 192.168.1.0/24, or one address")
    tcp.add_argument(
        "--port", type=partial(whole, 1, 65535), default=502, metavar="PORT", help="(%(default)s)"
    )
    tcp.add_argument(
        "--units",
        type=partial(units, 0),
        metavar="0-255",
        help="unit ids to ask, some devices answer at 0 or 255; default: the likely ones",
    )
    tcp.add_argument("--wait-ms", type=partial(whole, 10, 10_000), default=1000, metavar="MS", help=_WAIT)
    tcp.add_argument(
        "--connections",
        type=partial(whole, 1, 256),
        default=CONNECTIONS_MAX,
        metavar="N",
        help="hosts at the same time (%(default)s)",
    )
    tcp.set_defaults(command=_tcp)

    rtu = actions.add_parser(
        "rtu",
        help="a serial port",
        description="Find Modbus RTU devices on a serial port: likely settings and addresses first. "
        f"{_KEPT} The agent must not have the port open.",
    )
    rtu.add_argument("port", metavar="PORT", help="like /dev/ttyUSB0")
    rtu.add_argument(
        "--baudrates", type=_baudrates, metavar="9600,19200", help="only these; default: all that devices use"
    )
    rtu.add_argument(
        "--units", type=partial(units, 1), metavar="1-20", help="addresses to ask; default: 1-247"
    )
    rtu.add_argument(
        "--wait-ms",
        type=partial(whole, 10, 10_000),
        default=round(LATENCY_S * 1000),
        metavar="MS",
        help=_WAIT,
    )
    rtu.add_argument("--rs485", action="store_true", help="the port itself switches the direction")
    rtu.set_defaults(command=_rtu)
    for one in (tcp, rtu):
        one.add_argument(
            "--profile-dir",
            type=Path,
            metavar="FOLDER",
            help="your own profiles, to recognise your own devices",
        )
        one.add_argument("--json", action="store_true", help="print JSON instead of a table")


def whole(least: int, most: int, text: str) -> int:
    """A whole number from `least` to `most`, decimal or 0x..."""
    try:
        value = int(text, 0)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, found {text!r}")
    return value


def number(least: float, most: float, text: str) -> float:
    """A number from `least` to `most`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"expected a number from {least:g} to {most:g}, found {text!r}")
    return value


def units(least: int, text: str) -> tuple[int, ...]:
    """ "1-10,20" as addresses in that order, each once."""
    chosen: dict[int, None] = {}
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = whole(least, 255, first), whole(least, 255, last or first)
        if high < low:
            raise argparse.ArgumentTypeError(f"expected the smaller address first, found {part!r}")
        chosen |= dict.fromkeys(range(low, high + 1))
    return tuple(chosen)


def _baudrates(text: str) -> tuple[int, ...]:
    return tuple(whole(300, 4_000_000, part) for part in text.split(","))


def _network(text: str) -> tuple[str, ...]:
    try:
        return hosts_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _tcp(arguments: argparse.Namespace) -> int:
    def search(profiles: Mapping[str, ModbusProfile], report: _Report) -> _Work:
        looking = NetworkSearch(
            profiles,
            report.found,
            report.progress.update,
            port=arguments.port,
            units=arguments.units or TCP_UNITS,
            wait_s=arguments.wait_ms / 1000,
            connect_s=CONNECT_S,
            connections_max=arguments.connections,
        )
        return looking, looking.run(arguments.network)

    return _search(arguments, search, "")


def _rtu(arguments: argparse.Namespace) -> int:
    def search(profiles: Mapping[str, ModbusProfile], report: _Report) -> _Work:
        looking = SerialSearch(profiles, report.found, report.progress.update, rs485=arguments.rs485)
        known = (text for profile in profiles.values() for text in profile.serial)
        settings = settings_of_devices(known, arguments.baudrates or ())
        wait_s = arguments.wait_ms / 1000
        return looking, looking.run(arguments.port, settings, arguments.units or UNITS, wait_s=wait_s)

    return _search(arguments, search, stable_name(arguments.port))


class _Report:
    """What was found so far: said as it is found, and again in the end."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.all: list[Found] = []

    def found(self, found: Found) -> None:
        self.all.append(found)
        where, unit, what, sure, answer = show.row(found)
        certainty = "" if sure == "-" else f" ({sure})"
        self.progress.say(f"found {where} unit {unit}: {what}{certainty}")
        self.progress.say(f"      asked {found.exchange.request.hex(' ')}, answered {answer}")
        if len(self.all) == 1:
            self.progress.say("      Ctrl-C ends the search and keeps what was found")


def _search(
    arguments: argparse.Namespace,
    search: Callable[[Mapping[str, ModbusProfile], _Report], _Work],
    port_name: str,
) -> int:
    """Search, then print what was found, also when it was interrupted or lost its line."""
    logging.getLogger("agent").setLevel(logging.ERROR)
    report = _Report()
    looking, work = search(profiles_in(arguments.profile_dir), report)
    trouble, interrupted = "", False
    try:
        interrupted = run_until_interrupted(work)
    except OSError as error:
        trouble = str(error)
    report.progress.close()
    if report.all or not trouble:
        _print(report.all, looking, port_name, as_json=arguments.json)
    if trouble:
        print(f"uicps-agent: {trouble}", file=sys.stderr)
        return EXIT_FAILED
    if interrupted:
        print("interrupted: not everything was asked", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_WELL if report.all else EXIT_FAILED


def _print(found: Sequence[Found], search: Search, port_name: str, *, as_json: bool) -> None:
    snippet = show.as_toml(found, lambda port: port_name or port)
    if as_json:
        print(json.dumps({"found": [show.as_data(each) for each in found], "toml": snippet}, indent=2))
    elif found:
        print(table(show.HEADS, [show.row(each) for each in found]))
        print(f"\n# For the configuration:\n{snippet}")
    for reason, count in search.unread.most_common(REASONS_SHOWN):
        print(f"{count} x {reason}", file=sys.stderr)
    if not found:
        print("nothing was found", file=sys.stderr)


def stable_name(port: str) -> str:
    """The name under /dev/serial/by-id of the same port, if there is one: it survives a restart."""
    given = str(Path(port).absolute())
    try:
        target = Path(port).resolve(strict=True)
        return next((str(each) for each in sorted(BY_ID.iterdir()) if each.resolve() == target), given)
    except OSError:
        return given
