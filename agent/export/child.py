"""The process of one export: an order on standard input, its CSV on standard output.

Rules. Nothing is said before the first readings were read: until then an error is still a clean refusal (the
exit code, and a line on standard error). It comes last when processor time or memory is short, and goes with
the agent. It imports little: the first byte waits for that.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from agent.confined import confine
from agent.export.order import DAMAGED, UNREADABLE, Order, decoded
from agent.export.rows import Style, long_header, long_rows, wide_header, wide_rows
from agent.export.table import tables
from agent.store import series
from agent.store.log_part import LogPart
from agent.store.rescue import decoding, is_broken
from agent.store.series import Columns

GZIP_LEVEL = 3
MEMORY_MB_MAX = 256  # a mistake of ours must not take the box's
CACHE_KB = 256
WIDE_STEP_VALUES = 100_000  # of all groups together

_T = TypeVar("_T")


def main() -> None:
    """Exits with 0, UNREADABLE, DAMAGED, or a traceback."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody listens any more
    parent = os.getppid()
    order = decoded(sys.stdin.buffer.read())
    try:
        with decoding(), closing(_opened(order.file)) as db:
            pieces = packed(texts(db, order)) if order.gzip else texts(db, order)
            _say(next(pieces))
            confine(MEMORY_MB_MAX, None, parent)
            for piece in pieces:
                _say(piece)
    except sqlite3.Error as error:
        sys.stderr.write(f"store: cannot read history: {error}")
        sys.exit(DAMAGED if is_broken(error) else UNREADABLE)


def _say(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _opened(file: str) -> sqlite3.Connection:
    place = f"{Path(file).resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(place, uri=True, isolation_level=None)
    db.execute(f"PRAGMA cache_size = -{CACHE_KB}")  # what is read once need not be kept
    return db


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """As one gzip file."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=31)
    for piece in pieces:
        if text := packer.compress(piece):
            yield text
    yield packer.flush()


def texts(db: sqlite3.Connection, order: Order) -> Iterator[bytes]:
    """The file, in pieces."""
    style = Style(order.layout, ZoneInfo(order.zone) if order.zone else None, order.comma)
    return _wide(db, order, style) if order.layout == "wide" else _long(db, order, style)


def _long(db: sqlite3.Connection, order: Order, style: Style) -> Iterator[bytes]:
    sixth = order.aggregate if order.step_ms else ""
    ids, period_ms = {name for name, _ in order.points}, (order.from_ms, order.to_ms)
    found = series.columns(db, series.groups_of(db), ids, period_ms, order.moment)
    begun = _begun(_aggregated(found, order))
    yield long_header(style, "aggregate" if order.step_ms else "quality")
    for part in begun:
        yield from long_rows(style, part, sixth)


def _wide(db: sqlite3.Connection, order: Order, style: Style) -> Iterator[bytes]:
    ids, period_ms = [name for name, _ in order.points], (order.from_ms, order.to_ms)
    chosen = series.keyed(series.groups_of(db), ids)
    step_values = WIDE_STEP_VALUES // max(1, len(chosen))
    log = LogPart(db, sorted(chosen), period_ms, order.moment)
    found = series.streams(db, chosen, set(ids), log, step_values)
    begun = _begun(tables([_aggregated(each, order) for each in found], ids))
    yield wide_header(style, order.points)
    for times, matrix in begun:
        yield from wide_rows(style, times, matrix)


def _begun(pieces: Iterator[_T]) -> Iterator[_T]:
    """The same, the first of it made already."""
    return chain(list(islice(pieces, 1)), pieces)


def _aggregated(found: Iterator[Columns], order: Order) -> Iterator[Columns]:
    """`found`, or with steps one aggregate of it in the same shape."""
    if not order.step_ms:
        yield from found
        return
    for step in series.steps(found, order.step_ms):
        yield step.as_columns(order.aggregate)


if __name__ == "__main__":
    main()
