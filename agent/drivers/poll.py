"""When to read what on one line: absolute times, one request after the other, no drift.

Rules: a read never starts before the last one ended; each group keeps its own grid
`anchor + n x interval`, whose phase comes from its name so that a site's devices do not all answer
in the same millisecond; a grid time that has passed is skipped, not made up for, and how many are
skipped is the line's `stretch`; the grids of all lines lie on shared slots of SLOT_S, so that one
wake-up of the processor serves many lines.

A device that is silent rests, all its groups together, ever longer (REST_S_FIRST to REST_S_MAX) and is
then asked for one group only. Groups of devices that answer go first; where they leave no time, silent
ones get at most TIMEOUT_SHARE of the line.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from agent.model import Group, Reading

SLOT_S = 0.05
REST_S_FIRST, REST_S_MAX = 1.0, 300.0
TIMEOUT_SHARE = 0.1
TIMEOUT_BURST_S, TIMEOUT_DEBT_S_MAX = 1.0, 6.0
STRETCH_MEMORY = 0.2  # the weight of the newest period in the moving figure

How = TypeVar("How")


@dataclass(slots=True)
class Patience:
    """What a device's silence costs it: `failures` in a row, and no question before `rest_until_s`.

    Nor before `late_until_s`, which the driver sets if an answer to an earlier question may still come.
    """

    failures: int = 0
    rest_until_s: float = 0.0
    late_until_s: float = 0.0
    is_proven: bool = False
    broke_line: bool = False
    rest_s_min: float = REST_S_FIRST

    def answered(self) -> None:
        self.failures, self.rest_until_s, self.is_proven, self.broke_line = 0, 0.0, True, False

    def failed(self, now_s: float) -> None:
        """Silent once more: rest for 1 s, 2 s, 4 s, ... 5 min, but at least `rest_s_min`."""
        self.rest_until_s = now_s + max(rest_s(self.failures + 1), self.rest_s_min)
        self.failures += 1


def rest_s(failures: int) -> float:
    """How long to leave alone what failed `failures` times in a row (1 is the first)."""
    return min(REST_S_FIRST * 2.0 ** min(failures - 1, 16), REST_S_MAX)


@dataclass(slots=True)
class Job(Generic[How]):
    """One group of one device, and how the driver reads it (`how` is the driver's own)."""

    group: Group
    how: How
    patience: Patience = field(default_factory=Patience)
    due_s: float = 0.0
    stretch: float = 1.0
    has_rested: bool = False

    @property
    def interval_s(self) -> float:
        return self.group.interval_ms / 1000


def phase(group: Group) -> float:
    """Where in its interval a group is read, 0 to 1: the same after every start."""
    return zlib.crc32(f"{group.device.name}.{group.name}".encode()) / 2**32


def anchor_s(group: Group, now_s: float) -> float:
    """The last time on the group's grid before now: a slot, by its phase, less than an interval ago."""
    interval_s = group.interval_ms / 1000
    slots = math.floor((now_s + (phase(group) - 1) * interval_s) / SLOT_S)
    return slots * SLOT_S


class TimeoutBudget:
    """The line time that silent devices may take from those that answer."""

    def __init__(self, now_s: float) -> None:
        self._debt_s, self._at_s = 0.0, now_s

    def spend(self, spent_s: float, now_s: float) -> None:
        self._debt_s = min(self._left(now_s) + spent_s, TIMEOUT_DEBT_S_MAX)
        self._at_s = now_s

    def allows(self, now_s: float) -> bool:
        return self._left(now_s) < TIMEOUT_BURST_S

    def _left(self, now_s: float) -> float:
        return max(self._debt_s - (now_s - self._at_s) * TIMEOUT_SHARE, 0.0)


class Poller(Generic[How]):
    """The schedule of one line. Jobs of the same device share their `Patience`."""

    def __init__(
        self,
        jobs: Sequence[Job[How]],
        *,
        clock: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._jobs, self._clock, self._now_s = jobs, clock, now_s
        self._proven: list[tuple[float, int]] = []
        self._doubtful: list[tuple[float, int]] = []
        self._budget = TimeoutBudget(clock())

    @property
    def stretch(self) -> float:
        """How much longer than configured the periods are: 1.0 as configured, 2.0 half as often.

        A moving figure over the devices that answer.
        """
        wanted = served = 0.0
        for job in self._jobs:
            if not job.patience.failures:
                wanted += 1 / job.interval_s
                served += 1 / (job.interval_s * job.stretch)
        return wanted / served if served else 1.0

    async def run(
        self,
        read: Callable[[Job[How]], Awaitable[Reading]],
        publish: Callable[[Sequence[Reading]], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Read every job on its grid, for ever. `read` raises TimeoutError if the device is silent.

        Any other error of `read` ends it. Each job is read once at the start, whatever its phase: a
        technician wants to see values now.
        """
        self._start()
        while self._proven or self._doubtful:
            now_s = self._clock()
            queue = self._queue(now_s)
            due_s, index = queue[0]
            if due_s > now_s:
                await sleep(due_s - now_s)
                continue
            heapq.heappop(queue)
            job = self._jobs[index]
            free_s = max(job.patience.rest_until_s, job.patience.late_until_s)
            if free_s > now_s:
                again_s, job.has_rested = free_s, True
            else:
                again_s = await self._attempt(job, now_s, read, publish)
            heapq.heappush(self._queue_of(job), (again_s, index))

    def _start(self) -> None:
        start_s = self._clock()
        self._budget = TimeoutBudget(start_s)
        for job in self._jobs:
            job.due_s = anchor_s(job.group, start_s)
            job.stretch, job.has_rested = 1.0, True  # the first read is not on the grid
            if not job.patience.broke_line:
                job.patience.answered()
            job.patience.is_proven = False
        self._proven = []
        # Who broke the line comes after those who did not.
        self._doubtful = [
            (start_s + 1e-3 * job.patience.broke_line, index) for index, job in enumerate(self._jobs)
        ]
        heapq.heapify(self._doubtful)

    def _queue(self, now_s: float) -> list[tuple[float, int]]:
        """The queue whose first job comes next."""
        proven, doubtful = self._proven, self._doubtful
        if not proven or not doubtful:
            return proven or doubtful
        if doubtful[0] < proven[0] and (proven[0][0] > now_s or self._budget.allows(now_s)):
            return doubtful
        return proven

    def _queue_of(self, job: Job[How]) -> list[tuple[float, int]]:
        return self._proven if job.patience.is_proven and not job.patience.failures else self._doubtful

    async def _attempt(
        self,
        job: Job[How],
        start_s: float,
        read: Callable[[Job[How]], Awaitable[Reading]],
        publish: Callable[[Sequence[Reading]], None],
    ) -> float:
        """Read, publish, and say when the job's turn is again."""
        try:
            reading = await read(job)
        except TimeoutError:
            now_s = self._clock()
            job.patience.failed(now_s)
            self._budget.spend(now_s - start_s, now_s)
            publish(self._bad(job))
            job.has_rested = True
            return job.patience.rest_until_s
        except OSError:
            # The line is gone, perhaps because of this question: it is not the first one next time.
            job.patience.failed(self._clock())
            job.patience.broke_line = True
            raise
        job.patience.answered()
        publish((reading,))
        return self._next_due(job, self._clock())

    def _bad(self, job: Job[How]) -> list[Reading]:
        """The group is bad; from the second failure in a row on all groups of its device are."""
        time_ms = round(self._now_s() * 1000)
        if job.patience.failures == 1:
            return [job.group.bad(time_ms)]
        return [each.group.bad(time_ms) for each in self._jobs if each.patience is job.patience]

    def _next_due(self, job: Job[How], now_s: float) -> float:
        """The first grid time after now; what the line's load made us skip goes into the stretch."""
        interval_s = job.interval_s
        periods = int(max(now_s - job.due_s, 0.0) / interval_s) + 1
        job.due_s += interval_s * periods
        if not job.has_rested:
            job.stretch += STRETCH_MEMORY * (periods - job.stretch)
        job.has_rested = False
        return job.due_s
