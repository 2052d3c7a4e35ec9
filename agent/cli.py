"""The command line `uicps-agent`: which commands there are, and what becomes of what they raise."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from agent import __version__
from agent.commands import agent
from agent.commands.terminal import EXIT_FAILED, EXIT_FAULTY, EXIT_INTERRUPTED, forget_output
from agent.schema import FaultyFile
from agent.server import UserError
from agent.server.identity.keys import ApiKeyError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 well, 1 failed, 2 what was given is faulty, 130 interrupted."""
    given = sys.argv[1:] if argv is None else argv
    arguments = _parser(_families(given)).parse_args(given)
    try:
        code: int = arguments.command(arguments)
    except FaultyFile as faulty:
        for fault in faulty.faults:
            print(fault, file=sys.stderr)
        count = len(faulty.faults)
        print(f"{count} fault{'s' if count > 1 else ''}, nothing was started", file=sys.stderr)
        return EXIT_FAULTY
    except BrokenPipeError:
        forget_output()
        return EXIT_FAILED
    except (UserError, ApiKeyError, OSError, RuntimeError) as error:
        print(f"uicps-agent: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, EOFError):
        print("\nuicps-agent: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def _families(argv: Sequence[str]) -> Sequence[ModuleType]:
    """The modules to choose from. `run` lives on a small box: it loads none of the others (4 MB)."""
    if argv[:1] == ["run"]:
        return (agent,)
    from agent.commands import (  # noqa: PLC0415
        alarm,
        control,
        control_history,
        doctor,
        job,
        ledger,
        lines,
        plugin,
        profiles,
        read,
        report,
        scan,
        service,
        store,
        tariff,
        thingsboard,
        users,
        watch,
        wiring,
    )

    field = (agent, users, scan, read, watch, alarm, lines, wiring, profiles)
    site = (ledger, store, tariff, control, control_history, thingsboard, job, plugin, report)
    return (*field, *site, service, doctor)


def _parser(families: Sequence[ModuleType]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="uicps-agent", description="On-site energy gateway")
    parser.add_argument("--version", action="version", version=f"uicps-agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in families:
        family.add_to(commands)
    return parser
