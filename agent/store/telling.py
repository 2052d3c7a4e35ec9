"""The past, told piece by piece by a child: see `past`. Several at a time, each where it was.

`how` is a function of ours ("agent.module:function"): of `series.Columns` (or `series.Steps`) and what else
is given it makes what the agent's own process can use as it is, which needs no numpy.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from agent.store import series
from agent.store.moment import Told
from agent.store.read_only import connected
from agent.store.rescue import decoded, decoding

_open: dict[int, Generator[Any, None, None]] = {}


def begin(file: Path, key: int, how: str, wanted: Told, given: tuple[Any, ...]) -> None:
    """`key` is for `piece` and `end`."""
    _open[key] = _told(file, how, wanted, given)


def piece(file: Path, key: int) -> Any:
    """What comes next; None: nothing. OSError: another child began it."""
    if key not in _open:
        raise OSError("store: the process that read the history has ended")
    return next(_open[key], None)


def end(file: Path, key: int) -> None:
    """Nobody listens any more."""
    if key in _open:
        _open.pop(key).close()


def _told(file: Path, how: str, wanted: Told, given: tuple[Any, ...]) -> Generator[Any, None, None]:
    module, _, name = how.partition(":")
    shaped = getattr(import_module(module), name)
    points, period_ms, moment, step_ms = wanted
    with closing(connected(file)) as db:
        with decoding():
            groups = series.groups_of(db)
        found = series.columns(db, groups, points, period_ms, moment)
        yield from shaped(decoded(series.steps(found, step_ms) if step_ms else found), *given)
