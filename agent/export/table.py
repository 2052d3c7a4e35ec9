"""The past as one table: streams of many groups, each in the order of time, side by side. Pure.

Rules. A stream is asked for more when little is left of what it gave last: what is in memory is about two of
its parts each, however far apart the times of the groups are, and gaps of years cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from agent.store.columns import Floats, Ints
from agent.store.series import Columns

CELLS = 100_000
LEFT_SHARE = 0.25


def tables(streams: Iterable[Iterator[Columns]], ids: Sequence[str]) -> Iterator[tuple[Ints, Floats]]:
    """n times, and n x `ids` values (NaN: none), in the order of time, about CELLS at once."""
    heads = [_Head(stream) for stream in streams]
    while True:
        for head in heads:
            head.refill()
        heads = [head for head in heads if head.part is not None]
        if not heads:
            return
        until_ms = min(head.last_ms for head in heads)
        parts = [part for head in heads if (part := head.taken(until_ms)) is not None]
        yield from _merged(parts, ids)


class _Head:
    """What a stream has given and was not taken yet."""

    def __init__(self, stream: Iterator[Columns]) -> None:
        self._stream, self._given = stream, 0
        self.part: Columns | None = None

    @property
    def last_ms(self) -> int:
        """Up to where all is known."""
        return -1 if self.part is None else int(self.part.time_ms[-1])

    def refill(self) -> None:
        if self.part is not None and len(self.part.time_ms) > self._given * LEFT_SHARE:
            return
        more = next(self._stream, None)
        if more is None:
            self._given = 0
        elif self.part is None:
            self.part, self._given = more, len(more.time_ms)
        else:
            self.part, self._given = _after(self.part, more), len(more.time_ms)

    def taken(self, until_ms: int) -> Columns | None:
        """What is not after `until_ms`; it is ours no more."""
        if self.part is None:
            return None
        end = int(np.searchsorted(self.part.time_ms, until_ms, side="right"))
        taken = _cut(self.part, slice(0, end))
        self.part = _cut(self.part, slice(end, None)) if end < len(self.part.time_ms) else None
        return taken if end else None


def _cut(part: Columns, own: slice) -> Columns:
    return part._replace(time_ms=part.time_ms[own], quality=part.quality[own], values=part.values[own])


def _after(part: Columns, more: Columns) -> Columns:
    return part._replace(
        time_ms=np.concatenate((part.time_ms, more.time_ms)),
        quality=np.concatenate((part.quality, more.quality)),
        values=np.concatenate((part.values, more.values)),
    )


def _merged(parts: Sequence[Columns], ids: Sequence[str]) -> Iterator[tuple[Ints, Floats]]:
    times = np.unique(np.concatenate([part.time_ms for part in parts]))
    places = {name: at for at, name in enumerate(ids)}
    step = max(1, CELLS // max(1, len(ids)))
    for at in range(0, len(times), step):
        own = times[at : at + step]
        matrix = np.full((len(own), len(ids)), np.nan)
        for part in parts:
            start, end = np.searchsorted(part.time_ms, (own[0], own[-1] + 1))
            rows = np.searchsorted(own, part.time_ms[start:end])
            for column, name in enumerate(part.points):
                values = part.values[start:end, column]
                known = ~np.isnan(values)
                matrix[rows[known], places[name]] = values[known]
        yield own, matrix
