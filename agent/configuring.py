"""Changing the configuration file of a running agent.

Rules.
1. The file stays its owner's: comments, order and what is not changed stay as they are.
2. A change is tried on a copy, as `check` does, and refused with every fault. Only then it takes the file's
   place, at once and whole; the version before it stays beside it as `<file>.previous`.
3. Who changes says which version he has seen (its ETag): of two who change at once, one is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.config import Config, load
from agent.schema import Fault, FaultyFile
from agent.server.parts import Document, Stale

Apply = Callable[[Config], Awaitable[list[str]]]


class Configuring:
    """Of `file`. `apply` makes the running agent like a configuration and says which lines that took."""

    def __init__(self, file: Path, apply: Apply) -> None:
        self._file, self._apply = file, apply
        self._changing = asyncio.Lock()

    async def read(self) -> tuple[str, Document]:
        """The ETag and the tables as they are in the file now. OSError if it cannot be read."""
        import tomlkit  # noqa: PLC0415 - rarely needed

        text = await asyncio.to_thread(self._file.read_text, encoding="utf-8")
        return _etag(text), tomlkit.parse(text)

    async def change(self, seen: str, edit: Callable[[Document], None]) -> tuple[str, list[str]]:
        """Have `edit` change the tables; the new ETag and the lines that were touched.

        Stale if the file is not the version `seen`, FaultyFile if the change would make it faulty.
        """
        import tomlkit  # noqa: PLC0415 - rarely needed

        async with self._changing:
            etag, document = await self.read()
            if seen != etag:
                raise Stale(etag)
            edit(document)
            text = tomlkit.dumps(document)
            config = await asyncio.to_thread(self._tried, text)
            touched = await self._apply(config)
            try:
                await asyncio.to_thread(self._put, text)
            except OSError:  # what runs and what the file says must be the same
                await self._apply(await asyncio.to_thread(load, self._file))
                raise
            return _etag(text), touched

    def _tried(self, text: str) -> Config:
        """`text` as a configuration, read from where its relative paths begin."""
        copy = self._file.with_name(f".{self._file.name}.tried")
        try:
            _write(copy, text, self._file)
            return load(copy)._replace(file=self._file)
        except FaultyFile as faulty:
            named = [
                Fault(each.file.replace(str(copy), str(self._file)), *each[1:]) for each in faulty.faults
            ]
            raise FaultyFile(named) from None
        finally:
            copy.unlink(missing_ok=True)

    def _put(self, text: str) -> None:
        fresh = self._file.with_name(f".{self._file.name}.new")
        _write(fresh, text, self._file)
        previous = self._file.with_name(f"{self._file.name}.previous")
        previous.unlink(missing_ok=True)
        os.link(self._file, previous)
        fresh.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write(file: Path, text: str, like: Path) -> None:
    """`text` on disk, readable by no more people than `like`."""
    mode = like.stat().st_mode & 0o777
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def _etag(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
