"""`uicps-agent tariff list|show|check`: which tariffs there are, what one costs, what is wrong with one."""

from __future__ import annotations

import argparse
from datetime import date, datetime
from pathlib import Path
from typing import Any

from agent.schema import read

# agent.tariff and agent.config are imported where they are used: half a second each, on a small box more.


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """The sub-commands of `tariff`, each with its function as `command`."""
    tariff = commands.add_parser("tariff", help="what energy costs: list, show and check tariffs")
    actions = tariff.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the tariffs there are")
    listing.set_defaults(command=_list)
    show = actions.add_parser("show", help="the posts and prices of one day")
    show.add_argument("id", metavar="ID")
    show.add_argument("--day", type=_day, help="like 2026-03-11 (default: today there)")
    show.set_defaults(command=_show)
    for one in (listing, show):
        one.add_argument("--config", type=Path, help="to look in the tariff_dir of this configuration, too")
    check = actions.add_parser("check", help="find every fault of a tariff file")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(command=_check)


def _list(arguments: argparse.Namespace) -> int:
    from agent.tariff import known, load  # noqa: PLC0415

    folders = _folders(arguments.config)
    for each in known(folders):
        print(f"{each:28} {load(each, folders).file.label}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from agent.tariff import load  # noqa: PLC0415
    from agent.tariff.words import describe  # noqa: PLC0415

    tariff = load(arguments.id, _folders(arguments.config))
    for line in describe(tariff, arguments.day or datetime.now(tariff.zone).date()):
        print(line)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from agent.tariff import load_file  # noqa: PLC0415
    from agent.tariff.options import FlagFile  # noqa: PLC0415

    if arguments.file.name == "flags.toml":
        flags = read(FlagFile, arguments.file)
        print(f"{arguments.file}: well: flags of {len(flags.month)} months")
        return 0
    tariff = load_file(arguments.file, (arguments.file.resolve().parent,))
    first, versions = tariff.file.version[0].valid_from, len(tariff.file.version)
    print(f"{arguments.file}: well: {tariff.file.modality}, {versions} tables of prices from {first} on")
    return 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a day like 2026-03-11, found "{text}"') from None


def _folders(config: Path | None) -> tuple[Path, ...]:
    if config is None:
        return ()
    from agent.config import load as load_config  # noqa: PLC0415

    folder = load_config(config).options.agent.tariff_dir
    return (folder,) if folder else ()
