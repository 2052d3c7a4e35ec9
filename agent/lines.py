"""The lines of the running agent: each in a task of its own, and exchanged one by one while all else goes on.

Rules.
1. A line that has not changed is not touched: not its driver, not its task, not its readings.
2. What is new is opened before what is old goes, so that a line that cannot be made changes nothing.
3. Before a line goes, the leases on its points end and their fallbacks are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agent.dispatch import Dispatch
from agent.drivers import Driver, LineOptions, Remembering
from agent.drivers.modbus.options import ModbusRtuOptions, ModbusRtuTcpOptions, ModbusTcpOptions
from agent.drivers.serial.line import SerialLinesOptions
from agent.hub import Hub, Listener
from agent.model import Group
from agent.supervise import Backoff, supervise, to_its_end

LINE_BACKOFF = Backoff(first_s=0.5, most_s=10.0)

Open = Callable[[LineOptions, Mapping[str, Any]], Driver]
Register = Callable[[Sequence[Group]], Awaitable[None]]


class Lines:
    """`drivers`, in the order of the configuration, stays the same list. `run` needs `begin`."""

    def __init__(
        self, open_: Open, options: Sequence[LineOptions], profiles: Mapping[str, BaseModel]
    ) -> None:
        self._open = open_
        self._options, self._profiles = list(options), dict(profiles)
        self.drivers: list[Driver] = [open_(each, profiles) for each in options]
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: asyncio.TaskGroup | None = None
        self._changing = asyncio.Lock()

    @property
    def groups(self) -> list[Group]:
        return [group for line in self.drivers for group in line.groups]

    @property
    def ports(self) -> dict[str, str]:
        """The serial port of each line that has one, by the line's name."""
        lines = [each for each in self._options if isinstance(each, ModbusRtuOptions | SerialLinesOptions)]
        return {each.name: each.port for each in lines}

    @property
    def hosts(self) -> dict[str, tuple[str, int]]:
        """Host and port of each line that talks to one, by the line's name."""
        lines = [each for each in self._options if isinstance(each, ModbusTcpOptions | ModbusRtuTcpOptions)]
        return {each.name: (each.host, each.port) for each in lines}

    async def write(self, device: str, point: str, value: float) -> None:
        """Through the line that the device is on. ValueError if it is on none."""
        for line in self.drivers:
            if any(group.device.name == device for group in line.groups):
                await line.write(device, point, value)
                return
        raise ValueError(f"{device}: it is on no line any more")

    async def move(self, state_dir: Path) -> None:
        """What lines must remember over a restart is in `state_dir` from now on. OSError: it cannot be."""
        for line in self.drivers:
            if isinstance(line, Remembering):
                await line.move(state_dir)

    def begin(
        self, publish: Listener, hub: Hub, dispatch: Dispatch, register: Register, changed: Callable[[], None]
    ) -> None:
        """What a change must reach: `register` new groups at the store, `changed` is called at its end."""
        self._publish, self._hub, self._dispatch = publish, hub, dispatch
        self._register, self._changed = register, changed

    async def run(self) -> None:
        """All lines, for ever."""
        async with asyncio.TaskGroup() as running:
            self._running = running
            for line in self.drivers:
                self._start(line)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._running = None  # who comes back now is not started any more

    async def change(self, options: Sequence[LineOptions], profiles: Mapping[str, BaseModel]) -> list[str]:
        """Have the lines of `options`; the names of those that were stopped, started or both."""
        touched: list[str] = []
        await to_its_end(self._change(list(options), dict(profiles), touched))
        return touched

    @asynccontextmanager
    async def resting(self, names: Collection[str], now_ms: Callable[[], int]) -> AsyncIterator[None]:
        """Have these lines rest meanwhile, their groups not available: someone else needs the wire."""
        async with self._changing:
            resting = [line for line in self.drivers if line.name in names]
            for line in resting:
                await self._cancel(line)
                self._publish([group.bad(now_ms()) for group in line.groups])
        try:
            yield
        finally:
            await to_its_end(self._go_on(resting))

    async def _go_on(self, resting: Sequence[Driver]) -> None:
        """Take up again what has not been exchanged meanwhile."""
        async with self._changing:
            for line in resting:
                if line in self.drivers and line.name not in self._tasks:
                    self._start(line)

    async def _change(
        self, options: list[LineOptions], profiles: dict[str, BaseModel], touched: list[str]
    ) -> None:
        async with self._changing:
            old = {each.name: (each, self._used(each, self._profiles)) for each in self._options}
            new = {each.name: (each, self._used(each, profiles)) for each in options}
            stay = {name for name in old.keys() & new.keys() if old[name] == new[name]}
            before = {line.name: line for line in self.drivers}
            opened = {name: self._open(new[name][0], profiles) for name in new if name not in stay}
            for name in [name for name in old if name not in stay]:
                await self._stop(before[name])
            self.drivers[:] = [opened.get(name) or before[name] for name in new]
            self._options, self._profiles = options, profiles
            fresh = [group for line in opened.values() for group in line.groups]
            self._hub.declare(*fresh)
            await self._register(fresh)
            self._dispatch.learn(fresh)
            for line in opened.values():
                self._start(line)
            self._changed()
            touched += sorted((old.keys() | new.keys()) - stay)

    def _used(self, line: LineOptions, profiles: Mapping[str, BaseModel]) -> list[BaseModel | None]:
        return [profiles.get(device.profile) for device in line.device]

    def _start(self, line: Driver) -> None:
        if self._running is not None:
            work = supervise(lambda: line.run(self._publish), line.episode, LINE_BACKOFF)
            self._tasks[line.name] = self._running.create_task(work, name=f"line {line.name}")

    async def _stop(self, line: Driver) -> None:
        devices = {group.device.name for group in line.groups}
        await self._dispatch.forget(devices)
        await self._cancel(line)
        for group in line.groups:
            self._hub.forget(group)

    async def _cancel(self, line: Driver) -> None:
        task = self._tasks.pop(line.name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
