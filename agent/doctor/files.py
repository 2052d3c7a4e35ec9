"""The agent's files: who may read them, whether the databases are whole."""

from __future__ import annotations

import fcntl
import pwd
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from agent.doctor.findings import Finding, fault, warning, well

LOCK = "agent.lock"


def permissions(data_dir: Path) -> Iterator[Finding]:
    """The data folder: there, private, everything in it of one owner."""
    if not data_dir.is_dir():
        yield warning("data", f"{data_dir}: is not there yet", "it is made at the first start of the agent")
        return
    found = data_dir.stat()
    if found.st_mode & 0o077:
        text = f"{data_dir}: others may look into it (mode {found.st_mode & 0o777:o})"
        yield warning("data", text, f"chmod 700 {data_dir}")
    owner = _name(found.st_uid)
    strange = sorted(file.name for file in data_dir.iterdir() if file.lstat().st_uid != found.st_uid)
    if strange:
        text = (
            f"{data_dir}: {', '.join(strange[:5])} belong to someone else than {owner}, the agent's account"
        )
        yield fault("data", text, f"chown -R {owner}: {data_dir}")
    else:
        yield well("data", f"{data_dir}: of {owner} alone")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def is_running(data_dir: Path) -> bool:
    """Whether an agent works in `data_dir` now. OSError if that may not be asked."""
    try:
        with (data_dir / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def databases(data_dir: Path) -> Iterator[Finding]:
    """SQLite's own check of each database."""
    for file in sorted(data_dir.glob("*.db")):
        said = _check(file)
        mb = file.stat().st_size / 1e6
        if said == "ok":
            yield well("database", f"{file.name}: whole, {mb:.1f} MB")
        else:
            way_out = "stop the agent, keep a copy of the file, restore a backup (docs/operations.md)"
            yield fault("database", f"{file.name}: {said}", way_out)


def _check(file: Path) -> str:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            return str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return f"cannot be read: {error}"
