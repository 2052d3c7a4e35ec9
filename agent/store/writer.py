"""The connection that writes: several statements as one piece of work in its thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import aiosqlite

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Writer(aiosqlite.Connection):
    """A hop to the thread costs more than many a statement, and one by an executor twice as much."""

    async def whole(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _T], *given: _P.args, **named: _P.kwargs
    ) -> _T:
        """`work(connection, ...)` in the connection's own thread. Errors are its own."""
        done: _T = await self._execute(work, self._conn, *given, **named)  # type: ignore[no-untyped-call]
        return done
