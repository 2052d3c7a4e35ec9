"""The past, as the resident process asks for it: a child reads it, and hands over what somebody can use as it
is. numpy stays there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import count
from typing import Any

from agent.model import Group, Reading
from agent.store import layout
from agent.store.moment import LAST, Moment, Period, Row, Told, keyed
from agent.store.sealed import Numbered, Sealed
from agent.supervise import Episode

log = logging.getLogger(__name__)

_keys = count(1)


class Past:
    """`sealed` is the file, `commit()` brings to disk what it can, `newer(seq)` is what memory holds beyond
    `seq`, `note` is told every error of the disk."""

    def __init__(
        self,
        sealed: Sealed,
        commit: Callable[[], Awaitable[None]],
        newer: Callable[[int], list[Numbered]],
        note: Callable[[Exception], None],
    ) -> None:
        self._sealed, self._commit, self._newer, self._note = sealed, commit, newer, note
        self._reading = Episode(log, "store: history")

    async def told(
        self, how: str, points: Collection[str], period_ms: Period, step_ms: int, *given: Any
    ) -> AsyncGenerator[Any, None]:
        """See `Store.told`."""
        from_ms, to_ms = period_ms  # a tuple of somebody's own would have the child load his module
        moment = await self.moment(points, period_ms)
        wanted = Told(set(points), (from_ms, to_ms), moment, step_ms)
        child = self._sealed.reader
        with self._noting(), child.kept():
            key = next(_keys)  # never met twice, also not in the child after this one
            try:
                await child("telling:begin", key, how, wanted, given)
                while (piece := await child("telling:piece", key)) is not None:
                    yield piece
                self._reading.ended()
            finally:
                with contextlib.suppress(OSError):
                    await child("telling:end", key)

    async def moment(self, points: Collection[str], period_ms: Period) -> Moment:
        """See `Store.moment`."""
        await self._commit()
        async with self._connected() as db:
            return await self._moment(db, points, period_ms)

    async def _moment(self, db: sqlite3.Connection, points: Collection[str], period_ms: Period) -> Moment:
        ((last_seq,),) = await asyncio.to_thread(lambda: db.execute(LAST).fetchall())
        chosen = keyed(self._groups(), points)
        return Moment(last_seq, list(_rows(self._newer(last_seq), chosen, period_ms)))

    def _groups(self) -> dict[int, Group]:
        return dict(self._sealed.groups)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[sqlite3.Connection]:
        """A connection of its own, so that a long read holds nobody up."""
        with self._noting(), contextlib.closing(await asyncio.to_thread(self._sealed.connect)) as db:
            yield db

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._note(error)
            self._reading.failed(error)
            raise OSError(f"store: cannot read history: {error}") from error
        except OSError as error:
            self._reading.failed(error)
            raise


def within(reading: Reading, period_ms: Period) -> bool:
    """From <= time < to."""
    return period_ms[0] <= reading.time_ms < period_ms[1]


def _rows(newest: Sequence[Numbered], chosen: Mapping[int, Group], period_ms: Period) -> Iterator[Row]:
    """As the log will have them."""
    ids = {group: key for key, group in chosen.items()}
    for seq, reading in newest:
        if reading.group in ids and within(reading, period_ms):
            packed = layout.packer(len(reading.values)).pack(*reading.values)
            yield seq, ids[reading.group], reading.time_ms, int(reading.quality), packed
