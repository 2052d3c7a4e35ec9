"""The command line: `uicps-agent run|check|user|backup|restore|store|demo`."""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import sys
from collections.abc import Coroutine, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvloop

from agent import __version__
from agent.commands import ledger, thingsboard
from agent.commands.store import backup_command, restore_command, salvage_command
from agent.config import Config, load
from agent.schema import FaultyFile
from agent.server import IDENTITY_FILE, Role, UserError, Users
from agent.service import Service

EXIT_FAULTY = 2
EXIT_INTERRUPTED = 130
DEMO_FOLDER = Path(".demo")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 well, 1 failed, 2 the configuration or the command is faulty."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.command(arguments)
    except FaultyFile as faulty:
        for fault in faulty.faults:
            print(fault, file=sys.stderr)
        count = len(faulty.faults)
        print(f"{count} fault{'s' if count > 1 else ''}, nothing was started", file=sys.stderr)
        return EXIT_FAULTY
    except (UserError, OSError, RuntimeError) as error:
        print(f"uicps-agent: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nuicps-agent: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="uicps-agent", description="On-site energy gateway")
    parser.add_argument("--version", action="version", version=f"uicps-agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the agent")
    run.add_argument("config", type=Path, metavar="CONFIG")
    run.set_defaults(command=_run)

    check = commands.add_parser("check", help="find every fault of a configuration; opens no port")
    check.add_argument("config", type=Path, metavar="CONFIG")
    check.set_defaults(command=_check)

    user = commands.add_parser("user", help="who may use the server on the local network")
    actions = user.add_subparsers(required=True, metavar="ACTION")
    for name, text, action in (
        ("add", "add a user; asks for the password", _user_add),
        ("passwd", "set a new password", _user_passwd),
    ):
        one = actions.add_parser(name, help=text)
        one.add_argument("config", type=Path, metavar="CONFIG")
        one.add_argument("name", metavar="NAME")
        one.add_argument("--password-file", type=Path, help="read the password from here instead of asking")
        if name == "add":
            one.add_argument("--role", choices=[role.value for role in Role], default="viewer")
        one.set_defaults(command=action)
    listing = actions.add_parser("list", help="list the users")
    listing.add_argument("config", type=Path, metavar="CONFIG")
    listing.set_defaults(command=_user_list)

    thingsboard.add_to(commands)
    ledger.add_to(commands)
    for name, text, action, metavar in (
        ("backup", "copy the readings to a new file; the agent may be at work", _backup, "FILE"),
        ("restore", "put a backup in the place of the readings; keeps what was there", _restore, "FILE"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("config", type=Path, metavar="CONFIG")
        one.add_argument("file", type=Path, metavar=metavar)
        one.set_defaults(command=action)

    store = commands.add_parser("store", help="the file of the readings")
    salvage = store.add_subparsers(required=True, metavar="ACTION").add_parser(
        "salvage", help="add what can be read of a damaged file to the readings"
    )
    salvage.add_argument("config", type=Path, metavar="CONFIG")
    salvage.add_argument("file", type=Path, metavar="FILE")
    salvage.set_defaults(command=_salvage)

    demo = commands.add_parser("demo", help="a whole site with simulated modules, to look around")
    demo.add_argument("--folder", type=Path, default=DEMO_FOLDER, help="where its files go (%(default)s)")
    demo.add_argument("--port", type=int, default=8080, help="of the page (%(default)s)")
    demo.add_argument("--fresh", action="store_true", help="forget the readings and users of earlier demos")
    demo.set_defaults(command=_demo)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    start_logging(config.options.agent.log_level)
    _asyncio(Service(config).run())
    return 0


def _check(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    lines = config.options.line
    devices = sum(len(line.device) for line in lines)
    uplinks = len(config.options.uplink)
    print(f"{arguments.config}: well: {devices} devices on {len(lines)} lines, {uplinks} uplinks")
    return 0


def _user_add(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    password = _password(arguments.password_file)

    async def add() -> None:
        async with users_of(config) as users:
            await users.add(arguments.name, password, arguments.role)

    _asyncio(add())
    print(f"user {arguments.name} added as {arguments.role}")
    return 0


def _user_passwd(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    password = _password(arguments.password_file)

    async def change() -> None:
        async with users_of(config) as users:
            await users.set_password(arguments.name, password)

    _asyncio(change())
    print(f"password of {arguments.name} changed")
    return 0


def _user_list(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)

    async def names() -> None:
        async with users_of(config) as users:
            for user in await users.list():
                print(f"{user.name:24} {user.role}")

    _asyncio(names())
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    return backup_command(load(arguments.config).data_dir, arguments.file)


def _restore(arguments: argparse.Namespace) -> int:
    return restore_command(load(arguments.config).data_dir, arguments.file)


def _salvage(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    return salvage_command(config.data_dir, arguments.file, config.options.store)


def _demo(arguments: argparse.Namespace) -> int:
    if find_spec("amqtt") is None:
        print("the demo needs its extra: pip install 'uicps-agent[demo]'", file=sys.stderr)
        return 1
    from agent.demo.run import demo  # noqa: PLC0415 - an optional extra, absent on a real box

    start_logging("warning")
    _asyncio(demo(arguments.folder, arguments.port, fresh=arguments.fresh))
    return 0


def users_of(config: Config) -> Users:
    """The users of the agent that `config` describes."""
    return Users(config.data_dir / IDENTITY_FILE)


def _password(file: Path | None) -> str:
    if file:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UserError("the two passwords differ, nothing was changed")
    return password


def start_logging(level: str) -> None:
    """One line per event on standard error; the journal stamps its own time."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(level=level.upper(), format=f"{stamp}%(levelname)s %(name)s: %(message)s")
    logging.getLogger("agent.uplink.mqtt.paho").setLevel(logging.ERROR)


def _asyncio(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(work)
