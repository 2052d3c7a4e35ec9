"""What the tests of the past have a child make of columns. Lean: the child loads it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from agent.store.series import Columns


def lists(found: Iterator[Columns], most: int) -> Iterator[list[tuple[int, str]]]:
    """Times and values (as texts: NaN is itself there), `most` at once."""
    for part in found:
        pairs = list(zip(part.time_ms.tolist(), map(str, part.values[:, 0].tolist()), strict=True))
        for at in range(0, len(pairs), most):
            yield pairs[at : at + most]


def loaded(found: Iterator[Columns], prefix: str) -> Iterator[list[str]]:
    """Which modules the child has."""
    yield [name for name in sys.modules if name.startswith(prefix)]
