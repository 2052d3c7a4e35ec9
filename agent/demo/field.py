"""`python -m agent.demo.field`: the simulated modules and the centre's broker, as a process of their own.

Prints `{"ready": true, "ports": {...}}` on stdout once everything listens, then with `--report-s` a line
`{"center": {"messages": ..., "readings": ..., "values": ...}}` at that interval. Ends cleanly on
SIGTERM, on SIGINT and when its stdin closes, so that it never outlives the parent that started it with
a pipe.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import asdict
from random import Random

from agent.demo.ambient import AmbientModule
from agent.demo.broker import Center
from agent.demo.config import Ports
from agent.demo.modbus_line import SimulatedLine
from agent.demo.site import Site, run_site

STDIN = 0


def main() -> None:
    """Run the field until told to stop."""
    options = _options()
    ports = Ports(0, 0, 0, 0, 0) if options.free_ports else Ports()
    asyncio.run(_run(ports, speed=options.speed, report_s=options.report_s, seed=options.seed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m agent.demo.field")
    parser.add_argument("--free-ports", action="store_true", help="take any free ports, not the usual ones")
    parser.add_argument("--speed", type=float, default=1.0, help="how fast the site's time passes")
    parser.add_argument("--report-s", type=float, default=0.0, help="report what the centre got so often")
    parser.add_argument("--seed", type=int, default=None, help="the same seed gives the same noise")
    return parser.parse_args()


async def _run(ports: Ports, *, speed: float, report_s: float, seed: int | None) -> None:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    site = Site(time_s=time.time(), random=Random(seed))
    async with opened(site, ports) as (center, taken):
        _say({"ready": True, "ports": asdict(taken)})
        with AmbientModule("room-101", port=taken.ambient) as module:
            await _until(stop, run_site(site, [module], speed=speed), _report(center, report_s))


@contextlib.asynccontextmanager
async def opened(site: Site, ports: Ports) -> AsyncIterator[tuple[Center, Ports]]:
    """The site's devices and the centre, listening; gives the ports they have (0 asks for a free one)."""
    async with (
        SimulatedLine(site.main_meter, port=ports.main_meter) as main_meter,
        SimulatedLine(site.hvac_meter, port=ports.hvac_meter) as hvac_meter,
        SimulatedLine(site.ac, port=ports.ac) as ac,
        Center(ports.center) as center,
    ):
        ambient = ports.ambient or _free_udp_port()
        yield center, Ports(main_meter.port, hvac_meter.port, ac.port, ambient, center.port)


async def _until(stop: asyncio.Event, *work: Coroutine[None, None, None]) -> None:
    """Run `work` until `stop`; what fails in it ends this too."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _report(center: Center, interval_s: float) -> None:
    while interval_s:
        await asyncio.sleep(interval_s)
        counts = {"messages": center.messages, "readings": center.readings, "values": center.values}
        counts["own_readings"] = center.own_readings
        _say({"center": counts})


def _say(message: Mapping[str, object]) -> None:
    print(json.dumps(message), flush=True)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    threading.Thread(target=_wait_for_eof, args=(loop, stop), daemon=True).start()


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """A thread, since not every stdin can be watched by a loop; `os.read`, since a thread that holds
    the lock of `sys.stdin` aborts the interpreter's end."""
    with contextlib.suppress(OSError):
        while os.read(STDIN, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop ended first
        loop.call_soon_threadsafe(stop.set)


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
