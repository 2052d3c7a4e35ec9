"""Where a command gets live readings from: a configuration's lines, or a running agent."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from agent.commands.own_lines import OwnLines, in_place_of_the_agent
from agent.commands.remote import Remote
from agent.commands.users import password_in
from agent.config import Config, load
from agent.hub import Listener
from agent.model import Group, Reading
from agent.server import UserError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Source(Protocol):
    """`run` publishes readings of `groups` until it is cancelled, or raises OSError."""

    @property
    def groups(self) -> Sequence[Group]: ...

    async def run(self, publish: Listener) -> None: ...

    def now_ms(self) -> int: ...

    def words(self, device: str, point: str) -> str: ...


class Chosen(NamedTuple):
    """What the arguments say: the configuration, or the URL and who we are there, and the devices."""

    config: Config | None
    url: str
    user: str
    password: str
    ca_file: Path | None
    devices: tuple[str, ...]


def add_arguments(command: argparse.ArgumentParser, devices: str = "") -> None:
    """`[CONFIG]` and `devices` (their metavar), or `--url`; see `chosen`."""
    start = f"{command.prog} [options]"
    command.usage = f"{start} CONFIG {devices}\n       {start} --url URL --user NAME {devices}"
    command.add_argument(
        "names",
        nargs="*",
        metavar=f"CONFIG {devices}".strip(),
        help="the configuration file, unless --url is given" + ("; names of devices" if devices else ""),
    )
    command.add_argument("--url", help="of a running agent, like http://192.168.1.5:8080, instead of CONFIG")
    command.add_argument("--user", metavar="NAME", help="your name there")
    command.add_argument(
        "--password-file", type=Path, metavar="FILE", help="read the password from here instead of asking"
    )
    command.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="PEM of the authority that signed its certificate"
    )


def chosen(arguments: argparse.Namespace) -> Chosen:
    """The configuration is read, or the password asked for. UserError, OSError, FaultyFile."""
    names: Sequence[str] = arguments.names
    if not arguments.url:
        if not names:
            raise UserError("expected a configuration file, or --url of a running agent")
        return Chosen(load(Path(names[0])), "", "", "", None, tuple(names[1:]))
    if urlsplit(arguments.url).scheme not in ("http", "https"):
        raise UserError(f"--url: expected http://HOST:PORT or https://HOST:PORT, found {arguments.url!r}")
    if names and names[0].endswith(".toml"):
        raise UserError(f"expected {names[0]} or --url, found both")
    if not arguments.user:
        raise UserError("--user: expected your name at the agent beside --url")
    warn_of_plain_http(arguments.url)
    file: Path | None = arguments.password_file
    password = password_in(file) if file else getpass.getpass(f"Password of {arguments.user}: ")
    return Chosen(None, arguments.url, arguments.user, password, arguments.ca_file, tuple(names))


def warn_of_plain_http(url: str) -> None:
    """Say so if a password would go over the network for all to read."""
    if url.startswith("http:") and urlsplit(url).hostname not in LOOPBACK:
        print("the password goes over plain HTTP: use https where there is a TLS proxy", file=sys.stderr)


@asynccontextmanager
async def opened(choice: Chosen) -> AsyncIterator[OwnLines | Remote]:
    """The source; OSError or UserError if it cannot be had."""
    if choice.config is None:
        async with Remote(
            choice.url, choice.user, choice.password, devices=choice.devices, ca_file=choice.ca_file
        ) as remote:
            yield remote
        return
    with in_place_of_the_agent(choice.config):
        try:
            source = OwnLines(choice.config, choice.devices)
        except ValueError as error:
            raise UserError(str(error)) from error
        yield source


async def collect(
    source: Source, publish: Listener, is_done: Callable[[], bool], wait_s: float | None = None
) -> None:
    """Run `source` until `is_done()`, which is asked after each publishing, at most for `wait_s`."""
    done = asyncio.Event()

    def heard(readings: Sequence[Reading]) -> None:
        if not done.is_set():  # lines that are left publish everything as bad once more
            publish(readings)
            if is_done():
                done.set()

    running, waiting = asyncio.ensure_future(source.run(heard)), asyncio.ensure_future(done.wait())
    try:
        await asyncio.wait({running, waiting}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        done.set()
        for task in (running, waiting):
            task.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)


def quiet_logs(level: int = logging.WARNING) -> None:
    """What lines have to complain of, on standard error, in few words."""
    logging.basicConfig(level=level, format="%(message)s")
