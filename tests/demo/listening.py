"""Reading the simulated modules with the agent's own drivers, over real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

from agent.demo.modbus_line import SimulatedLine
from agent.drivers.modbus.driver import ModbusLine
from agent.drivers.modbus.options import ModbusTcpOptions
from agent.model import Reading

WAIT_S = 5.0


class Listener:
    """What a driver published, newest last; `until` waits for something among it."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self._changed = asyncio.Event()

    def __call__(self, readings: Sequence[Reading]) -> None:
        self.readings += readings
        self._changed.set()

    async def until(self, wanted: Callable[[Reading], bool]) -> Reading:
        """The first reading that is `wanted`, of those published from now on."""
        seen = len(self.readings)
        async with asyncio.timeout(WAIT_S):
            while True:
                for reading in self.readings[seen:]:
                    if wanted(reading):
                        return reading
                seen = len(self.readings)
                self._changed.clear()
                await self._changed.wait()

    async def values(self, group: str) -> dict[str, float]:
        """By point, what `group` read next."""
        reading = await self.until(lambda reading: reading.group.name == group)
        return by_point(reading)


def by_point(reading: Reading) -> dict[str, float]:
    names = [point.name for point in reading.group.points]
    return dict(zip(names, reading.values, strict=True))


@contextlib.asynccontextmanager
async def running(run: Callable[[Listener], Coroutine[None, None, None]]) -> AsyncIterator[Listener]:
    """A driver's `run` as a task, for as long as the block lasts."""
    listener = Listener()
    task = asyncio.create_task(run(listener))
    try:
        yield listener
    finally:
        await end(task)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel it once; it must end."""
    task.cancel()
    await asyncio.wait([task], timeout=WAIT_S)
    with contextlib.suppress(asyncio.CancelledError, OSError):
        task.result()


def modbus_driver(
    line: SimulatedLine, profile: object, *, recheck_s: float = 600.0, **options: object
) -> ModbusLine:
    """Our driver for unit 1 of `line`, reading ten times a second."""
    config = {
        "driver": "modbus-tcp",
        "name": "line",
        "host": line.host,
        "port": line.port,
        "device": [{"name": "device", "profile": "profile", "interval_s": 0.1}],
    }
    return ModbusLine(
        ModbusTcpOptions.model_validate(config | options), {"profile": profile}, recheck_s=recheck_s
    )


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
