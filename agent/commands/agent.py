"""`run`, `check`, `demo`: the agent itself."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from agent.tls.unread import authorities_unread

with authorities_unread():
    import aiohttp  # noqa: F401 - loaded here, before whoever uses it

from agent.commands.terminal import EXIT_FAILED, EXIT_WELL, run
from agent.config import load
from agent.logs import start_logging
from agent.private import make_private
from agent.sheltered import run_anywhere

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

DEMO_FOLDER = Path(".demo")


def add_to(commands: Commands) -> None:
    """`run CONFIG`, `check CONFIG`, `demo`."""
    for name, text, command in (
        ("run", "run the agent", _run),
        ("check", "find every fault of a configuration; opens no port", _check),
    ):
        one = commands.add_parser(name, help=text, description=text)
        one.add_argument("config", type=Path, metavar="CONFIG")
        one.set_defaults(command=command)

    text = "a whole site with simulated modules, to look around"
    demo = commands.add_parser("demo", help=text, description=text)
    demo.add_argument("--folder", type=Path, default=DEMO_FOLDER, help="where its files go (%(default)s)")
    demo.add_argument("--port", type=int, default=8080, help="of the page (%(default)s)")
    demo.add_argument("--fresh", action="store_true", help="forget the readings and users of earlier demos")
    demo.set_defaults(command=_demo)


def _run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    start_logging(config.options.agent.log_level, config.options.agent.log_format)
    make_private(config.data_dir)
    run(run_anywhere(config))
    return EXIT_WELL


def _check(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    lines = config.options.line
    devices = sum(len(line.device) for line in lines)
    uplinks = len(config.options.uplink)
    print(f"{arguments.config}: well: {devices} devices on {len(lines)} lines, {uplinks} uplinks")
    return EXIT_WELL


def _demo(arguments: argparse.Namespace) -> int:
    if find_spec("amqtt") is None:
        print("the demo needs its extra: pip install 'uicps-agent[demo]'", file=sys.stderr)
        return EXIT_FAILED
    from agent.demo.run import demo  # noqa: PLC0415 - an optional extra, absent on a real box

    start_logging("warning")
    make_private(arguments.folder / "data")
    run(demo(arguments.folder, arguments.port, fresh=arguments.fresh))
    return EXIT_WELL
