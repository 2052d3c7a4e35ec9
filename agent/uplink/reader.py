"""Which stretch of the log goes next, and what is in it."""

from __future__ import annotations

from agent.model import Reading
from agent.store import Store
from agent.store.progress import Span
from agent.uplink.payload import says_something

Numbered = tuple[int, Reading]


class Reader:
    """Reads at most `readings_max` at once. OSError if the disk cannot be read.

    Readings that were discarded are not there any more: the span that is returned passes over them.
    """

    def __init__(self, store: Store, readings_max: int, *, newest_first: bool) -> None:
        self._store, self._readings_max, self._newest_first = store, readings_max, newest_first

    async def chunk(self, gap: Span, count: int) -> tuple[Span, list[Numbered]]:
        """About `count` readings of `gap` from the end that goes first, and the span they stand for."""
        if not self._newest_first:
            rows, last = await self._rows(gap, count)
            return (gap[0], last), rows
        first = max(gap[0], gap[1] - count + 1)
        rows, _ = await self._rows((first, gap[1]), count)
        emptied = not rows and not (await self._rows(gap, 1))[0]
        return (gap[0] if emptied else first, gap[1]), rows

    async def of_device(self, gap: Span, device: str, count: int) -> tuple[Span, list[Numbered]]:
        """Up to `count` of the first readings of `device` in `gap`, and the span they stand for."""
        rows, last = await self._rows(gap, self._readings_max)
        own = [row for row in rows if row[1].group.device.name == device]
        if len(own) > count:
            own, last = own[:count], own[count - 1][0]
        return (gap[0], last), own

    async def near(self, device: str, seq: int) -> list[Numbered]:
        """Other readings of `device` that have a value, not far from `seq`: what was before it (and may
        have been delivered), or else what follows."""
        for span in ((max(1, seq - self._readings_max), seq - 1), (seq + 1, seq + self._readings_max)):
            rows, _ = await self._rows(span, self._readings_max)
            found = [row for row in rows if row[1].group.device.name == device and says_something(row[1])]
            if found:
                return found
        return []

    async def _rows(self, span: Span, limit: int) -> tuple[list[Numbered], int]:
        """The first `limit` readings of `span`, and up to where that is all there is.

        The store gives what it has at one place, fewer than we ask for where a sealed chunk or the disk
        ends: only nothing at all means that nothing follows.
        """
        rows: list[Numbered] = []
        last = span[0] - 1
        while last < span[1] and len(rows) < limit:
            more = await self._store.read_after(last, limit - len(rows))
            rows += more if not more or more[-1][0] <= span[1] else [row for row in more if row[0] <= span[1]]
            last = more[-1][0] if more and more[-1][0] < span[1] else span[1]
        return rows, last
