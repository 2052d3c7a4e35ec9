"""The lines of an export below its header."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from agent.export.order import Order
from agent.export.rows import long_rows, wide_rows
from agent.export.table import tables
from agent.store import series
from agent.store.log_part import LogPart
from agent.store.moment import keyed
from agent.store.rescue import decoded, decoding
from agent.store.series import Columns

STEP_VALUES = 50_000  # of all groups together


def rows(db: sqlite3.Connection, order: Order) -> Iterator[bytes]:
    """A slice at a time. sqlite3.Error: the history cannot be read."""
    return _wide(db, order) if order.style.layout == "wide" else _long(db, order)


def _long(db: sqlite3.Connection, order: Order) -> Iterator[bytes]:
    sixth = order.aggregate if order.step_ms else ""
    for stream in _streams(db, order, together=False):
        for part in stream:
            yield from long_rows(order.style, part, sixth)


def _wide(db: sqlite3.Connection, order: Order) -> Iterator[bytes]:
    ids = [name for name, _ in order.points]
    for times, matrix in tables(_streams(db, order, together=True), ids):
        yield from wide_rows(order.style, times, matrix)


def _streams(db: sqlite3.Connection, order: Order, *, together: bool) -> list[Iterator[Columns]]:
    ids, period_ms = {name for name, _ in order.points}, (order.from_ms, order.to_ms)
    with decoding():
        chosen = keyed(series.groups_of(db), ids)
    log = LogPart(db, sorted(chosen), period_ms, order.moment)
    step_values = STEP_VALUES // max(1, len(chosen)) if together else STEP_VALUES
    found = series.streams(db, chosen, ids, log, step_values)
    return [_aggregated(decoded(each), order) for each in found]


def _aggregated(found: Iterator[Columns], order: Order) -> Iterator[Columns]:
    """`found`, or with steps one aggregate of it in the same shape."""
    if not order.step_ms:
        return found
    return (step.as_columns(order.aggregate) for step in series.steps(found, order.step_ms))
