#!/usr/bin/env python3
"""How much of an RS-485 bus the agent uses when asked for more than it can carry.

    .venv/bin/python bench/rtu_bus.py --baudrate 9600 --devices 10 --registers 40 --seconds 20

A simulated bus (a pseudo-terminal, bytes at the speed of a wire) with devices that are asked every
0.1 s. Prints one JSON line. `utilisation` is the time that bytes and the silences the standard demands
take, as a share of all time: 1.0 is the theoretical limit of the wire.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent.demo.modbus_bus import SimulatedBus  # noqa: E402 - after the path
from agent.demo.modbus_device import SimulatedDevice  # noqa: E402
from agent.drivers.modbus.driver import ModbusLine  # noqa: E402
from agent.drivers.modbus.options import ModbusRtuOptions  # noqa: E402
from agent.drivers.modbus.profile import ModbusProfile  # noqa: E402

INTERVAL_S = 0.1


def profile(registers: int) -> ModbusProfile:
    points = [{"name": f"r{at}", "address": at} for at in range(registers)]
    groups = [{"name": "all", "point": points}]
    return ModbusProfile.model_validate(
        {"driver": "modbus", "title": "bench", "source": ["bench"], "group": groups}
    )


def line(bus: SimulatedBus, options: argparse.Namespace) -> ModbusLine:
    devices = [
        {"name": f"d{unit}", "profile": "p", "unit_id": unit, "interval_s": INTERVAL_S}
        for unit in range(1, options.devices + 1)
    ]
    config = {"driver": "modbus-rtu", "name": "bus", "port": bus.port, "baudrate": options.baudrate}
    return ModbusLine(
        ModbusRtuOptions.model_validate(config | {"device": devices}), {"p": profile(options.registers)}
    )


async def measure(options: argparse.Namespace) -> dict[str, float]:
    units = range(1, options.devices + 1)
    simulated = [SimulatedDevice(profile(options.registers), unit) for unit in units]
    async with SimulatedBus(*simulated, baudrate=options.baudrate) as bus:
        driver, readings = line(bus, options), 0

        def publish(batch: object) -> None:
            nonlocal readings
            readings += len(batch)  # type: ignore[arg-type]  # a sequence of readings

        task = asyncio.create_task(driver.run(publish))
        await asyncio.sleep(options.settle)
        readings, wire_s, from_s, cpu_s = 0, bus.wire_s, time.monotonic(), time.process_time()
        await asyncio.sleep(options.seconds)
        seconds, cpu_s = time.monotonic() - from_s, time.process_time() - cpu_s
        found = {
            "utilisation": round((bus.wire_s - wire_s) / seconds, 4),
            "readings_per_s": round(readings / seconds, 2),
            "stretch": round(driver.stretch, 2),
            "timeouts": driver.counters["timeouts"],
            "too_early": bus.early,
            "cpu_pct_with_the_simulator": round(100 * cpu_s / seconds, 1),
        }
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baudrate", type=int, default=9600)
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--registers", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--settle", type=float, default=3)
    options = parser.parse_args()
    print(json.dumps(vars(options) | uvloop.run(measure(options))))


if __name__ == "__main__":
    main()
