"""Alarms that are written down, and an outlet that follows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.alarms import Alarms, AlarmsOptions
from agent.alarms.outlets import Follower, Outlet, OutletOptions
from agent.supervise import Backoff, supervise
from tests.alarms.site import START_MS, Clock


@asynccontextmanager
async def writing(folder: Path, **options: Any) -> AsyncIterator[Alarms]:
    """Alarms with their writer at work."""
    wall = Clock(START_MS / 1000)
    async with Alarms(folder, AlarmsOptions(**options), now_s=wall) as alarms:
        task = asyncio.create_task(alarms.run())
        try:
            yield alarms
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def following(
    alarms: Alarms, options: OutletOptions, outlet: Outlet, **more: Any
) -> AsyncIterator[Follower]:
    """`outlet` told of what happens, tried again at once after a failure."""
    follower = Follower(options, outlet, alarms.journal, **more)
    task = asyncio.create_task(supervise(follower.run, follower.episode, Backoff(0.02, 0.05)))
    await asyncio.sleep(0.02)  # it has its cursor: what comes now is told
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
