"""A job and what becomes of its runs. `agent.schedule.jobs` decides when, its `work` knows what."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from agent.model import NAN
from agent.schedule.when import Missed, Schedule

TEXT_CHARS_MAX = 2000


class Result(enum.StrEnum):
    """How a run ended."""

    RUNNING = "running"
    WELL = "well"
    FAILED = "failed"  # it said so, or raised
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    FLOODED = "flooded"  # it published, printed or asked more than it may
    DIED = "died"  # its process ended without a word
    INTERRUPTED = "interrupted"  # the agent stopped, or was killed
    SKIPPED = "skipped"  # it was due while its last run was still under way


class Outcome(NamedTuple):
    """`text` is for people, "" if there is nothing to say; NaN where it is not known."""

    result: Result
    text: str = ""
    cpu_s: float = NAN
    memory_mb: float = NAN


@dataclass(slots=True)
class Turn:
    """One run, for the work that does it. `due_ms` is the instant it is for: a run that is made up for late
    has that of the time it should have had. `progress(share, text)` may be called at any rate."""

    due_ms: int
    progress: Callable[[float, str], None]


Work = Callable[[Turn], Awaitable[Outcome]]
"""Does one run, within limits of its own; cancelled, it leaves nothing behind. OSError: failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """`schedule` None: runs only when told to. `words` says when it runs, and whether that was changed."""

    name: str
    work: Work
    schedule: Schedule | None = None
    words: str = "by hand"
    missed: Missed = "once"


class Alert(NamedTuple):
    """An alarm that begins or ends: `id` names it, the words are for people in both languages."""

    id: str
    raised: bool
    text_pt: str = ""
    text_en: str = ""
    detail: str = ""
    value: float = NAN
    source: str = ""
