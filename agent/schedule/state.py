"""One job as it is now, for whoever schedules it and whoever looks at it."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from agent.model import NAN, Device, Group, Kind, Point
from agent.schedule.job import Job, Result
from agent.schedule.options import slug
from agent.schedule.runs import Run
from agent.schedule.when import CATCH_UP_MAX
from agent.supervise import Episode

log = logging.getLogger(__name__)

DEVICE = Device("job", "uicps-agent")

RESULT_CODES: Mapping[int, str] = dict(enumerate(Result))
_CODE_OF = {result: code for code, result in RESULT_CODES.items()}


def known(value: float) -> float | None:
    """None for NaN, as JSON and SQL have it."""
    return None if math.isnan(value) else round(value, 3)


class JobState:
    """One job as it is now."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.group = Group(DEVICE, job.name, _points(slug(job.name)), 0)
        self.episode = Episode(log, f"job {job.name}")
        self.queue: deque[int] = deque(maxlen=CATCH_UP_MAX)
        self.active: Run | None = None
        self.last: Run | None = None
        self.paused = False
        self.last_due_ms: int | None = None
        self.next_for: int | None = None  # the last due that `next_ms` follows
        self.next_ms: int | None = None
        self.progress, self.doing, self.told_s = NAN, "", 0.0
        self.runs = self.failures = 0

    def count(self, result: Result) -> None:
        self.runs += 1
        self.failures += result is not Result.WELL

    def values(self) -> list[float]:
        last = self.last
        seconds = NAN if last is None or last.ended_ms is None else (last.ended_ms - last.started_ms) / 1000
        memory_mb = NAN if last is None or last.memory_mb is None else last.memory_mb
        code = NAN if last is None else float(_CODE_OF[Result(last.result)])
        running = float(self.active is not None)
        return [
            running,
            self.progress * 100,
            code,
            seconds,
            memory_mb,
            float(self.runs),
            float(self.failures),
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.job.name,
            "when": self.job.words,
            "missed": self.job.missed,
            "paused": self.paused,
            "running": self.active is not None,
            "waiting": len(self.queue),
            "progress": known(self.progress) if self.active else None,
            "doing": self.doing if self.active else "",
            "next_ms": None if self.paused else self.next_ms,
            "last": self.last._asdict() if self.last else None,
            "runs": self.runs,
            "failures": self.failures,
        }


def _points(word: str) -> tuple[Point, ...]:
    return (
        Point(f"{word}_running", kind=Kind.STATE, states={0: "no", 1: "yes"}),
        Point(f"{word}_progress", "%"),
        Point(f"{word}_result", kind=Kind.STATE, states=RESULT_CODES),
        Point(f"{word}_duration", "s"),
        Point(f"{word}_memory", "MB"),
        Point(f"{word}_runs", kind=Kind.TOTAL),
        Point(f"{word}_failures", kind=Kind.TOTAL),
    )
