"""A file exchanged at once and whole, with the version before it beside it as `<file>.previous`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

NEW_MODE = 0o640


def exchange(file: Path, text: str) -> None:
    """`text` takes the place of `file`, readable by those that it was. OSError: nothing changed."""
    fresh = file.with_name(f".{file.name}.new")
    write(fresh, text, file)
    keep(file)
    fresh.replace(file)
    settle(file.parent)


def keep(file: Path) -> None:
    """What `file` is now stays as `<file>.previous`."""
    previous = file.with_name(f"{file.name}.previous")
    if file.exists():
        previous.unlink(missing_ok=True)
        os.link(file, previous)


def settle(folder: Path) -> None:
    """Bring the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(file: Path, text: str, like: Path) -> None:
    """`text` on disk, readable by those that `like` is."""
    mode = like.stat().st_mode & 0o777 if like.exists() else NEW_MODE
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        os.fchmod(out.fileno(), mode)  # the agent's umask is for its data
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def etag(text: str) -> str:
    """Names this version of a file."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
