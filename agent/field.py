"""The part of the agent that faces the site: clock, lines, the image of now, commands.

Rules.
1. Lines and commands run from the first `serve` on, whoever records, until `leave`: what is recorded may
   move to another folder without a device noticing.
2. What is published while nobody records is kept, bounded, and goes to the next who does, in its order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agent.clock import Clock
from agent.config import Config
from agent.dispatch import Dispatch
from agent.drivers import open_line
from agent.hub import Hub, Listener
from agent.lines import Lines, Register
from agent.model import Reading

if TYPE_CHECKING:
    from agent.control.site import Rests

log = logging.getLogger(__name__)

LINES_FOLDER = "lines"


class Field:
    """Enter it, let services `serve` one after the other, `leave` in good order. OSError or FaultyKeys if a
    line cannot be made; nothing is opened yet."""

    def __init__(self, config: Config, *, wall_s: Callable[[], float] = time.time) -> None:
        options = config.options
        self.clock = clock = Clock(options.agent.trust_clock, wall_s=wall_s)
        self._data_dir = config.data_dir
        self.lines = Lines(
            lambda line, profiles: open_line(
                line, profiles, self._data_dir / LINES_FOLDER, clock.now_s, lambda: clock.certain
            ),
            *(options.line, config.profiles),
        )
        self.hub = Hub(self.lines.groups)
        self.rests = _rests(config)
        guard = self.rests.wait_s if self.rests else _no_rest
        self.dispatch = Dispatch(self.hub.groups, self.lines.write, now_s=clock.now_s, guard=guard)
        if self.rests:
            self.dispatch.listen(self.rests.heard)
        self.stamped: set[Path] = set()  # the data folders with stamps of this clock
        self._publish: Listener = self._keep
        self._kept: list[Reading] = []
        self._kept_max = options.store.memory_readings_max
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop(*self._tasks)

    async def move(self, data_dir: Path) -> None:
        """Lines remember in `data_dir` from now on. OSError if that disk refuses."""
        await self.lines.move(data_dir / LINES_FOLDER)
        self._data_dir = data_dir

    def serve(self, publish: Listener, register: Register, changed: Callable[[], None]) -> None:
        """What is read goes to `publish` from now on, beginning with what was kept; see `Lines.begin`."""
        self.lines.begin(self._published, self.hub, self.dispatch, register, changed)
        kept, self._kept = self._kept, []
        self._publish = publish
        if kept:
            publish(kept)
        works = {"lines": self.lines.run, "dispatch": self.dispatch.run}
        for name, work in works.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(work(), name=name)

    def pause(self) -> None:
        """Who records is about to go, another follows."""
        self._publish = self._keep

    async def run(self) -> None:
        """Beside who records: raises what ends a line or the commands, which is a bug."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def leave(self) -> None:
        """The lines are still up: what was commanded is given back before they go."""
        await self._stop("dispatch")
        await self.dispatch.relinquish()
        await self._stop("lines")

    async def _stop(self, *names: str) -> None:
        tasks = [self._tasks[name] for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _published(self, readings: Sequence[Reading]) -> None:
        self._publish(readings)

    def _keep(self, readings: Sequence[Reading]) -> None:
        self._kept += readings
        if surplus := max(0, len(self._kept) - self._kept_max):
            log.warning("nobody records, and memory is full: %d readings are lost", surplus)
            del self._kept[:surplus]


def _no_rest(_point: str, _value: float) -> float:
    return 0.0


def _rests(config: Config) -> Rests | None:
    """The guard of the units' rest, if there are rooms."""
    if not config.options.room:
        return None
    from agent.control.site import Rests  # noqa: PLC0415

    return Rests(config.options.room)
