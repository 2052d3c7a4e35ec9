"""`user`: who may use the server on the local network."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands.terminal import EXIT_WELL, run
from agent.config import Config, load
from agent.server import IDENTITY_FILE, Role, UserError, Users

if TYPE_CHECKING:
    from agent.commands.terminal import Commands


def add_to(commands: Commands) -> None:
    """`user add|passwd|list CONFIG`."""
    text = "who may use the server on the local network"
    actions = commands.add_parser("user", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    for name, text, action in (
        ("add", "add a user; asks for the password", _add),
        ("passwd", "set a new password", _passwd),
    ):
        one = actions.add_parser(name, help=text, description=text)
        one.add_argument("config", type=Path, metavar="CONFIG")
        one.add_argument("name", metavar="NAME")
        one.add_argument("--password-file", type=Path, help="read the password from here instead of asking")
        if name == "add":
            one.add_argument("--role", choices=[role.value for role in Role], default="viewer")
        one.set_defaults(command=action)
    listing = actions.add_parser("list", help="list the users", description="list the users")
    listing.add_argument("config", type=Path, metavar="CONFIG")
    listing.set_defaults(command=_list)


def _add(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    password = _password(arguments.password_file)

    async def add() -> None:
        async with users_of(config) as users:
            await users.add(arguments.name, password, arguments.role)

    run(add())
    print(f"user {arguments.name} added as {arguments.role}")
    return EXIT_WELL


def _passwd(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    password = _password(arguments.password_file)

    async def change() -> None:
        async with users_of(config) as users:
            await users.set_password(arguments.name, password)

    run(change())
    print(f"password of {arguments.name} changed")
    return EXIT_WELL


def _list(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)

    async def names() -> None:
        async with users_of(config) as users:
            for user in await users.list():
                print(f"{user.name:24} {user.role}")

    run(names())
    return EXIT_WELL


def users_of(config: Config) -> Users:
    """The users of the agent that `config` describes."""
    return Users(config.data_dir / IDENTITY_FILE)


def _password(file: Path | None) -> str:
    if file:
        return password_in(file)
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UserError("the two passwords differ, nothing was changed")
    return password


def password_in(file: Path) -> str:
    """What a file holds is the password, but for the end of its line; OSError if it cannot be read."""
    return file.read_text(encoding="utf-8").rstrip("\r\n")
