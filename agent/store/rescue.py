"""What is said and done about a readings.db that is damaged."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")

WAY_OUT = "stop the agent and run `uicps-agent store salvage` on it to bring back what can be read"


@contextmanager
def decoding() -> Iterator[None]:
    """Inside, what comes from the file is decoded: if that makes no sense, the file is damaged."""
    try:
        yield
    except (zlib.error, struct.error, ValueError, LookupError, TypeError) as error:
        damaged = sqlite3.DatabaseError(f"what it holds makes no sense: {error!r}")
        damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damaged from error


def decoded(found: Iterator[_T]) -> Iterator[_T]:
    """`found`; only what goes wrong in there is the file's fault."""
    while True:
        with decoding():
            part = next(found, None)
        if part is None:
            return
        yield part
