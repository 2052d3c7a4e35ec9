"""Keeping what talks to the outside alive, and saying so without flooding the log."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any


class Episode:
    """One trouble from its first sign to its end: WARNING at first, DEBUG while it lasts, INFO at the end."""

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log, self._name = log, name
        self._failures = 0

    @property
    def failures(self) -> int:
        """How often it failed since it was last well."""
        return self._failures

    def failed(self, reason: object) -> None:
        level = logging.DEBUG if self._failures else logging.WARNING
        self._failures += 1
        self._log.log(level, "%s: %s", self._name, reason)

    def ended(self) -> None:
        if self._failures:
            self._log.info("%s: well again after %d failures", self._name, self._failures)
        self._failures = 0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of `first_s`, doubling up to `most_s`, each shortened at random so that a fleet spreads out."""

    first_s: float = 0.5
    most_s: float = 10.0

    def wait_s(self, failures: int, rand: Callable[[], float] = random.random) -> float:
        """Seconds to wait after the `failures`-th failure in a row (1 is the first)."""
        ceiling = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 16))
        return ceiling * (0.5 + rand() / 2)


def describe(error: BaseException) -> str:
    """A text for the log: the `str` of a TimeoutError is empty, so its name stands in."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(describe(each) for each in error.exceptions))
    text = str(error)
    return text if text and not isinstance(error, TimeoutError) else f"{type(error).__name__} {text}".rstrip()


def heed_cancellation() -> None:
    """Raise the cancellation that is due but was lost in a library.

    `asyncio.wait_for` of Python 3.11 drops a cancellation that meets a result, and some libraries
    turn one into a time-out. Call this after awaiting them, or a task may never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, which must not be cut in half: a cancellation takes effect when it is done.

    If it fails then, whoever handles that is cancelled where he waits next: a stop must not be forgotten.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
        except Exception:  # noqa: S110 - it is the task's, and raised below
            pass
    if cancelled and not task.cancelled():
        if task.exception() is None:
            raise asyncio.CancelledError
        if (caller := asyncio.current_task()) is not None:
            caller.uncancel()  # it is the same cancellation: `asyncio.timeout` counts them
            caller.cancel()
    task.result()


async def supervise(
    run: Callable[[], Awaitable[None]],
    episode: Episode,
    backoff: Backoff | None = None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run `run` for ever: an OSError (or a group of nothing else) restarts it after a back-off.

    Anything else is a bug and passes through. `run` tells `episode` when it is well, it knows best
    when that is; a failure after that is a first failure again.
    """
    backoff = backoff or Backoff()
    while True:
        reason = "ended by itself"
        try:
            await run()
        except* OSError as group:
            reason = describe(group)
        wait_s = backoff.wait_s(episode.failures + 1)
        episode.failed(f"{reason}; next try in {wait_s:.1f} s")
        await sleep(wait_s)
