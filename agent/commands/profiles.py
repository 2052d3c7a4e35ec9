"""`profile`: what a datasheet says, and every fault of one."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.terminal import EXIT_FAULTY, EXIT_WELL, table
from agent.drivers.modbus.pdu import Table, is_bit_table
from agent.drivers.modbus.profile import ModbusGroup, ModbusProfile
from agent.drivers.profile import find
from agent.drivers.shelf import files_of, modbus_profiles, read_profile
from agent.schema import NAME_PATTERN, Fault, FaultyFile

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

BLOCKS_SHOWN = 32


def add_to(commands: Commands) -> None:
    """`profile check FILE`, `profile list`."""
    text = "datasheets of device types: what there is, and what is wrong with one"
    actions = commands.add_parser("profile", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    text = "find every fault of a profile, and say what it holds, asks and may write"
    check = actions.add_parser("check", help=text, description=text)
    check.add_argument("file", type=Path, metavar="FILE", help="a .toml file, or the name of a built-in one")
    check.set_defaults(command=_check)
    text = "the profiles that there are"
    listing = actions.add_parser("list", help=text, description=text)
    listing.add_argument("--profile-dir", type=Path, help="your own profiles too")
    listing.set_defaults(command=_list)


def profiles_in(folder: Path | None) -> dict[str, ModbusProfile]:
    """Every Modbus profile by name: the built-in ones, and those in `folder`, which win.

    One that cannot be read is said and left out; OSError if `folder` is none.
    """
    if folder is not None and not folder.is_dir():
        raise OSError(f"expected a folder with profiles, found none at {folder}")
    return modbus_profiles(folder, _left_out)


def _left_out(file: Path, fault: Fault) -> None:
    print(f"left out: {fault} (see `profile check {file}`)", file=sys.stderr)


def _list(arguments: argparse.Namespace) -> int:
    rows: dict[str, tuple[str, ...]] = {}
    faults: list[Fault] = []
    for name, file in files_of(arguments.profile_dir).items():
        try:
            profile: Any = read_profile(file)
        except FaultyFile as faulty:
            faults += faulty.faults
            continue
        points = sum(len(group.point) for group in profile.group)
        rows[name] = (name, profile.driver, str(points), profile.title)
    print(table(("NAME", "DRIVER", "POINTS", "WHAT IT IS"), list(rows.values())))
    return _told(faults)


def _check(arguments: argparse.Namespace) -> int:
    file: Path = arguments.file
    if not file.exists() and not file.suffix and len(file.parts) == 1:
        file = find(str(file), ())
    try:
        profile: Any = read_profile(file)
    except FaultyFile as faulty:
        return _told(faulty.faults)
    print(f"{file}: well: {profile.title}, driver {profile.driver}")
    for text in (*_contents(profile), *_writable(profile), *_hints(file, profile)):
        print(text)
    return EXIT_WELL


def _told(faults: Any) -> int:
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        print(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}", file=sys.stderr)
    return EXIT_FAULTY if faults else EXIT_WELL


def _contents(profile: Any) -> Iterator[str]:
    """Each group: its points, and for Modbus the requests of a poll."""
    for group in profile.group:
        interval_s = getattr(group, "interval_s", 0)
        often = f", every {interval_s:g} s" if interval_s else ", as the device sends it"
        yield f"\ngroup {group.name}: {len(group.point)} points{often}"
        names = ", ".join(
            f"{point.name} [{point.unit}]" if point.unit else point.name for point in group.point
        )
        yield f"  {names}"
        if isinstance(profile, ModbusProfile):
            yield from _requests(profile, group)


def _requests(profile: ModbusProfile, group: ModbusGroup) -> Iterator[str]:
    blocks = profile.blocks(group)
    registers = sum(block.width for block in blocks if not is_bit_table(block.table))
    bits = sum(block.width for block in blocks if is_bit_table(block.table))
    parts = [f"{registers} registers"] if registers else []
    parts += [f"{bits} bits"] if bits else []
    yield f"  {len(blocks)} request{'s' if len(blocks) > 1 else ''} a poll, {' and '.join(parts)}:"
    yield from (f"    {block} ({block.width})" for block in blocks[:BLOCKS_SHOWN])
    if len(blocks) > BLOCKS_SHOWN:
        yield f"    and {len(blocks) - BLOCKS_SHOWN} more: is max_gap too small?"


def _writable(profile: Any) -> Iterator[str]:
    """What may be written, in which limits, and what the device does when we go silent."""
    points = [point for group in profile.group for point in group.point if getattr(point, "writable", False)]
    yield f"\nwritable: {len(points) or 'nothing'}"
    for point in points:
        yield f"  {point.name}: {_limits(point)}"
        yield f"    when we go silent: {point.on_silence}"


def _limits(point: Any) -> str:
    if point.states:
        return ", ".join(f"{code} {word}" for code, word in point.states.items())
    ends = {"from": point.min, "to": point.max, "in steps of": getattr(point, "step", None)}
    said = " ".join(f"{word} {value:g}" for word, value in ends.items() if value is not None)
    return f"{said or 'no limits: give it min and max'} {point.unit}".rstrip()


def _hints(file: Path, profile: Any) -> Iterator[str]:
    """What is allowed and yet a pity."""
    if not re.fullmatch(NAME_PATTERN, file.stem):
        yield f"\nhint: rename it: a profile is named by letters, digits, '-' and '_', found {file.stem!r}"
    if isinstance(profile, ModbusProfile) and (numbers := _register_numbers(profile)):
        yield f"\nhint: {numbers}"
    if isinstance(profile, ModbusProfile) and not profile.fingerprint:
        yield "\nhint: without a [[fingerprint]] `uicps-agent scan` cannot recognise this device"


NUMBERS: dict[Table, tuple[int, str]] = {"input": (30001, "3xxxx"), "holding": (40001, "4xxxx")}


def _register_numbers(profile: ModbusProfile) -> str:
    """Words on addresses that look like register numbers of a datasheet; "" if none does."""
    for group in profile.group:
        for point in group.point:
            first, digits = NUMBERS.get(profile.table_of(point), (0, ""))
            if first and first <= point.address < first + 9999:
                return (
                    f"{point.name}: address {point.address} looks like a register number ({digits}); on"
                    f" the wire that is {point.address - first}: 0-based, without the first digit"
                )
    return ""
