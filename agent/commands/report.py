"""`report power-quality|energy|commissioning`: HTML to read and print, and CSV beside it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from agent.commands.terminal import (
    EXIT_INTERRUPTED,
    EXIT_WELL,
    Progress,
    run_until_interrupted,
)
from agent.config import load
from agent.reports.options import KINDS, LANGUAGES, Kind
from agent.reports.shelf import FOLDER, Shelf, name_of

if TYPE_CHECKING:
    from agent.commands.terminal import Commands
    from agent.config import Config

# What computes and draws brings numpy: it is imported where it is used.

READINGS_FILE = "readings.db"
OUT_COUNT_MAX, OUT_MB_MAX = 10**9, 10**9


def add_to(commands: Commands) -> None:
    """`report KIND CONFIG`."""
    text = "make a report: power quality of a week, energy of a month, the commissioning record"
    kinds = commands.add_parser(
        "report",
        help=text,
        description=f"{text}. From what is stored; the agent may be at work. Without --out it is kept in "
        "data_dir/reports, where the page shows it.",
    ).add_subparsers(required=True, metavar="KIND", dest="kind")
    for kind in KINDS:
        one = kinds.add_parser(kind, help=_TEXTS[kind], description=_TEXTS[kind])
        one.add_argument("config", type=Path, metavar="CONFIG")
        if kind != "commissioning":
            help_ = "a device's name; may be given again (left out: [reports] meters, or all of them)"
            one.add_argument("--meter", action="append", default=[], metavar="NAME", help=help_)
        if kind == "energy":
            one.add_argument("--month", metavar="YYYY-MM", help="(default: the last whole one)")
        else:
            one.add_argument("--from", dest="begin", metavar="TIME", help="local, like 2026-11-16[T08:30]")
            one.add_argument("--to", dest="end", metavar="TIME", help="not including it")
        if kind == "power-quality":
            one.add_argument("--nominal-v", type=float, metavar="VOLTS", help="like 127 or 220")
        one.add_argument(
            "--lang",
            action="append",
            choices=LANGUAGES,
            metavar="LANG",
            help="pt-BR or en; may be given again (default: [reports] languages)",
        )
        one.add_argument("--out", type=Path, metavar="DIR", help="put the files there instead")
        help_ = (
            "what stands in for data_dir, as when the agent works in memory because its disk takes no writes"
        )
        one.add_argument("--data-dir", type=Path, metavar="DIR", help=help_)
        one.add_argument("--progress", action="store_true", help="say how far it is, in percent")
        one.set_defaults(command=_report)


_TEXTS: dict[Kind, str] = {
    "power-quality": "voltage, unbalance, distortion, frequency, power factor, events of a week (PRODIST 8)",
    "energy": "energy, demand, cost and what control saved of a month",
    "commissioning": "what is installed and how it answers, to be signed",
}


def _report(arguments: argparse.Namespace) -> int:
    from agent.commands.report_made import WORK, Maker  # noqa: PLC0415
    from agent.store.onlooker import Onlooker  # noqa: PLC0415

    config = load(arguments.config)
    history = Onlooker(_readings_file(config, arguments))
    if arguments.data_dir:
        config = config._replace(data_dir=arguments.data_dir)
    options = config.options.reports
    told = _Told(shown=arguments.progress)
    maker = Maker(
        config,
        history,
        ZoneInfo(config.options.agent.timezone),
        arguments.lang or options.languages,
        told.tell,
        round(time.time() * 1000),
    )
    shelf = Shelf(config.data_dir / FOLDER, count_max=options.count_max, size_max_mb=options.size_max_mb)
    if arguments.out:
        shelf = Shelf(arguments.out, count_max=OUT_COUNT_MAX, size_max_mb=OUT_MB_MAX)
    made: list[Path] = []

    async def make() -> None:
        async for each in WORK[arguments.kind](maker, arguments):
            for language in maker.languages:
                name = name_of(arguments.kind, each.subject, each.begin, each.end, language)
                made.extend(shelf.put(name, each.rendered(language)))

    interrupted = run_until_interrupted(make())
    told.close()
    for path in made:
        print(path)
    if interrupted:
        return EXIT_INTERRUPTED
    if not made:
        print("there was nothing to report on", file=sys.stderr)
    # What was asked for by name has raised; of all meters it is well if there is none.
    return EXIT_WELL


def _readings_file(config: Config, arguments: argparse.Namespace) -> Path:
    """Whole weeks and months are at home even while something stands in for it; how it is now is not."""
    home, stand_in = config.data_dir / READINGS_FILE, arguments.data_dir
    if stand_in is None or (arguments.kind != "commissioning" and home.is_file()):
        return home
    return Path(stand_in) / READINGS_FILE


class _Told:
    """Progress: a bar on a terminal, a line for each percent elsewhere, as jobs understand it."""

    def __init__(self, *, shown: bool) -> None:
        self._shown, self._is_terminal = shown, sys.stdout.isatty()
        self._bar = Progress() if shown and self._is_terminal else None
        self._begun_s, self._percent = time.monotonic(), -1

    def tell(self, share: float, text: str) -> None:
        share = min(max(share, 0.0), 1.0)
        if self._bar:
            gone_s = time.monotonic() - self._begun_s
            self._bar.update(gone_s * (1 - share) / max(share, 0.01), text)
        elif self._shown and (percent := int(100 * share)) > self._percent:
            self._percent = percent
            print(f"{percent} %  {text}", flush=True)

    def close(self) -> None:
        if self._bar:
            self._bar.close()
