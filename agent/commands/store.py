"""`uicps-agent backup`, `restore` and `store salvage`: the readings' file, looked after by hand.

Plain functions that print what they do; OSError and RuntimeError say what could not be done.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiosqlite

from agent.config import load
from agent.database import migrate
from agent.private import make_private
from agent.store import Store, StoreOptions
from agent.store.backup import back_up, restore
from agent.store.joining import unknown
from agent.store.salvage import Findings, copy_of, salvaged

READINGS_FILE = "readings.db"
LOCK_FILE = "agent.lock"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `backup`, `restore` and `store salvage`."""
    store = commands.add_parser("store", help="the file of the readings")
    actions = store.add_subparsers(required=True, metavar="ACTION")
    for parsers, name, text, command in (
        (commands, "backup", "copy the readings to a new file; the agent may be at work", _backup),
        (commands, "restore", "put a backup in the place of the readings, which are kept", _restore),
        (actions, "salvage", "add what can be read of a damaged file to the readings", _salvage_file),
    ):
        one = parsers.add_parser(name, help=text)
        one.add_argument("config", type=Path, metavar="CONFIG")
        one.add_argument("file", type=Path, metavar="FILE")
        one.set_defaults(command=command)


def _backup(arguments: argparse.Namespace) -> int:
    return backup_command(load(arguments.config).data_dir, arguments.file)


def _restore(arguments: argparse.Namespace) -> int:
    return restore_command(load(arguments.config).data_dir, arguments.file)


def _salvage_file(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    make_private(config.data_dir)
    return salvage_command(config.data_dir, arguments.file, config.options.store)


def backup_command(data_dir: Path, target: Path) -> int:
    """Copy the readings to `target`; the agent may be at work."""
    size_bytes = back_up(data_dir / READINGS_FILE, target, _show_progress)
    print(f"{target}: {size_bytes / 1e6:.1f} MB, whole and checked")
    return 0


def restore_command(data_dir: Path, source: Path) -> int:
    """Put the backup `source` in the place of the readings; no agent may be at work."""
    with alone_in(data_dir):
        aside = restore(source, data_dir / READINGS_FILE)
    print(f"{source}: is now {data_dir / READINGS_FILE}")
    if aside:
        print(f"what was there is kept as {data_dir / aside}")
    return 0


def salvage_command(data_dir: Path, source: Path, options: StoreOptions) -> int:
    """Add what can be read of the damaged file `source` to the readings; no agent may be at work."""
    if not source.is_file():
        raise OSError(f"{source}: expected a damaged file of readings, there is none")
    with alone_in(data_dir):
        findings, added = asyncio.run(_salvage(data_dir / READINGS_FILE, source, options))
    print(f"{source}: {findings.readings} readings could be read, {added} of them were not there yet")
    if findings.lost_parts:
        print(f"{findings.lost_parts} parts of it could not be read (the first: {findings.reason})")
    return 0 if findings.readings else 1


async def _salvage(target: Path, source: Path, options: StoreOptions) -> tuple[Findings, int]:
    findings, added = Findings(), 0
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="salvage-") as folder:
        copy = await asyncio.to_thread(copy_of, source, Path(folder), _empty_store)
        async with Store(target, options) as store:
            for step in salvaged(copy, findings):
                new = await unknown(store, step)
                store.append(new)
                await store.commit()
                if store.state.failing:
                    raise OSError(f"{target}: takes no more; {added} readings were added so far")
                added += len(new)
                await store.upkeep.once()
                print(f"\r{added} readings", end="", file=sys.stderr)
    print(file=sys.stderr)
    return findings, added


def _empty_store(file: Path, page_bytes: int) -> None:
    async def make() -> None:
        async with aiosqlite.connect(file) as db:
            await db.execute(f"PRAGMA page_size = {page_bytes}")
            await migrate(db, "agent.store.schema")

    asyncio.run(make())


def _show_progress(done: int, total: int) -> None:
    if total and sys.stderr.isatty():
        print(f"\r{100 * done // total} %", end="\n" if done == total else "", file=sys.stderr)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold `folder`, so that no agent starts in it; OSError if one is at work there."""
    if not folder.is_dir():
        raise OSError(f"{folder}: expected the data_dir of an agent, there is none")
    with (folder / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"{folder}: an agent is at work here; stop it first") from error
        yield
