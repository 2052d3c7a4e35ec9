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
from agent.store.history import History
from agent.store.moment import SEQ_MAX
from agent.store.rescue import decoding
from agent.store.sealed import Sealed
from agent.store.series import Columns, Steps, groups_of


class StoredHistory:
    """`columns` and `downsample` of the readings in `file`, like `Store`'s. OSError: it cannot be read."""

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise OSError(f"{file}: expected the readings of an agent, there are none")
        groups: dict[int, Group] = {}
        self.sealed = Sealed(file, groups)
        with _readable(file), closing(self.sealed.connect()) as db, decoding():
            groups.update(groups_of(db))
        self.groups = groups
        self._history = History(self, _nothing, lambda: SEQ_MAX, lambda seq: [], lambda error: None)  # type: ignore[arg-type]

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
