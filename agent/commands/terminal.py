"""Talking to a person at a terminal, or to a pipe: tables, a bar with the time left, Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import uvloop

if TYPE_CHECKING:  # argparse does not say the name of this class in public
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_WELL, EXIT_FAILED, EXIT_FAULTY, EXIT_INTERRUPTED = 0, 1, 2, 130
BAR_CHARACTERS = 24
REDRAW_S, PLAIN_S = 0.1, 10.0


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end."""
    uvloop.run(work)


def run_until_interrupted(work: Coroutine[Any, Any, None]) -> bool:
    """Run `work`; whether Ctrl-C or SIGTERM ended it. It was cancelled then, and what it kept is kept."""
    return uvloop.run(_until_interrupted(work))


async def _until_interrupted(work: Coroutine[Any, Any, None]) -> bool:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await asyncio.wait([task])
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    if task.cancelled():
        return True
    task.result()
    return False


def forget_output() -> None:
    """Nobody reads standard output any more (`| head`): what is still to be flushed goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the last one is as long as it likes."""
    every = [heads, *rows]
    widths = [max(len(each[at]) for each in every) for at in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(each, widths, strict=True)).rstrip()
        for each in every
    )


def span(seconds: float) -> str:
    """95.0 as "1:35", 3700 as "1:01:40"."""
    minutes, second = divmod(round(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Progress:
    """How far it is: a bar that is drawn anew on a terminal, now and then a line elsewhere."""

    def __init__(self, out: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock
        self._is_terminal = out.isatty()
        self._started_s = clock()
        self._next_s = 0.0

    def update(self, left_s: float, text: str) -> None:
        """It will take `left_s` more; `text` says what is done now."""
        now_s = self._clock()
        if now_s < self._next_s:
            return
        gone_s = now_s - self._started_s
        share = gone_s / max(gone_s + left_s, 1e-9)
        if self._is_terminal:
            self._next_s = now_s + REDRAW_S
            self._out.write(f"\r\x1b[K{_fitting(bar(share, left_s, text))}")
        else:
            self._next_s = now_s + PLAIN_S
            self._out.write(f"{share:.0%}, {span(left_s)} left, {text}\n")
        self._out.flush()

    def say(self, text: str) -> None:
        """A line that stays, above the bar."""
        self._out.write(f"\r\x1b[K{text}\n" if self._is_terminal else f"{text}\n")
        self._out.flush()
        self._next_s = 0.0 if self._is_terminal else self._next_s

    def close(self) -> None:
        """Take the bar away."""
        if self._is_terminal:
            self._out.write("\r\x1b[K")
            self._out.flush()


def bar(share: float, left_s: float, text: str) -> str:
    """ "[######------]  50 %  1:35 left  text"."""
    full = round(BAR_CHARACTERS * min(share, 1.0))
    return f"[{'#' * full}{'-' * (BAR_CHARACTERS - full)}] {share:4.0%}  {span(left_s)} left  {text}"


def _fitting(text: str) -> str:
    """A bar that wraps could not be drawn over."""
    return text[: max(shutil.get_terminal_size().columns - 1, 20)]
