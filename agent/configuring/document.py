"""Changing the configuration file of a running agent.

Rules.
1. The file stays its owner's: comments, order and what is not changed stay as they are.
2. A change is tried on a copy, as `check` does, and refused with every fault. Only then it takes the file's
   place, at once and whole; the version before it stays beside it as `<file>.previous`.
3. Who changes says which version he has seen (its ETag): of two who change at once, one is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.config import Config, load
from agent.configuring.files import etag, exchange, write
from agent.schema import Fault, FaultyFile
from agent.server.parts import Document, Stale

Apply = Callable[[Config], Awaitable[list[str]]]


class Configuring:
    """Of `file`. `apply` makes the running agent like a configuration and says which lines that took; one
    change at a time, also of those that share `changing`."""

    def __init__(self, file: Path, apply: Apply, changing: asyncio.Lock) -> None:
        self._file, self._apply, self._changing = file, apply, changing

    async def read(self) -> tuple[str, Document]:
        """The ETag and the tables as they are in the file now. OSError if it cannot be read, FaultyFile if it
        is no TOML."""
        return await asyncio.to_thread(self._read)  # a big site takes the parser a second

    def _read(self) -> tuple[str, Document]:
        from tomlkit import parse  # noqa: PLC0415 - half a megabyte for who changes the configuration
        from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

        text = self._file.read_text(encoding="utf-8")
        try:
            return etag(text), parse(text)
        except (TOMLKitError, RecursionError) as error:
            raise FaultyFile([Fault(str(self._file), "", f"expected TOML: {error}")]) from None

    async def change(self, seen: str, edit: Callable[[Document], None]) -> tuple[str, list[str]]:
        """Have `edit` change the tables; the new ETag and the lines that were touched.

        Stale if the file is not the version `seen`, FaultyFile if the change would make it faulty.
        """
        async with self._changing:
            now, document = await self.read()
            if seen != now:
                raise Stale(now)
            edit(document)
            text = await asyncio.to_thread(_text, document)
            config = await asyncio.to_thread(self._tried, text)
            touched = await self._apply(config)
            try:
                await asyncio.to_thread(exchange, self._file, text)
            except OSError:  # what runs and what the file says must be the same
                await self._apply(await asyncio.to_thread(load, self._file))
                raise
            return etag(text), touched

    def _tried(self, text: str) -> Config:
        """`text` as a configuration, read from where its relative paths begin."""
        copy = self._file.with_name(f".{self._file.name}.tried")
        try:
            write(copy, text, self._file)
            return load(copy)._replace(file=self._file)
        except FaultyFile as faulty:
            named = [
                Fault(each.file.replace(str(copy), str(self._file)), *each[1:]) for each in faulty.faults
            ]
            raise FaultyFile(named) from None
        finally:
            copy.unlink(missing_ok=True)


def _text(document: Document) -> str:
    from tomlkit import dumps  # noqa: PLC0415 - as above

    return dumps(document)
