"""`watch`: live values, of lines opened here or of a running agent."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import shutil
import sys
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from agent.commands.source import Source, add_arguments, chosen, collect, opened, quiet_logs
from agent.commands.terminal import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WELL,
    forget_output,
    run_until_interrupted,
    table,
)
from agent.model import Group, Point, Quality, Reading

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

HEADS = ("POINT", "VALUE", "UNIT", "QUALITY", "AGE", "RAW")
REDRAW_S = 1.0
ONCE_S_MAX = 30.0
TROUBLES_SHOWN = 3


def add_to(commands: Commands) -> None:
    """`watch CONFIG [DEVICE ...]`, `watch --url URL [DEVICE ...]`."""
    text = "live values with their unit, quality, age and raw registers"
    watch = commands.add_parser(
        "watch",
        help=text,
        description=f"{text}. With CONFIG the lines are opened here, so the agent must be stopped; with "
        "--url a running agent is asked. Redrawn in place on a terminal, a line a value elsewhere.",
    )
    add_arguments(watch, "[DEVICE ...]")
    watch.add_argument("--once", action="store_true", help="print every value once and end")
    watch.set_defaults(command=_watch)


def _watch(arguments: argparse.Namespace) -> int:
    choice = chosen(arguments)
    complete: list[bool] = []

    async def watch() -> None:
        async with opened(choice) as source:
            seen = Seen(source)
            if arguments.once:
                quiet_logs()
                await collect(source, seen.publish, seen.is_complete, ONCE_S_MAX)
                print(seen.table())
                complete.append(seen.is_good())
            elif sys.stdout.isatty():
                await _in_place(source, seen)
            else:
                quiet_logs()
                pipe = _Pipe(source)
                await collect(source, pipe.publish, pipe.is_gone)

    if run_until_interrupted(watch()):
        return EXIT_INTERRUPTED
    return EXIT_WELL if all(complete) else EXIT_FAILED


class Seen:
    """The newest reading of each group."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._latest: dict[Group, Reading] = {}

    def publish(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            self._latest[reading.group] = reading

    def is_complete(self) -> bool:
        """Whether every group was heard of, be it that it cannot be read."""
        return len(self._latest) == len(self._source.groups)

    def is_good(self) -> bool:
        """Whether every group is there, and none is bad."""
        return self.is_complete() and all(each.quality is not Quality.BAD for each in self._latest.values())

    def rows(self) -> list[tuple[str, ...]]:
        """Of HEADS, a point a row; groups that were not heard of yet say so."""
        now_ms, rows = self._source.now_ms(), list[tuple[str, ...]]()
        for group in self._source.groups:
            reading = self._latest.get(group)
            for at, point in enumerate(group.points):
                name = f"{group.device.name}.{point.name}"
                if reading is None:
                    rows.append((name, "-", point.unit, "waiting", "", ""))
                    continue
                words = self._source.words(group.device.name, point.name)
                said = (value_text(point, reading.values[at]), point.unit, reading.quality.name.lower())
                rows.append((name, *said, age(now_ms - reading.time_ms), words))
        return rows

    def table(self) -> str:
        return table(HEADS, self.rows())


def value_text(point: Point, value: float) -> str:
    """Shortest that is exact; a code with its word, "-" if not available."""
    if not math.isfinite(value):
        return "-"
    text = f"{value:.12g}"
    word = point.states.get(int(value)) if value == int(value) else None
    return f"{text} {word}" if word else text


def age(ms: int) -> str:
    """In seconds with a tenth, from two minutes on in minutes."""
    return f"{ms / 1000:.1f} s" if abs(ms) < 120_000 else f"{ms / 60_000:.0f} min"


class _Pipe:
    """A line a value on standard output, until nobody reads it any more."""

    def __init__(self, source: Source) -> None:
        self._source, self._gone = source, False

    def is_gone(self) -> bool:
        return self._gone

    def publish(self, readings: Sequence[Reading]) -> None:
        # Raised from here it would look like a line that is lost, and be tried again for ever.
        try:
            _print(self._source, readings)
        except BrokenPipeError:
            self._gone = True
            forget_output()


def _print(source: Source, readings: Sequence[Reading]) -> None:
    for group, time_ms, values, quality in readings:
        time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6]
        for point, value in zip(group.points, values, strict=True):
            words = source.words(group.device.name, point.name)
            name = f"{group.device.name}.{point.name}"
            parts = (f"{time}Z", name, value_text(point, value), point.unit, quality.name.lower(), words)
            print(*filter(None, parts), flush=True)


class _Troubles(logging.Handler):
    """The last few complaints, to be shown below the table."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: deque[str] = deque(maxlen=TROUBLES_SHOWN)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


async def _in_place(source: Source, seen: Seen) -> None:
    """Draw the table anew, on a screen of its own, every second."""
    troubles = _Troubles()
    log = logging.getLogger("agent")
    log.addHandler(troubles)
    log.setLevel(logging.INFO)
    log.propagate = False
    running = asyncio.ensure_future(source.run(seen.publish))
    sys.stdout.write("\x1b[?1049h")
    try:
        while not running.done():
            draw(seen.rows(), troubles.texts, sys.stdout, shutil.get_terminal_size())
            await asyncio.wait({running}, timeout=REDRAW_S)
        running.result()
    finally:
        sys.stdout.write("\x1b[?1049l")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        print(seen.table())  # what stays on the terminal


def draw(
    rows: Sequence[tuple[str, ...]],
    troubles: Sequence[str] | deque[str],
    out: TextIO,
    size: tuple[int, int],
) -> None:
    """As much as fits on the screen of `size` (columns, lines)."""
    columns, height = size
    lines = table(HEADS, rows).splitlines()
    room = max(height - 2 - len(troubles), 2)
    if len(lines) > room:
        left = len(lines) - room + 1
        lines = [*lines[: room - 1], f"... and {left} more: name the devices to watch"]
    lines += ["", *troubles]
    text = "\r\n".join(f"{line[: columns - 1]}\x1b[K" for line in lines)
    out.write(f"\x1b[H{text}\x1b[J")
    out.flush()
