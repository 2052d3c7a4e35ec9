"""Files that only the agent's own account may read, from the first instant they exist."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

MODE = 0o600
# What an agent that followed the umask has left readable to others.
_OLD = ("*.db*", "readings.*", "reports/*")


def make_private(folder: Path) -> None:
    """Whatever this process makes from here on is its account's alone, and what stands in the data `folder`
    becomes so: readings tell when nobody is in. What is not ours to change stays; `doctor` says it."""
    os.umask(0o077)
    with suppress(OSError):
        for file in [each for pattern in _OLD for each in folder.glob(pattern)]:
            _close(file)


def _close(file: Path) -> None:
    with suppress(OSError):
        about = file.lstat()
        if stat.S_ISREG(about.st_mode) and about.st_mode & 0o077:
            file.chmod(MODE)


def create_once(file: Path, content: bytes) -> None:
    """Write `content` to `file`, whole or not at all; a file that is already there stays as it is."""
    draft = _draft(file, content)
    try:
        with suppress(FileExistsError):
            os.link(draft, file)
        _sync_folder(file.parent)
    finally:
        draft.unlink()


def replace_private(file: Path, content: bytes) -> None:
    """Write `content` to `file`, whole or not at all, in place of what is there."""
    draft = _draft(file, content)
    try:
        draft.replace(file)
    except OSError:
        draft.unlink()
        raise
    _sync_folder(file.parent)


def _draft(file: Path, content: bytes) -> Path:
    """A private file beside `file` that holds `content`, on disk."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE)
    with os.fdopen(descriptor, "wb") as out:
        _give_to_folder_owner(out.fileno(), file.parent)
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    return draft


def read_private(file: Path) -> bytes:
    """The content of `file`. PermissionError if others could have read it."""
    with file.open("rb") as source:
        mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
        if mode & 0o077:
            raise PermissionError(
                f"{file}: expected mode 0600, found {mode:04o}: others may have read the key; "
                "delete the file to get a new one"
            )
        return source.read()


def _give_to_folder_owner(descriptor: int, folder: Path) -> None:
    # `sudo uicps-agent user add` before the first start must not lock the service out.
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
