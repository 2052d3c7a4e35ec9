"""Reports in the running agent: those of the schedule as jobs, those that people ask for one after the other,
each in a process of its own with limits. Nothing of what computes them is loaded here."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

from agent.model import NAN
from agent.reports.options import ReportsOptions
from agent.reports.shelf import FOLDER, Shelf
from agent.reports.wish import ReportRefused, Wish
from agent.schedule import Job, Result, Turn
from agent.schedule.child import Limits
from agent.schedule.command import command_work

WAITING_MAX = 8
REMEMBERED_MAX = 20
TEXT_CHARS_MAX = 500


@dataclass(slots=True)
class Making:
    """One that was asked for, and what becomes of it."""

    number: int
    wish: Wish
    asked_by: str
    asked_ms: int
    state: str = "waiting"  # then "running", and "made" or "failed"
    share: float = NAN
    text: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            **self.wish._asdict(),
            "asked_by": self.asked_by,
            "asked_ms": self.asked_ms,
            "state": self.state,
            "progress": None if self.share != self.share else round(self.share, 2),
            "text": self.text,
        }


@dataclass
class Reporting:
    """`file`: the configuration, which the process reads anew; `data_dir` stands in for what that says if
    `in_memory`. Keep `run` running."""

    file: Path
    data_dir: Path
    options: ReportsOptions
    now_s: Callable[[], float] = time.time
    in_memory: bool = False
    _waiting: deque[Making] = field(default_factory=deque)
    _known: deque[Making] = field(default_factory=lambda: deque(maxlen=REMEMBERED_MAX))
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _number: int = 0

    @property
    def shelf(self) -> Shelf:
        """Where they are kept."""
        options = self.options
        return Shelf(self.data_dir / FOLDER, count_max=options.count_max, size_max_mb=options.size_max_mb)

    @property
    def limits(self) -> Limits:
        return Limits(self.options.time_s_max, self.options.memory_mb_max)

    def jobs(self, zone: tzinfo) -> list[Job]:
        """Those that are made by themselves."""
        words = [f"--lang={language}" for language in self.options.languages]
        folder, found = self.file.resolve().parent, []
        for name, when in self.options.jobs.items():
            command = self.command(name.removeprefix("report-"), words)
            work = command_work(command, self.limits, folder)
            found.append(Job(name, work, when.schedule(zone), when.words, when.missed))
        return found

    def command(self, kind: str, words: Sequence[str]) -> list[str]:
        """What makes one, as `uicps-agent` is told it."""
        stand_in = [f"--data-dir={self.data_dir.resolve()}"] if self.in_memory else []
        return ["report", kind, str(self.file.resolve()), *words, *stand_in, "--progress"]

    def makings(self) -> list[dict[str, Any]]:
        """Those that were asked for since the start, the newest first."""
        return [each.as_json() for each in reversed(self._known)]

    def ask(self, wish: Wish, who: str) -> dict[str, Any]:
        """Have it made after those before it. ReportRefused: too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            raise ReportRefused(f"{WAITING_MAX} reports wait to be made, as many as may: try again later")
        self._number += 1
        making = Making(self._number, wish, who, round(self.now_s() * 1000))
        self._waiting.append(making)
        self._known.append(making)
        self._asked.set()
        return making.as_json()

    async def run(self) -> None:
        """Make what is asked for, for ever; when it is cancelled, what is under way is ended."""
        while True:
            await self._asked.wait()
            while self._waiting:
                await self._make(self._waiting.popleft())
            self._asked.clear()

    async def _make(self, making: Making) -> None:
        making.state = "running"
        command = self.command(making.wish.kind, making.wish.words)
        work = command_work(command, self.limits, self.file.resolve().parent)

        def progress(share: float, text: str) -> None:
            making.share = min(max(share, 0.0), 1.0)

        try:
            outcome = await work(Turn(making.asked_ms, progress))
        except OSError as error:
            making.state, making.text = "failed", str(error)[:TEXT_CHARS_MAX]
            return
        well = outcome.result is Result.WELL
        making.state = "made" if well else "failed"
        making.share = 1.0 if well else making.share
        making.text = "" if well else f"{outcome.result}: {outcome.text}"[-TEXT_CHARS_MAX:]
