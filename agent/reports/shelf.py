"""The reports that were made, in a folder: named by what they are of, bounded, listed. Light: the agent's own
process lists and serves from here.

Rules. A name is made of what the report is of, and nothing else: making it again replaces it. What is not
named like a report is never listed, served or removed. A file appears as a whole. Beyond the limits the
oldest go.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from typing import NamedTuple, cast

from agent.reports.options import KINDS, LANGUAGES, Kind, Language

FOLDER = "reports"
_WHEN = r"\d{4}-\d{2}(?:-\d{2}(?:T\d{4})?)?"
_SUBJECT = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}?"  # lazy: it may end like a date
_NAME = re.compile(
    rf"(?P<kind>{'|'.join(KINDS)})_(?P<subject>{_SUBJECT})_(?P<begin>{_WHEN})(?:_(?P<end>{_WHEN}))?"
    rf"_(?P<language>{'|'.join(LANGUAGES)})\.(?P<format>html|csv)"
)


class Made(NamedTuple):
    """One file. `begin`, `end`: local dates (with a time where it is not midnight), or a month and ""."""

    name: str
    kind: Kind
    subject: str
    begin: str
    end: str
    language: Language
    format: str
    size_bytes: int
    made_ms: int


def name_of(kind: Kind, subject: str, begin: str, end: str, language: Language) -> str:
    """Without the ending of its format. ValueError: it would not be found again."""
    name = "_".join(filter(None, (kind, subject, begin, end, language)))
    if not _NAME.fullmatch(f"{name}.html"):
        raise ValueError(f"expected a name of letters, digits, '-' and '_', found {subject!r}")
    return name


def when(time_ms: int, zone: tzinfo) -> str:
    """A local time as a part of a name: the date alone at midnight."""
    at = datetime.fromtimestamp(time_ms / 1000, zone)
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%dT%H%M}"


class Shelf:
    """The folder. Calls block; they are short. OSError: the disk."""

    def __init__(self, folder: Path, *, count_max: int, size_max_mb: int) -> None:
        self.folder = folder
        self._count_max, self._bytes_max = count_max, size_max_mb * 1_000_000

    def all(self) -> list[Made]:
        """Every file, the newest first."""
        try:
            names = [each.name for each in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        found = [made for name in names if (made := self._made(name))]
        return sorted(found, key=lambda each: (-each.made_ms, each.name))

    def find(self, name: str) -> Path | None:
        """The file of that name; None if there is none. No name leads out of the folder."""
        return self.folder / name if self._made(name) else None

    def put(self, name: str, files: dict[str, bytes]) -> list[Path]:
        """Keep the formats of a report, then let the oldest go beyond the limits, never these."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _hand_over(self.folder, self.folder.parent)
        paths = [self._write(f"{name}.{ending}", body) for ending, body in files.items()]
        self._trim({path.name for path in paths})
        return paths

    def remove(self, name: str) -> bool:
        """Whether it was there."""
        if (path := self.find(name)) is None:
            return False
        path.unlink(missing_ok=True)
        return True

    def _made(self, name: str) -> Made | None:
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        path = self.folder / name
        try:
            about = path.lstat()
        except OSError:
            return None
        if not path.is_file() or path.is_symlink():
            return None
        return Made(
            name,
            cast(Kind, match["kind"]),
            match["subject"],
            match["begin"],
            match["end"] or "",
            cast(Language, match["language"]),
            match["format"],
            about.st_size,
            about.st_mtime_ns // 1_000_000,
        )

    def _write(self, name: str, body: bytes) -> Path:
        """As a whole or not at all: also when the power goes."""
        handle, draft = tempfile.mkstemp(dir=self.folder, prefix=".draft-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fchmod(file.fileno(), 0o640)
                os.fsync(file.fileno())
            _hand_over(Path(draft), self.folder)
            Path(draft).replace(self.folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(draft).unlink()
            raise
        return self.folder / name

    def _trim(self, kept: set[str]) -> None:
        for draft in self._stale_drafts():
            draft.unlink(missing_ok=True)
        found = self.all()
        count, size = len(found), sum(each.size_bytes for each in found)
        for each in reversed(found):
            if count <= self._count_max and size <= self._bytes_max:
                return
            if each.name not in kept:
                (self.folder / each.name).unlink(missing_ok=True)
                count, size = count - 1, size - each.size_bytes

    def _stale_drafts(self) -> Iterator[Path]:
        """What a kill left half written."""
        newest_ms = max((each.made_ms for each in self.all()), default=0)
        for draft in self.folder.glob(".draft-*"):
            with contextlib.suppress(OSError):
                if newest_ms - draft.lstat().st_mtime_ns // 1_000_000 > DRAFT_MS:
                    yield draft


DRAFT_MS = 3_600_000


def _hand_over(path: Path, like: Path) -> None:
    """What root makes at the command line belongs to who has the folder: the agent has to remove it."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
