"""The command line `uicps-agent`: which commands there are, and what becomes of what they raise."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from agent import __version__
from agent.commands.terminal import EXIT_FAILED, EXIT_FAULTY, EXIT_INTERRUPTED, forget_output
from agent.schema import FaultyFile, ImpossibleError

FAMILIES: Mapping[str, Sequence[str]] = {
    "agent": ("run", "check", "demo"),
    "users": ("user", "key", "signing-key", "audit"),
    "scan": ("scan",),
    "read": ("read",),
    "watch": ("watch",),
    "alarm": ("alarm",),
    "lines": ("line",),
    "wiring": ("wiring",),
    "profiles": ("profile",),
    "ledger": ("ledger",),
    "store": ("store", "backup", "restore"),
    "tariff": ("tariff",),
    "control": ("simulate",),
    "control_history": ("control",),
    "thingsboard": ("thingsboard",),
    "job": ("job",),
    "plugin": ("plugin",),
    "report": ("report",),
    "service": ("service",),
    "doctor": ("doctor",),
}
"""The modules of `agent.commands`, and which commands each has."""


def main(argv: Sequence[str]) -> int:
    """Run one command; the exit code: 0 well, 1 failed, 2 what was given is faulty, 130 interrupted."""
    return done(understood(argv))


def understood(argv: Sequence[str]) -> argparse.Namespace:
    """What was asked for, its command loaded. SystemExit where it cannot be understood, or asked for help."""
    return _parser(_families(argv)).parse_args(argv)


def done(arguments: argparse.Namespace) -> int:
    """Do it; the exit code as of `main`."""
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
    except (ImpossibleError, OSError, RuntimeError) as error:
        print(f"uicps-agent: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, EOFError):
        print("\nuicps-agent: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def _families(argv: Sequence[str]) -> Sequence[str]:
    """The modules to choose from. Who names his command waits for no other, nor carries it (`run`, 4 MB)."""
    wanted = [module for module, names in FAMILIES.items() if argv[:1] and argv[0] in names]
    return wanted or tuple(FAMILIES)


def _parser(families: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="uicps-agent", description="On-site energy gateway")
    parser.add_argument("--version", action="version", version=f"uicps-agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in families:
        import_module(f"agent.commands.{family}").add_to(commands)
    return parser
