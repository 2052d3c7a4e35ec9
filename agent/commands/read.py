"""`read`: any registers of a device, and what they may mean."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.commands.scan import number, whole
from agent.commands.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WELL, run_until_interrupted, table
from agent.commissioning.guess import Guess, guess
from agent.commissioning.views import views
from agent.drivers.modbus import pdu
from agent.drivers.modbus.codec import words
from agent.drivers.modbus.connect import open_link
from agent.drivers.modbus.link import Link
from agent.drivers.modbus.options import (
    ModbusLineOptions,
    ModbusRtuOptions,
    ModbusRtuTcpOptions,
    ModbusTcpOptions,
)
from agent.drivers.modbus.pdu import RefusedError, Table, is_bit_table
from agent.schema import validate
from agent.server import UserError

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

COUNT_MAX, PER_REQUEST = 2000, 64
FEW = 4  # so few registers are shown under every type and order
PER_ROW = 8
LASTING_CODES = (2, 3)


class Run(NamedTuple):
    """Registers (or bits) side by side that the device has."""

    address: int
    values: tuple[int, ...]


def add_to(commands: Commands) -> None:
    """`read --tcp HOST | --rtu PORT | --rtu-tcp HOST:PORT ...`."""
    text = "read registers of a device, and rank what they may mean under every type and byte order"
    read = commands.add_parser("read", help=text, description=text)
    where = read.add_mutually_exclusive_group(required=True)
    where.add_argument("--tcp", metavar="HOST[:PORT]", help="Modbus TCP; port 502 if none is given")
    where.add_argument("--rtu", metavar="PORT", help="a serial port, like /dev/ttyUSB0")
    where.add_argument("--rtu-tcp", metavar="HOST:PORT", help="RTU frames over TCP")
    read.add_argument(
        "--baudrate", type=partial(whole, 300, 4_000_000), default=9600, metavar="N", help="(%(default)s)"
    )
    read.add_argument("--bytesize", type=int, choices=(7, 8), default=8, help="(%(default)s)")
    read.add_argument("--parity", choices=("none", "even", "odd"), default="none", help="(%(default)s)")
    read.add_argument("--stopbits", type=int, choices=(1, 2), default=1, help="(%(default)s)")
    read.add_argument("--rs485", action="store_true", help="the serial port itself switches the direction")
    read.add_argument(
        "--unit", type=partial(whole, 0, 255), default=1, metavar="N", help="unit id (%(default)s)"
    )
    read.add_argument("--table", choices=tuple(pdu.READ_FUNCTIONS), default="holding", help="(%(default)s)")
    read.add_argument(
        "--address",
        type=partial(whole, 0, 65535),
        default=0,
        metavar="N",
        help="the first, 0-based, also as 0x.. (%(default)s)",
    )
    read.add_argument(
        "--count", type=partial(whole, 1, COUNT_MAX), default=20, metavar="N", help="how many (%(default)s)"
    )
    read.add_argument(
        "--again-s",
        type=partial(number, 0, 3600),
        default=5.0,
        metavar="S",
        help="read again after so long, to find counters; 0: once (%(default)s)",
    )
    read.add_argument(
        "--wait-ms",
        type=partial(whole, 10, 60_000),
        default=1000,
        metavar="MS",
        help="for an answer (%(default)s)",
    )
    read.add_argument(
        "--most", type=partial(whole, 1, 1000), default=20, metavar="N", help="guesses shown (%(default)s)"
    )
    read.add_argument("--all", action="store_true", help="show every register under every type and order too")
    read.set_defaults(command=_read)


def _read(arguments: argparse.Namespace) -> int:
    if arguments.address + arguments.count > 65536:
        arguments.count = 65536 - arguments.address
    answered: list[bool] = []

    async def read() -> None:
        link = await open_link(_line(arguments))
        try:
            answered.append(await _show(link, arguments))
        finally:
            link.close()

    if run_until_interrupted(read()):
        return EXIT_INTERRUPTED
    return EXIT_WELL if all(answered) else EXIT_FAILED


def _line(arguments: argparse.Namespace) -> ModbusLineOptions:
    """The line that the arguments mean; FaultyFile says what is wrong with them."""
    line: dict[str, Any] = {"name": "read", "timeout_s": max(arguments.wait_ms / 1000, 0.05)}
    line["device"] = [{"name": "it", "profile": "none"}]
    if arguments.rtu:
        keys = ("baudrate", "bytesize", "parity", "stopbits", "rs485")
        line |= {"driver": "modbus-rtu", "port": arguments.rtu}
        return validate(ModbusRtuOptions, line | {key: getattr(arguments, key) for key in keys}, "")
    host, port = _host_and_port(arguments.tcp or arguments.rtu_tcp, 502 if arguments.tcp else None)
    if port is None:
        raise UserError(f"expected HOST:PORT, found {arguments.tcp or arguments.rtu_tcp!r}")
    line |= {"host": host, "port": port}
    if arguments.tcp:
        return validate(ModbusTcpOptions, line | {"driver": "modbus-tcp"}, "--tcp")
    line |= {"driver": "modbus-rtu-tcp", "baudrate": arguments.baudrate}
    return validate(ModbusRtuTcpOptions, line, "--rtu-tcp")


def _host_and_port(text: str, default: int | None) -> tuple[str, int | None]:
    """ "10.0.0.5:502", "[fe80::1]:502", "meter.lan"."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
        return text.strip("[]"), default
    return host.strip("[]"), int(port) if port.isdigit() else None


async def _show(link: Link, arguments: argparse.Namespace) -> bool:
    """Read, print, read again, print what it may mean; whether the device gave anything."""
    ask = partial(
        read_range,
        link,
        arguments.unit,
        arguments.table,
        arguments.address,
        arguments.count,
        wait_s=arguments.wait_ms / 1000,
    )
    runs = await ask()
    if not runs:
        print(f"unit {arguments.unit} has nothing at {arguments.table} {arguments.address}: all is refused")
        return False
    is_bits = is_bit_table(arguments.table)
    print("\n".join(line for run in runs for line in raw_rows(run, is_bits=is_bits)), flush=True)
    if is_bits:
        return True
    for run in runs:
        if arguments.all or len(run.values) <= FEW:
            print(f"\n{every_view(run)}", flush=True)
    later: list[Run] = []
    if arguments.again_s > 0:
        await asyncio.sleep(arguments.again_s)
        later = await ask()
    guesses = _guesses(runs, later, arguments.again_s, arguments.most)
    print(f"\n{guess_table(guesses)}" if guesses else "\nnothing in it looks like a mains value")
    return True


async def read_range(
    link: Link, unit_id: int, which: Table, address: int, count: int, *, wait_s: float
) -> list[Run]:
    """What the device has of the range, in as few requests as it lets us. OSError: it is silent."""
    values: dict[int, int] = {}
    todo = [
        (at, min(PER_REQUEST, address + count - at)) for at in range(address, address + count, PER_REQUEST)
    ]
    for at, width in todo:  # which grows while what is refused is halved
        request = pdu.read(which, at, width)
        try:
            answer = await link.request(unit_id, request, wait_s)
            pdu.check(request, answer)
        except RefusedError as error:
            if error.code not in LASTING_CODES:
                raise OSError(f"unit {unit_id}: {error}") from error
            if width > 1:
                todo += [(at, width // 2), (at + width // 2, width - width // 2)]
            continue
        except TimeoutError as error:
            raise TimeoutError(f"unit {unit_id}: {error}: is the unit id right, are the settings?") from error
        except ValueError as error:
            raise OSError(f"unit {unit_id}: {error}") from error
        found = pdu.bits(answer)[:width] if is_bit_table(which) else pdu.registers(answer)
        values |= dict(enumerate(found, at))
    return _runs(values)


def _runs(values: dict[int, int]) -> list[Run]:
    runs: list[Run] = []
    for at in sorted(values):
        if runs and runs[-1].address + len(runs[-1].values) == at:
            runs[-1] = runs[-1]._replace(values=(*runs[-1].values, values[at]))
        else:
            runs.append(Run(at, (values[at],)))
    return runs


def raw_rows(run: Run, *, is_bits: bool) -> list[str]:
    """The registers as they came, in hex, eight a row; bits as 0 and 1."""
    rows = []
    for at in range(0, len(run.values), PER_ROW):
        first = run.address + at
        cells = [f"{value}" if is_bits else f"{value:04x}" for value in run.values[at : at + PER_ROW]]
        rows.append(f"{first:6} (0x{first:04x})  {' '.join(cells)}")
    return rows


def every_view(run: Run) -> str:
    """Every value under every type and byte order that is not nonsense."""
    rows = [
        (
            str(run.address + at),
            view.type,
            view.order if view.words > 1 or view.order != "ABCD" else "-",
            f"{raw:g}",
        )
        for view in views(run.values)
        for at, raw in view.raws.items()
    ]
    rows.sort(key=lambda row: int(row[0]))
    return table(("ADDRESS", "TYPE", "ORDER", "VALUE"), rows)


def _guesses(runs: Sequence[Run], later: Sequence[Run], seconds: float, most: int) -> list[Guess]:
    again = {run.address: run.values for run in later}
    found = []
    for run in runs:
        then = again.get(run.address, ())
        same = then if len(then) == len(run.values) else ()
        found += guess(run.values, run.address, later=same, seconds=seconds if same else 0.0, most=most)
    return sorted(found, key=lambda each: -each.score)[:most]


def guess_table(guesses: Sequence[Guess]) -> str:
    """The likeliest first, with the reasons."""
    rows = [
        (
            f"{each.score:.2f}",
            f"{each.address}" + (f"-{each.address + words(each.type) - 1}" if words(each.type) > 1 else ""),
            each.type,
            each.order,
            f"{each.scale:g}",
            f"{each.value:.7g} {each.unit}".rstrip(),
            each.quantity.replace("_", " "),
            "; ".join(each.reasons),
        )
        for each in guesses
    ]
    return table(("SCORE", "ADDRESS", "TYPE", "ORDER", "SCALE", "VALUE", "MAY BE", "BECAUSE"), rows)
