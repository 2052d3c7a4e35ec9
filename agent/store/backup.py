"""A copy of the store's file, made while an agent works with it; and its way back. For the command line.

Rules.
1. A backup is of one moment and one file, and has its name only when it is whole and checked.
2. A restore needs the folder for itself (the caller holds it), and keeps what was there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from agent.database import move_aside, too_new
from agent.store.disk import SCHEMA
from agent.store.journal import hand_on

PAGES_PER_STEP = 2000

Progress: TypeAlias = Callable[[int, int], None]  # pages done, pages in all


def back_up(source: Path, target: Path, progress: Progress = lambda done, total: None) -> int:
    """Copy the store `source` as it is now to the new file `target`; its size in bytes.

    OSError with the reason if that cannot be done; then there is no `target`.
    """
    if not source.is_file():
        raise OSError(f"{source}: expected the readings of an agent, there is no such file")
    if target.exists():
        raise OSError(f"{target}: is there already; choose another name, or remove it")
    part = target.with_name(f"{target.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        _copy(source, part, progress)
        check(part)
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise OSError(f"{target}: cannot be made: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: Path, target: Path, progress: Progress) -> None:
    place = f"{source.resolve().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(place, uri=True, isolation_level=None)) as taken,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        # A read transaction of our own: the agent's next commit would make SQLite begin anew, for ever.
        taken.execute("BEGIN")
        taken.execute("SELECT count(*) FROM sqlite_master").fetchone()
        taken.backup(
            copy, pages=PAGES_PER_STEP, progress=lambda _, left, total: progress(total - left, total)
        )
        copy.execute("PRAGMA journal_mode = DELETE")  # all of it in the one file


def check(file: Path) -> None:
    """OSError unless `file` is a whole store."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ((version,),) = db.execute("PRAGMA user_version").fetchall()
            ((verdict,),) = db.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as error:
        raise OSError(f"{file}: cannot be read: {error}") from error
    if not {"reading", "point_group"} <= tables:
        raise OSError(f"{file}: expected the readings of an agent, found a database of something else")
    if verdict != "ok":
        raise OSError(
            f"{file}: is damaged: {verdict}; `uicps-agent store salvage` brings back what can be read"
        )
    if (reason := too_new(version, SCHEMA)) is not None:
        raise OSError(f"{file}: {reason}")


def restore(source: Path, target: Path) -> str:
    """Put the backup `source` in the place of the store `target`; the new name of what was there, "" if
    nothing was. The caller sees to it that no agent runs. OSError: everything is as it was.

    It belongs to whom the folder belongs, whoever restores it: root's would keep the agent out."""
    check(source)
    part = target.with_name(f"{target.name}.part")
    try:
        shutil.copyfile(source, part)
        part.chmod(0o600)
        give_to_owner(part)
        _sync(part)
        aside = move_aside(target, "before-restore", journal=True) if target.exists() else ""
        if aside:  # no time is stamped twice, though the readings that had it are not here
            hand_on(
                target.with_name(aside).with_suffix(".journal"), journal := target.with_suffix(".journal")
            )
            give_to_owner(journal)
        part.rename(target)
        _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)
    return aside


def give_to_owner(file: Path) -> None:
    """If we are root, `file` is for whom its folder belongs to."""
    if os.geteuid() == 0 and file.exists():
        owner = file.parent.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
