"""Streams side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from agent.export.table import tables
from agent.store.series import Columns
from tests.conftest import group_of

A, B = group_of("a", 1), group_of("b", 1)
IDS = ["a.p0", "b.p0"]


def stream(group: object, *parts: Sequence[int]) -> Iterator[Columns]:
    name = "a.p0" if group is A else "b.p0"
    for times in parts:
        own = np.array(times, np.int64)
        values = own.astype(np.float64)[:, None]
        yield Columns(A if group is A else B, (name,), own, np.zeros(len(own), np.int64), values)


def rows(*streams: Iterator[Columns]) -> list[tuple[int, float, float]]:
    found = [
        (t, *row) for times, matrix in tables(streams, IDS) for t, row in zip(times, matrix, strict=True)
    ]
    return [(int(t), float(a), float(b)) for t, a, b in found]


def test_times_meet_whatever_the_parts() -> None:
    ours = [[1, 2, 3], [4, 5], list(range(6, 40)), [100]]
    theirs = [[2], [4, 39, 10**12], [10**13]]
    found = rows(stream(A, *ours), stream(B, *theirs))
    of_ours, of_theirs = set(chain(*ours)), set(chain(*theirs))
    assert [t for t, _, _ in found] == sorted(of_ours | of_theirs)
    for t, a, b in found:
        assert a == t or (np.isnan(a) and t not in of_ours)
        assert b == t or (np.isnan(b) and t not in of_theirs)


def test_a_fast_stream_does_not_pile_up_beside_a_slow_one() -> None:
    pulled = 0

    def fast() -> Iterator[Columns]:
        nonlocal pulled
        for at in range(100):
            pulled += 1
            yield from stream(A, range(at * 100, at * 100 + 100))

    found = tables([fast(), stream(B, [0, 9_999])], IDS)
    next(found)
    assert pulled <= 2


def test_nothing_is_an_empty_table() -> None:
    assert rows(stream(A), stream(B)) == []
    assert rows() == []
