"""The log's table: how rows come into it, many in a statement.

Every statement lets go of the interpreter's lock and must get it back: beside a thread that computes, that
may be 5 ms each.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeAlias

from agent.model import Group, Reading
from agent.store import layout

AT_ONCE = (64, 16, 4, 1)  # rows in a statement; few sizes, so that each is prepared once

Row: TypeAlias = tuple[int, int, int, int, bytes]  # seq, group id, time_ms, quality, packed


def insert(db: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Put `rows`, whole ones, into `table`, in the transaction under way. sqlite3.Error."""
    at = 0
    for size in AT_ONCE:
        while len(rows) - at >= size:
            db.execute(_statement(table, len(rows[at]), size), list(chain(*rows[at : at + size])))
            at += size


@functools.cache
def _statement(table: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES {', '.join([row] * rows)}"  # noqa: S608 - nothing from outside


def rows_of(
    first: int, batch: Sequence[Reading], ids: Mapping[Group, int], packed: Sequence[bytes] = ()
) -> list[Row]:
    """`batch`, numbered from `first` on, as rows; `packed` are the values of as many of the first as were
    packed already."""
    known = len(packed)
    heads = enumerate(batch, first)
    rows = [
        (seq, ids[group], time_ms, int(quality), body)
        for body, (seq, (group, time_ms, _, quality)) in zip(packed, islice(heads, known), strict=True)
    ]
    for seq, (group, time_ms, values, quality) in heads:
        rows.append((seq, ids[group], time_ms, int(quality), layout.packer(len(values)).pack(*values)))
    return rows
