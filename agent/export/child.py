"""The process of one export: an order on standard input, its CSV on standard output.

Rules. Nothing is said before the file was opened and looked at: until then an error is a clean refusal (the
exit code, and a line on standard error). The header goes out before what takes long to import is imported:
nobody waits for numpy. It comes last when processor time or memory is short, and goes with the agent.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from agent.export.order import UNREADABLE, Order, decoded
from agent.export.style import long_header, wide_header

GZIP_LEVEL = 3
CACHE_KB = 256  # what is read once need not be kept
MEMORY_MB_MAX = 256  # a mistake of ours must not take the box's
LOOK = "SELECT count(*) FROM chunk, (SELECT max(seq) FROM reading)"


def main() -> None:
    """Exits with 0, UNREADABLE (and SQLite's code with its words on standard error), or a traceback."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody listens any more
    parent = os.getppid()
    order = decoded(sys.stdin.buffer.read())
    try:
        with closing(_opened(order.file)) as db:
            pieces = _pieces(db, order, parent)
            for piece in packed(pieces) if order.gzip else pieces:
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
    except sqlite3.Error as error:
        sys.stderr.write(f"{getattr(error, 'sqlite_errorcode', 0)} {error}")
        sys.exit(UNREADABLE)


def _opened(file: str) -> sqlite3.Connection:
    place = f"{Path(file).resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(place, uri=True, isolation_level=None)
    db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    db.execute(LOOK).fetchone()
    return db


def _pieces(db: sqlite3.Connection, order: Order, parent: int) -> Iterator[bytes]:
    if order.style.layout == "wide":
        yield wide_header(order.style, order.points)
    else:
        yield long_header(order.style, "aggregate" if order.step_ms else "quality")
    from agent.confined import confine  # noqa: PLC0415 - see the module
    from agent.export.content import rows  # noqa: PLC0415

    for at, piece in enumerate(rows(db, order)):
        yield piece
        if at == 0:
            confine(MEMORY_MB_MAX, None, parent)


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """As one gzip file; its first bytes at once."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=31)
    for at, piece in enumerate(pieces):
        text = packer.compress(piece)
        if at == 0:
            text += packer.flush(zlib.Z_SYNC_FLUSH)
        if text:
            yield text
    yield packer.flush()
