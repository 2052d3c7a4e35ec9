"""`job list|history|run|pause|resume`: what runs at its time; asks a running agent through jobs.db."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import time
from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from agent.analysis.site.options import built_in_jobs
from agent.commands.terminal import EXIT_FAILED, EXIT_WELL, span, table
from agent.config import Config, load
from agent.plugins.options import PluginOptions
from agent.schedule import JOBS_FILE, JobOptions, Result, Run, Runs
from agent.schedule.options import When
from agent.schedule.runs import Standing

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

LOCK_FILE = "agent.lock"
BEGINS_S_MAX = 30.0
LOOK_S = 0.3


def add_to(commands: Commands) -> None:
    """`job list|history|run|pause|resume CONFIG [NAME]`."""
    text = "what runs at its time: jobs and plug-ins"
    actions = commands.add_parser("job", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    for name, text, command in (
        ("list", "every job: when it runs next, how it went last", _list),
        ("history", "the last runs, newest first", _history),
        ("run", "run one now, and wait for its end", _run),
        ("pause", "let what is due pass, also over restarts", _pause),
        ("resume", "run it again when it is due", _resume),
    ):
        one = actions.add_parser(name, help=text, description=text)
        one.add_argument("config", type=Path, metavar="CONFIG")
        if name == "history":
            one.add_argument("name", nargs="?", default="", metavar="NAME")
            one.add_argument("--count", type=int, default=20, metavar="N", help="at most (%(default)s)")
        elif name != "list":
            one.add_argument("name", metavar="NAME")
        one.set_defaults(command=command)


def _list(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    standings, lasts = asyncio.run(_known(config))
    zone = ZoneInfo(config.options.agent.timezone)
    rows = [_row(name, when, standings.get(name), lasts[name], zone) for name, when in _jobs(config).items()]
    print(table(("JOB", "WHEN", "NEXT", "LAST", "RESULT", "TOOK"), rows) if rows else "there are no jobs")
    return EXIT_WELL


def _jobs(config: Config) -> dict[str, When]:
    found: list[JobOptions | PluginOptions] = [*config.options.job, *config.options.plugin]
    own = {each.name: each for each in found}
    return {**built_in_jobs(config.options.analysis), **own, **config.options.reports.jobs}


def _runs(config: Config) -> Runs:
    """The agent's own file. Never made here: it would belong to whoever asks, and not to the agent."""
    file = config.data_dir / JOBS_FILE
    if not file.exists():
        raise OSError(f"{file}: is not there: the agent makes it when it starts")
    return Runs(file)


async def _known(config: Config) -> tuple[dict[str, Standing], dict[str, Run | None]]:
    if not (config.data_dir / JOBS_FILE).exists():
        return {}, dict.fromkeys(_jobs(config))
    async with _runs(config) as runs:
        return await runs.standings(), {name: await runs.last(name) for name in _jobs(config)}


def _row(name: str, when: When, known: Standing | None, last: Run | None, zone: tzinfo) -> Sequence[str]:
    schedule = when.schedule(zone)
    after_ms = round(time.time() * 1000)
    next_ms = schedule.after(after_ms) if schedule else None
    coming = "paused" if known and known.paused else _at(next_ms, zone)
    if last is None:
        return (name, when.words, coming, "-", "-", "-")
    return (name, when.words, coming, _at(last.started_ms, zone), last.result, _took(last))


def _at(time_ms: int | None, zone: tzinfo) -> str:
    return "-" if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000, zone):%Y-%m-%d %H:%M:%S}"


def _took(run: Run) -> str:
    return "-" if run.ended_ms is None else span((run.ended_ms - run.started_ms) / 1000)


def _history(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    if arguments.name:
        _check(config, arguments.name)
    zone = ZoneInfo(config.options.agent.timezone)

    async def ask() -> list[Run]:
        async with _runs(config) as runs:
            return await runs.history(arguments.name, max(arguments.count, 1))

    found = asyncio.run(ask())
    heads = ("JOB", "FOR", "STARTED", "TOOK", "MB", "RESULT", "")
    rows = [
        (
            *(run.job, _at(run.due_ms, zone), _at(run.started_ms, zone), _took(run)),
            *(
                "-" if run.memory_mb is None else f"{run.memory_mb:.0f}",
                run.result,
                run.text.partition("\n")[0],
            ),
        )
        for run in found
    ]
    print(table(heads, rows) if rows else "nothing has run yet")
    return EXIT_WELL


def _run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    run = asyncio.run(_run_and_wait(config, arguments.name))
    print(f"{run.job}: {run.result}, {_took(run)}" + (f"\n{run.text}" if run.text else ""))
    return EXIT_WELL if run.result == Result.WELL else EXIT_FAILED


async def _run_and_wait(config: Config, name: str) -> Run:
    _check(config, name)
    _check_at_work(config.data_dir)
    async with _runs(config) as runs:
        before = await runs.last_id()
        await runs.wish(name, "run")
        until_s = time.monotonic() + BEGINS_S_MAX
        while True:
            await asyncio.sleep(LOOK_S)
            last = await runs.last(name)
            begun = last is not None and last.id > before
            if last is not None and begun and last.ended_ms is not None:
                return last
            if not begun and time.monotonic() > until_s:
                raise OSError(
                    f"{name}: has not begun in {BEGINS_S_MAX:g} s: it, or others, are running already"
                )
            if begun:
                _check_at_work(config.data_dir)


def _pause(arguments: argparse.Namespace) -> int:
    return _wish(arguments, "pause")


def _resume(arguments: argparse.Namespace) -> int:
    return _wish(arguments, "resume")


def _wish(arguments: argparse.Namespace, what: str) -> int:
    config = load(arguments.config)
    _check(config, arguments.name)

    async def ask() -> None:
        async with _runs(config) as runs:
            await runs.wish(arguments.name, what)

    asyncio.run(ask())
    when = "in a moment" if _at_work(config.data_dir) else "when the agent starts"
    print(f"{arguments.name}: {what}d {when}")
    return EXIT_WELL


def _check(config: Config, name: str) -> None:
    if name not in (known := _jobs(config)):
        raise OSError(f"{name}: there is no such job; known: {', '.join(known) or 'none'}")


def _check_at_work(folder: Path) -> None:
    if not _at_work(folder):
        raise OSError(f"{folder}: no agent is at work here, it would have to do it")


def _at_work(folder: Path) -> bool:
    try:
        with (folder / LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
