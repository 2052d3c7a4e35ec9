"""`doctor`: what is wrong with this box, and what to do; `--bundle`: a support archive without secrets."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from agent.deploy.layout import Layout
from agent.doctor import Finding, Level
from agent.doctor.bundle import collected, write_bundle
from agent.doctor.examine import examine
from agent.doctor.findings import lines
from agent.doctor.scrub import secrets_of

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

MEASURE_S = 10


def add_to(commands: Commands) -> None:
    """`doctor [CONFIG]`; exit code 0: no fault (warnings perhaps), 1: faults."""
    text = "look at this box and say what is wrong, each finding with a way out; changes nothing"
    one = commands.add_parser("doctor", help=text, description=text)
    one.add_argument("config", type=Path, nargs="?", metavar="CONFIG", default=Layout().config)
    one.add_argument("--json", action="store_true", help="the findings as JSON")
    one.add_argument(
        "--bundle", type=Path, metavar="FILE", help="also write a support archive, secrets removed"
    )
    one.add_argument(
        "--measure-s",
        type=int,
        choices=range(1, 601),
        default=MEASURE_S,
        metavar="S",
        help="how long to measure what the card writes, on a box just booted (%(default)s)",
    )
    one.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    layout = Layout()
    if arguments.bundle and arguments.bundle.exists():
        raise OSError(f"{arguments.bundle}: is there already; choose another name, or remove it")
    findings = uvloop.run(examine(arguments.config, layout.runtime, arguments.measure_s))
    faults = sum(finding.level is Level.FAULT for finding in findings)
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        print("\n".join([*lines(findings), f"{faults} fault{'' if faults == 1 else 's'}"]))
    if arguments.bundle:
        _bundle(arguments.bundle, arguments.config, findings, layout)
    return 1 if faults else 0


def _bundle(file: Path, config: Path, findings: list[Finding], layout: Layout) -> None:
    texts = {
        "findings.json": json.dumps([finding._asdict() for finding in findings], indent=1),
        "config.toml": _text(config),
        "status.json": _text(layout.runtime / "status.json"),
        "last-upgrade.json": _text(layout.upgraded),
        "os-release.txt": _text(Path("/etc/os-release")),
        "versions.txt": "".join(sorted(f"{each.name} {each.version}\n" for each in metadata.distributions())),
        **collected(),
    }
    write_bundle(file, texts, secrets_of(config))
    print(f"{file}: written; look into it before you send it", file=sys.stderr)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"{error}\n"
