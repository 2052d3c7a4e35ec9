"""The newest readings, numbered, in memory: what is not on disk yet and some of what is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.model import Reading
from agent.store.sealed import Numbered


class Tail:
    """Readings without a gap, from the number `first` to `last`; empty, `last` is the one before `first`."""

    def __init__(self, first: int = 1) -> None:
        self.first = first
        self._readings: list[Reading] = []

    @property
    def last(self) -> int:
        """The number of the newest reading."""
        return self.first + len(self._readings) - 1

    def extend(self, readings: Iterable[Reading]) -> None:
        """`readings` come next."""
        self._readings.extend(readings)

    def since(self, first: int) -> Sequence[Reading]:
        """The readings from number `first`, which is here or comes next, to the newest."""
        return self._readings[first - self.first :]

    def between(self, first: int, last: int) -> Sequence[Reading]:
        """The readings from number `first`, which is here, to number `last`."""
        return self._readings[first - self.first : max(0, last + 1 - self.first)]

    def numbered(self, after: int, limit: int, last: int) -> list[Numbered]:
        """Up to `limit` of what is here with `after` < number <= `last`."""
        start = max(after + 1, self.first)
        return list(enumerate(self.between(start, min(start + limit - 1, last)), start))

    def shift(self, first: int, last: int, shift_ms: int) -> None:
        """Readings from `first` to `last` get another time, as far as they are here."""
        start = max(first, self.first)
        shifted = [
            reading._replace(time_ms=reading.time_ms + shift_ms) for reading in self.between(start, last)
        ]
        self._readings[start - self.first : start - self.first + len(shifted)] = shifted

    def forget(self, until: int) -> None:
        """Let go of what there is up to `until`."""
        surplus = until - self.first + 1
        if surplus > 0:
            del self._readings[:surplus]
            self.first += surplus
