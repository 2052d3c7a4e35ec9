"""The databases of the agent and an upgrade: which of them a release would change, tried on a copy first."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from agent.database import migrate
from agent.deploy.layout import sync_folder

# Every schema package of the tree; a test sees to it.
SCHEMAS = {
    "readings.db": "agent.store.schema",
    "identity.db": "agent.server.identity.schema",
    "audit.db": "agent.server.audit.schema",
    "alarms.db": "agent.alarms.schema",
    "jobs.db": "agent.schedule.schema",
}


class Standing(NamedTuple):
    """How far a file is, and how far this code would bring it."""

    file: Path
    package: str
    has: int
    knows: int


def standings(data_dir: Path) -> list[Standing]:
    """The databases that are there. OSError if one cannot be read."""
    return [
        Standing(data_dir / name, package, _version(data_dir / name), _known(package))
        for name, package in SCHEMAS.items()
        if (data_dir / name).exists()
    ]


def _version(file: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
            ((version,),) = db.execute("PRAGMA user_version")
    except sqlite3.Error as error:
        raise OSError(f"{file}: cannot be read: {error}; see: uicps-agent doctor") from error
    return int(version)


def _known(package: str) -> int:
    return sum(file.name.endswith(".sql") for file in resources.files(package).iterdir())


async def rehearse(data_dir: Path, scratch: Path) -> list[str]:
    """Bring a copy of each database whose schema changes up to this code; the names of those.

    OSError if one cannot be copied, migrated, or is broken or newer; the files themselves are only read.
    """
    changing = []
    for one in standings(data_dir):
        if one.has > one.knows:
            raise OSError(
                f"{one.file}: has schema {one.has}, this release knows {one.knows}: it is an older one"
            )
        if one.has < one.knows:
            await _rehearse(one, scratch / one.file.name)
            changing.append(one.file.name)
    return changing


async def _rehearse(one: Standing, copy: Path) -> None:
    size, free = one.file.stat().st_size, shutil.disk_usage(copy.parent).free
    if free < 2 * size + 50_000_000:
        raise OSError(
            f"{copy.parent}: {free / 1e6:.0f} MB free, a copy of {one.file} needs {2 * size / 1e6 + 50:.0f}"
        )
    try:
        said = await _migrated(one, copy)
    except sqlite3.Error as error:
        raise OSError(f"{one.file}: a copy of it cannot be migrated: {error}") from error
    if said != "ok":
        raise OSError(f"{one.file}: broken ({said}); see: uicps-agent doctor")


async def _migrated(one: Standing, copy: Path) -> str:
    """What SQLite's check says of a migrated copy."""
    async with (
        aiosqlite.connect(f"{one.file.resolve().as_uri()}?mode=ro", uri=True) as source,
        aiosqlite.connect(copy) as target,
    ):
        await source.backup(target)
        await migrate(target, one.package)
        ((said,),) = await target.execute_fetchall("PRAGMA quick_check(1)")
    return str(said)


def snapshot(data_dir: Path, folder: Path) -> None:
    """Copy the files of a stopped agent to `folder`, which is there only when whole."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    for file in _files(data_dir):
        shutil.copy2(file, part / file.name)
    os.sync()
    part.rename(folder)
    sync_folder(folder.parent)


def restore(folder: Path, data_dir: Path) -> None:
    """Put the files of `folder` back, and take away what came since. May be done again after a crash."""
    kept = {file.name for file in folder.iterdir()}
    owner = data_dir.stat()
    for file in _files(data_dir):
        if file.name not in kept:
            file.unlink()
    for name in sorted(kept):
        draft = data_dir / f".{name}.restored"
        shutil.copy2(folder / name, draft)
        shutil.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(data_dir / name)
    os.sync()


def _files(data_dir: Path) -> list[Path]:
    """What belongs together in a data folder: databases, their logs, the journal, keys."""
    return [
        file
        for file in sorted(data_dir.iterdir())
        if file.is_file() and file.suffix in (".db", ".db-wal", ".db-shm", ".journal", ".json")
    ]
