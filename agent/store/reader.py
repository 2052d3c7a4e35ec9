"""History of a file that another process writes: for commands, which never write to it.

What the agent has not committed yet, a second at most, is not seen.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from agent.model import Group
from agent.store import layout
from agent.store.history import Columns, History, Steps
from agent.store.rescue import decoding
from agent.store.sealed import Sealed


class StoredHistory:
    """`columns` and `downsample` of the readings in `file`, like `Store`'s. OSError: it cannot be read."""

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise OSError(f"{file}: expected the readings of an agent, there are none")
        groups: dict[int, Group] = {}
        self.sealed = Sealed(file, groups)
        with _readable(file), closing(self.sealed.connect()) as db, decoding():
            rows = db.execute("SELECT id, device, name, layout FROM point_group")
            groups.update((key, layout.decode(*described)) for key, *described in rows)
        self.groups = groups
        self._history = History(self, _nothing, lambda: 0, lambda seq: [], lambda error: None)  # type: ignore[arg-type]

    @property
    def points(self) -> set[str]:
        """Every point that was ever stored."""
        return {name for group in self.groups.values() for name in group.point_ids}

    def columns(self, points: Sequence[str], from_ms: int, to_ms: int) -> AsyncGenerator[Columns, None]:
        """See `Store.columns`."""
        return self._history.columns(set(points), (from_ms, to_ms))

    def downsample(
        self, points: Sequence[str], from_ms: int, to_ms: int, step_ms: int
    ) -> AsyncGenerator[Steps, None]:
        """See `Store.downsample`."""
        return self._history.steps(set(points), (from_ms, to_ms), step_ms)


async def _nothing() -> None:
    """There is nothing to commit here."""


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"{file}: cannot be read: {error}") from error
