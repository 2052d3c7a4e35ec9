"""The command line as its user has it: a process of its own, with pipes or a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from agent.demo.modbus_device import SimulatedDevice

PHASES = ("l1", "l2", "l3")


class Ended(NamedTuple):
    code: int
    out: str
    errors: str


async def started(*arguments: str, folder: Path | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", *arguments),
        cwd=folder,
        env={**os.environ, "LANG": "en_US.UTF-8", "LC_ALL": ""},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> Ended:
    """What it said; a traceback is never an answer."""
    async with asyncio.timeout(60):
        out, errors = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in errors, errors.decode()
    return Ended(process.returncode, out.decode(), errors.decode())


async def command(*arguments: str, folder: Path | None = None) -> Ended:
    return await ended(await started(*arguments, folder=folder))


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal: ours, and the program's."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


def meter(unit_id: int = 1, *, reversed_ct: str = "", current_a: float = 10.0) -> SimulatedDevice:
    """A three-phase meter with a motor-like load; the transformer of one phase may be the wrong way round."""
    device = SimulatedDevice("eastron-sdm630", unit_id)
    total_w = 0.0
    for at, phase in enumerate(PHASES):
        volts, amps = 127.0 + at, current_a * (1 + at / 10)
        sign = -1 if phase == reversed_ct else 1
        watts = round(sign * volts * amps * 0.92, 1)
        total_w += watts
        device.update(
            {
                f"voltage_{phase}": volts,
                f"current_{phase}": round(amps, 2),
                f"active_power_{phase}": watts,
                f"reactive_power_{phase}": round(sign * volts * amps * 0.39, 1),
            }
        )
    device.update({"active_power": round(total_w, 1), "frequency": 60.01})
    return device


def recognisable(device: SimulatedDevice) -> SimulatedDevice:
    """An SDM630 with the settings registers that tell it from others."""
    float_of_unit = {1: 0x3F80, 2: 0x4000, 3: 0x4040, 4: 0x4080}[device.unit_id]
    device.set_registers("holding", 0x000A, (0x4040, 0))
    device.set_registers("holding", 0x0014, (float_of_unit, 0))
    return device
