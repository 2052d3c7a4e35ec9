"""Readings of the past, asked of a `Store` or of an `Onlooker`: read in the process that asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection
from typing import TYPE_CHECKING, TypeAlias

from agent.model import Reading

if TYPE_CHECKING:
    from agent.store.history import History
    from agent.store.series import Columns, Steps

ReadingSteps: TypeAlias = AsyncGenerator[list[Reading], None]


class Readable(ABC):
    """For commands and children: numpy comes with it. The resident process asks `Store.told`."""

    @property
    @abstractmethod
    def _history(self) -> History: ...

    def history(self, points: Collection[str], from_ms: int, to_ms: int) -> ReadingSteps:
        """Readings of the groups that hold any of `points` ("device.point"), `from_ms` <= time < `to_ms`, in
        bounded steps: each chunk in the order of time, then the rest as it came. OSError: no disk."""
        return self._history.readings(set(points), (from_ms, to_ms))

    def columns(self, points: Collection[str], from_ms: int, to_ms: int) -> AsyncGenerator[Columns, None]:
        """As arrays: group by group, each in the order of time; otherwise like `history`."""
        return self._history.columns(set(points), (from_ms, to_ms))

    def downsample(
        self, points: Collection[str], from_ms: int, to_ms: int, step_ms: int
    ) -> AsyncGenerator[Steps, None]:
        """Mean, least, most, last and count of `points` in each `step_ms` (from multiples of it on), of the
        steps that hold anything; otherwise like `columns`."""
        return self._history.steps(set(points), (from_ms, to_ms), step_ms)
