"""When to read what on one line: absolute times, one request after the other, no drift.

Rules: a read never starts before the last one ended; each group keeps its own grid
`anchor + n x interval`, whose phase comes from its name so that a site's devices do not all answer
in the same millisecond; a grid time that has passed is skipped, not made up for; a group that keeps
failing is tried ever less often, so that a dead device costs the line little; the grids of all
lines lie on shared slots of SLOT_S, so that one wake-up of the processor serves many lines.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent.model import Group, Quality, Reading

BACKOFF_AFTER = 3
BACKOFF_S_MAX = 60.0
SLOT_S = 0.05

GroupPlan = TypeVar("GroupPlan")


@dataclass(slots=True)
class Job(Generic[GroupPlan]):
    """One group of one device, and how the driver reads it (`how` is the driver's own)."""

    group: Group
    how: GroupPlan
    due_s: float = 0.0
    failures: int = 0

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


def next_due(job: Job[GroupPlan], now_s: float) -> float:
    """The first grid time after now; later on the same grid for a group that keeps failing."""
    wait_s = 0.0
    if job.failures >= BACKOFF_AFTER:
        wait_s = min(BACKOFF_S_MAX, job.interval_s * 2 ** min(job.failures - BACKOFF_AFTER + 1, 16))
    behind_s = max(now_s + wait_s - job.due_s, 0.0)
    return job.due_s + job.interval_s * (int(behind_s / job.interval_s) + 1)


async def poll(
    jobs: Sequence[Job[GroupPlan]],
    read: Callable[[Job[GroupPlan]], Awaitable[Reading]],
    publish: Callable[[Sequence[Reading]], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Read every job on its grid, for ever; what `read` raises ends it.

    Each job is read once at the start, whatever its phase: a technician wants to see values now.
    """
    start_s = clock()
    heap: list[tuple[float, int]] = []
    for index, job in enumerate(jobs):
        job.due_s = anchor_s(job.group, start_s)
        job.failures = 0
        heapq.heappush(heap, (start_s, index))
    while heap:
        due_s, index = heap[0]
        wait_s = due_s - clock()
        if wait_s > 0:
            await sleep(wait_s)
        job = jobs[index]
        reading = await read(job)
        job.failures = job.failures + 1 if reading.quality is Quality.BAD else 0
        publish((reading,))
        job.due_s = next_due(job, clock())
        heapq.heapreplace(heap, (job.due_s, index))
