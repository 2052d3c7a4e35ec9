"""`plugin new|check|run`: makes a plug-in, finds its faults, and tries it on what is stored."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import Counter
from contextlib import aclosing
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from agent.commands.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WELL, run_until_interrupted
from agent.config import load
from agent.plugins.backtest import RUNS_MAX, Replayed, Wish, replay
from agent.plugins.host import Program, loaded
from agent.plugins.options import PluginOptions
from agent.plugins.outline import Outline, outline
from agent.schedule import Result
from agent.schedule.child import Limits
from agent.schedule.when import Every, Schedule
from agent.schema import Fault, FaultyFile
from agent.store.onlooker import Onlooker

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

SHOWN_MAX = 200
KINDS = ("publish", "raise", "clear", "submit")
LOAD_S_MAX, LOAD_MB_MAX = 30.0, 256
EVERY_S = 3600.0
NAME_RULE = re.compile(r"[a-z][a-z0-9_]{0,39}")
READINGS_FILE = "readings.db"


def add_to(commands: Commands) -> None:
    """`plugin new NAME`, `plugin check FILE`, `plugin run FILE CONFIG --from --to`."""
    text = "your own analyses and rules (docs/plugins.md)"
    actions = commands.add_parser("plugin", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    text = "write a file to begin with"
    new = actions.add_parser("new", help=text, description=text)
    new.add_argument("name", metavar="NAME", help="small letters, digits and _")
    new.add_argument("--folder", type=Path, default=Path(), help="where to (the current one)")
    new.set_defaults(command=_new)
    text = "find what is wrong with a file; it is loaded, its function is not called"
    check = actions.add_parser("check", help=text, description=text)
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(command=_check)
    _add_run(actions)


def _add_run(actions: Commands) -> None:
    text = "run it on stored history: what it would have published, raised and commanded"
    run = actions.add_parser("run", help=text, description=f"{text}. Nothing of it is done.")
    run.add_argument("file", type=Path, metavar="FILE")
    run.add_argument("config", type=Path, metavar="CONFIG", help="of the agent, which may be at work")
    run.add_argument("--from", dest="start", required=True, metavar="TIME", help="local: 2026-11-01[T18:00]")
    run.add_argument("--to", dest="end", metavar="TIME", help="left out: now")
    run.add_argument(
        "--every", type=float, metavar="S", help="left out: as its [[plugin]] says, or once an hour"
    )
    run.add_argument("--all", action="store_true", help=f"print more than {SHOWN_MAX} lines")
    run.set_defaults(command=_run)


def _new(arguments: argparse.Namespace) -> int:
    name: str = arguments.name.removesuffix(".py")
    if not NAME_RULE.fullmatch(name):
        raise OSError(f"{name}: expected small letters, digits and _, beginning with a letter")
    file: Path = arguments.folder / f"{name}.py"
    text = resources.files("agent.plugins").joinpath("template.py.txt").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text.replace("NAME", name))
    except FileExistsError:
        raise OSError(f"{file}: is there already, and stays as it is: take another name") from None
    print(f"{file}: written; then: uicps-agent plugin check {file}")
    return EXIT_WELL


def _check(arguments: argparse.Namespace) -> int:
    file: Path = arguments.file
    found = outline(file)
    print(f"{file}: {found.function}: {found.words}")
    for what, names in (
        ("uses", found.uses),
        ("publishes", [f"{name} [{unit}]" for name, unit in found.publishes.items()]),
        ("alarms", found.alarms),
        ("options", [f"{name} = {value!r}" for name, value in found.options.items()]),
    ):
        if names:
            print(f"  {what}: {', '.join(names)}")
    outcome = asyncio.run(loaded(Program(file.resolve(), {}, "UTC", Limits(LOAD_S_MAX, LOAD_MB_MAX))))
    if outcome.result is not Result.WELL:
        print(f"  it cannot be loaded: {outcome.result}: {outcome.text}")
        return EXIT_FAILED
    return EXIT_WELL


class _Trial(NamedTuple):
    """What a back-test needs."""

    program: Program
    outline: Outline
    plugin: PluginOptions | None
    times_ms: list[int]
    zone: ZoneInfo
    history: Onlooker


def _run(arguments: argparse.Namespace) -> int:
    trial = _trial(arguments)
    shown, failed = Counter[str](), 0
    last: list[Replayed] = []

    async def run() -> None:
        nonlocal failed
        may_write = trial.plugin.may_write if trial.plugin else None
        runs = replay(trial.program, trial.history, trial.outline, trial.times_ms, may_write=may_write)
        async with aclosing(runs) as found:
            async for each in found:
                last[:] = [each]
                failed += each.outcome.result is not Result.WELL
                for line in _lines(each, trial.zone):
                    shown["lines"] += 1
                    if arguments.all or shown["lines"] <= SHOWN_MAX:
                        print(line)
                shown["runs"] += 1
                shown.update(wish.kind for wish in each.wishes)

    interrupted = run_until_interrupted(run())
    _sum_up(shown, failed, len(trial.times_ms), everything=arguments.all)
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if failed or shown["runs"] < len(trial.times_ms) else EXIT_WELL


def _trial(arguments: argparse.Namespace) -> _Trial:
    config = load(arguments.config)
    file: Path = arguments.file.resolve()
    found, zone = outline(file), ZoneInfo(config.options.agent.timezone)
    folder = config.options.agent.plugin_dir
    named = [each for each in config.options.plugin if folder and (folder / each.file).resolve() == file]
    plugin = named[0] if named else None
    options, limits = (
        (plugin.options, Limits(plugin.time_s_max, plugin.memory_mb_max)) if plugin else ({}, LIMITS)
    )
    history = Onlooker(config.data_dir / READINGS_FILE)
    times_ms = _times(arguments, zone, _schedule(arguments, plugin, zone))
    return _Trial(Program(file, options, zone.key, limits), found, plugin, times_ms, zone, history)


LIMITS = Limits(60.0, 128)


def _schedule(arguments: argparse.Namespace, plugin: PluginOptions | None, zone: ZoneInfo) -> Schedule:
    if arguments.every is not None:
        if arguments.every < 1:
            raise OSError(f"--every: expected at least 1 s, found {arguments.every:g}")
        return Every(arguments.every)
    return (plugin.schedule(zone) if plugin else None) or Every(EVERY_S)


def _times(arguments: argparse.Namespace, zone: ZoneInfo, schedule: Schedule) -> list[int]:
    start_ms = _instant_ms("--from", arguments.start, zone)
    end_ms = (
        _instant_ms("--to", arguments.end, zone)
        if arguments.end
        else round(datetime.now(zone).timestamp() * 1000)
    )
    times: list[int] = []
    at_ms = schedule.after(start_ms - 1)
    while at_ms is not None and at_ms < end_ms:
        times.append(at_ms)
        if len(times) > RUNS_MAX:
            raise OSError(f"expected at most {RUNS_MAX} runs: choose a shorter time, or a larger --every")
        at_ms = schedule.after(at_ms)
    if not times:
        raise OSError("it is never due between --from and --to")
    return times


def _instant_ms(option: str, text: str, zone: ZoneInfo) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise FaultyFile(
            [Fault(option, "", f"expected a time like 2026-11-01T18:00, found {text!r}")]
        ) from error
    return round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)


def _lines(run: Replayed, zone: ZoneInfo) -> list[str]:
    """What it did in one run, a line for each thing."""
    stamp = f"{datetime.fromtimestamp(run.time_ms / 1000, zone):%Y-%m-%d %H:%M:%S}"
    said = [f"{run.outcome.result}"] if run.outcome.result is not Result.WELL else []
    said += [run.outcome.text] if run.outcome.text else []
    heads = [": ".join(said)] if said else []
    return [f"{stamp}  {text}" for text in (*heads, *map(_wish, run.wishes))]


def _wish(wish: Wish) -> str:
    value = "" if wish.value != wish.value else f" {wish.value:g}"
    return f"{wish.kind:7} {wish.name}{value}" + (f"  ({wish.detail})" if wish.detail else "")


def _sum_up(shown: Counter[str], failed: int, wanted: int, *, everything: bool) -> None:
    if not everything and shown["lines"] > SHOWN_MAX:
        print(f"... {shown['lines'] - SHOWN_MAX} lines more (--all shows them)")
    wanted_of = [f"{shown[kind]} x {kind}" for kind in KINDS if shown[kind]]
    kinds = ", ".join(wanted_of) or "nothing published, raised or commanded"
    print(f"{shown['runs']} of {wanted} runs, {failed} failed; {kinds}")
