"""A job that is a command of `uicps-agent`, in a process of its own."""

from __future__ import annotations

import asyncio
import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from pathlib import Path

from agent.schedule.child import PIECE_BYTES, TAIL_CHARS, Limits, Process, run_child
from agent.schedule.job import Job, Outcome, Result, Turn, Work
from agent.schedule.options import JobOptions

_PERCENT = re.compile(rb"(\d{1,3}) ?%")


def command_jobs(options: Iterable[JobOptions], zone: tzinfo, folder: Path) -> list[Job]:
    """The jobs of `[[job]]`; relative paths in their commands start at `folder`, that of the config file."""
    return [
        Job(
            each.name,
            command_work(each.command, Limits(each.time_s_max, each.memory_mb_max), folder),
            each.schedule(zone),
            each.words,
            each.missed,
        )
        for each in options
    ]


def command_work(command: Sequence[str], limits: Limits, folder: Path) -> Work:
    """`uicps-agent command...` in `folder`, as the work of a job. What it prints last is its text; a
    percentage that it prints is its progress. Exit code 0 is well, anything else failed."""

    async def work(turn: Turn) -> Outcome:
        return await run_child(
            _argv(command, limits), limits, lambda child: _heard(child, turn), folder=folder
        )

    return work


def _argv(command: Sequence[str], limits: Limits) -> list[str]:
    python = sys.executable
    numbers = map(str, (limits.memory_mb, math.ceil(limits.time_s) + 1, os.getpid()))
    return [python, "-P", "-m", "agent.confined", *numbers, python, "-P", "-m", "agent", *command]


async def _heard(child: Process, turn: Turn) -> Outcome:
    """Its output to the end, and how it ended."""
    assert child.stdin  # noqa: S101 - it was asked for
    assert child.stdout  # noqa: S101
    child.stdin.close()
    tail = b""
    while piece := await child.stdout.read(PIECE_BYTES):
        tail = (tail + piece)[-4 * TAIL_CHARS :]
        if found := _PERCENT.findall(piece):
            turn.progress(int(found[-1]) / 100, "")
        await asyncio.sleep(0)
    code = await child.wait()
    if code < 0:
        raise ConnectionError("ended by a signal")
    text = tail.decode(errors="replace").strip()[-TAIL_CHARS:]
    return Outcome(Result.FAILED if code else Result.WELL, text)
