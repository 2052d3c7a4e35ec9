"""The command line: `uicps-agent run|check|user|key|signing-key|audit|demo`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvloop

from agent import __version__
from agent.commands import thingsboard
from agent.config import load
from agent.schema import FaultyFile
from agent.server import UserError
from agent.server.identity import console
from agent.server.identity.keys import ApiKeyError
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
    except (UserError, ApiKeyError, OSError, RuntimeError) as error:
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

    console.add_commands(commands, _on_files)

    thingsboard.add_to(commands)

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


def _on_files(command: console.Command) -> Callable[[argparse.Namespace], int]:
    """`command` on the files of the agent that CONFIG describes."""

    def run(arguments: argparse.Namespace) -> int:
        config = load(arguments.config)

        async def work() -> None:
            await command(arguments, config.data_dir)

        _asyncio(work())
        return 0

    return run


def _demo(arguments: argparse.Namespace) -> int:
    if find_spec("amqtt") is None:
        print("the demo needs its extra: pip install 'uicps-agent[demo]'", file=sys.stderr)
        return 1
    from agent.demo.run import demo  # noqa: PLC0415 - an optional extra, absent on a real box

    start_logging("warning")
    _asyncio(demo(arguments.folder, arguments.port, fresh=arguments.fresh))
    return 0


def start_logging(level: str) -> None:
    """One line per event on standard error; the journal stamps its own time."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(level=level.upper(), format=f"{stamp}%(levelname)s %(name)s: %(message)s")
    logging.getLogger("agent.uplink.mqtt.paho").setLevel(logging.ERROR)


def _asyncio(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(work)
