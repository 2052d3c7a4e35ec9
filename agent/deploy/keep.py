"""Everything that makes this box this box, in one file; and its way back, on the same box or another one.

Rules.
1. Configuration, secrets, the whole data folder: the centre and browsers know the restored box as the same.
   Databases are copied by SQLite itself while the agent works; their logs, journals and locks are not taken.
2. The file has its name only when it was read back whole. It has every secret in it: mode 0600.
3. A restore changes nothing before it knows the archive is whole and its configuration good for this release,
   and keeps what was there beside it: `<folder>.before-restore`, of the last restore only.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from agent.deploy.host import free_bytes
from agent.deploy.layout import NAME, Layout, sync_folder

MANIFEST = "uicps-agent.json"
FORM = 1
MEMBERS_MAX = 100_000
SPARE_BYTES = 50_000_000
BESIDE = ".before-restore"
_PASSING = (".db-wal", ".db-shm", ".journal", ".lock", ".part", ".tmp")
_ASIDE = (".broken-", ".before-restore-")

Say = Callable[[str], None]


def back_up(layout: Layout, target: Path, version: str, now: datetime) -> int:
    """Write the archive `target`; its size in bytes. OSError with the reason: then there is no `target`."""
    if target.exists():
        raise OSError(f"{target}: is there already; choose another name, or remove it")
    if not layout.config.is_file():
        raise OSError(f"{layout.config}: expected an installed agent, there is none")
    needed = sum(file.stat().st_size for folder in _folders(layout) for file, _ in _files(folder))
    if (free := free_bytes(target.parent)) < 2 * needed + SPARE_BYTES:
        needed_mb = (2 * needed + SPARE_BYTES) / 1e6
        raise OSError(f"{target.parent}: {free / 1e6:.0f} MB free, expected {needed_mb:.0f}")
    part = target.with_name(f"{target.name}.part")
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out, tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            _write(layout, out, Path(scratch), {"form": FORM, "version": version, "at": now.isoformat()})
            out.flush()
            os.fsync(out.fileno())
        manifest_of(part)
        part.rename(target)
        sync_folder(target.parent)
    except (sqlite3.Error, tarfile.TarError) as error:
        raise OSError(f"{target}: cannot be made: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def manifest_of(archive: Path) -> dict[str, object]:
    """What `archive` says of itself, once all of it was read. OSError: it is damaged, or something else."""
    try:
        _read_to_its_end(archive)
        with tarfile.open(archive, "r:gz") as tar:
            first = tar.next()
            text = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
            if text is None:
                raise OSError(f"{archive}: expected a backup of `service backup`, found another archive")
            said = json.loads(text.read())
            for at, member in enumerate(tar):
                if at > MEMBERS_MAX or not (_is_ours(member) or at == 0):
                    raise OSError(f"{archive}: {member.name}: no such thing belongs into a backup")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise OSError(f"{archive}: is not whole: {error}") from error
    if not isinstance(said, dict) or said.get("form") != FORM:
        raise OSError(f"{archive}: made by another release in a form that this one does not know")
    return said


def _read_to_its_end(archive: Path) -> None:
    """The check sum comes last, behind what tar reads."""
    with gzip.open(archive) as body:
        while body.read(1 << 20):
            pass


def unpack(archive: Path, layout: Layout, own: Callable[[Path], None]) -> None:
    """Put what is in `archive` beside the folders of the box, as `<folder>.restored`. OSError: no room.

    `own(path)` gives the service's account what was its own.
    """
    with tarfile.open(archive, "r:gz") as tar:
        needed = sum(member.size for member in tar) + SPARE_BYTES
    if (free := free_bytes(layout.state)) < needed:
        raise OSError(f"{layout.state}: {free / 1e6:.0f} MB free, expected {needed / 1e6:.0f}")
    for folder in _folders(layout):
        shutil.rmtree(_restored(folder), ignore_errors=True)
        _restored(folder).mkdir(mode=0o700, parents=True)
    places = {folder_name: _restored(folder) for folder_name, folder in _named(layout).items()}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            head, *rest = PurePosixPath(member.name).parts
            if not rest:
                continue
            path = places[head].joinpath(*rest)
            if (body := tar.extractfile(member)) is None:
                path.mkdir(mode=0o700)
            else:
                with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as out:
                    shutil.copyfileobj(body, out)
            path.chmod(member.mode & 0o777)
            if member.uname == NAME:
                own(path)
    os.sync()


def swap(layout: Layout) -> None:
    """What was unpacked takes the place of what is there, which is kept. The agent must not run."""
    moved: list[Path] = []
    try:
        for folder in _folders(layout):
            beside = folder.with_name(folder.name + BESIDE)
            shutil.rmtree(beside, ignore_errors=True)
            if folder.exists():
                folder.rename(beside)
                moved.append(folder)
            _restored(folder).rename(folder)
            sync_folder(folder.parent)
    except OSError:
        for folder in moved:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(folder.name + BESIDE).rename(folder)
        raise


def give(layout: Layout, own: Callable[[Path, int], None]) -> None:
    """Make the service's account the owner of its data: `own(path, mode)`."""
    for path in (layout.state, *layout.state.rglob("*")):
        own(path, 0o700 if path.is_dir() else path.stat().st_mode & 0o777)


def drop(layout: Layout) -> None:
    """Remove what an unfinished restore left."""
    for folder in _folders(layout):
        shutil.rmtree(_restored(folder), ignore_errors=True)


def restored_config(layout: Layout) -> Path:
    return _restored(layout.config_dir) / layout.config.name


def _restored(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.restored")


def _named(layout: Layout) -> dict[str, Path]:
    return {"etc": layout.config_dir, "state": layout.state}


def _folders(layout: Layout) -> tuple[Path, ...]:
    return tuple(_named(layout).values())


def _write(layout: Layout, out: io.BufferedWriter, scratch: Path, manifest: dict[str, object]) -> None:
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        body = json.dumps(manifest).encode()
        head = tarfile.TarInfo(MANIFEST)
        head.size, head.mode = len(body), 0o600
        tar.addfile(head, io.BytesIO(body))
        for name, folder in _named(layout).items():
            for file, inside in _files(folder):
                _add(tar, file, f"{name}/{inside}", scratch)


def _add(tar: tarfile.TarFile, file: Path, name: str, scratch: Path) -> None:
    if file.suffix != ".db" or file.is_dir():
        tar.add(file, name, recursive=False)
        return
    copy = scratch / "copy.db"
    place = f"{file.resolve().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(place, uri=True, isolation_level=None)) as source,
        closing(sqlite3.connect(copy, isolation_level=None)) as target,
    ):
        # A transaction of our own: the agent's next commit would make SQLite begin anew, for ever.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(target, pages=2000)
        target.execute("PRAGMA journal_mode = DELETE")
    copy.chmod(file.stat().st_mode & 0o777)
    tar.add(copy, name, recursive=False)
    copy.unlink()


def _files(folder: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """The folders and plain files that are kept, and their names inside of `folder`."""
    for file in sorted(folder.rglob("*")):
        passing = file.name.endswith(_PASSING) or any(each in file.name for each in _ASIDE)
        if (file.is_file() or file.is_dir()) and not file.is_symlink() and not passing:
            yield file, PurePosixPath(file.relative_to(folder).as_posix())


def _is_ours(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    inside = not path.is_absolute() and ".." not in path.parts and len(path.parts) > 1
    return (member.isfile() or member.isdir()) and inside and path.parts[0] in ("etc", "state")


def default_name(site: str, now: datetime) -> str:
    """`escola-12-20261128T140501Z.uicps`: sorts by time."""
    return f"{site}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.uicps"
