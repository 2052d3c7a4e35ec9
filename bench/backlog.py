#!/usr/bin/env python3
"""A backlog of a million values drains beside new readings: how fast, and how long new ones take.

    .venv/bin/python bench/backlog.py [--values 1000000] [--devices 50] [--points 20]

Real store on disk, real uplink, real Mosquitto on loopback, all in this process but the broker. New
readings come at `--devices` a second all the while; their time is from `append` to the PUBACK of their turn.
Prints one JSON object.
"""

import argparse
import asyncio
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import uvloop

from agent.model import Device, Group, Point, Reading
from agent.store import Store
from agent.uplink import ThingsBoard, ThingsBoardOptions

PORT = 18830
FILL_READINGS = 5000


def groups_of(devices, points):
    shape = tuple(Point(f"r{at}") for at in range(points))
    return [Group(Device(f"D{at}", "bench"), "all", shape, 1000) for at in range(devices)]


async def fill(store, groups, count):
    """`count` readings, a second apart for each device, long ago."""
    batch = []
    for at in range(count):
        group = groups[at % len(groups)]
        values = tuple(at % 977 / 7 + point for point in range(len(group.points)))
        batch.append(Reading(group, 1_600_000_000_000 + at // len(groups) * 1000, values))
        if len(batch) == FILL_READINGS:
            store.append(batch)
            await store.commit()
            batch = []
    store.append(batch)
    await store.commit()


class Live:
    """New readings, one for each device a second, and when each was known to be taken."""

    def __init__(self, store, groups):
        self.store, self.groups = store, groups
        self.waiting = []
        self.took_ms = []

    async def publish(self):
        while True:
            for group in self.groups:
                values = (1.5,) * len(group.points)
                self.store.append([Reading(group, time.time_ns() // 1_000_000, values)])
                self.waiting.append((self.store.last_seq, time.monotonic()))
                await asyncio.sleep(1 / len(self.groups))

    async def watch(self):
        while True:
            spans = self.store.outbox.progress("center").spans(self.store.last_seq)
            now = time.monotonic()
            still = []
            for seq, at in self.waiting:
                if any(first <= seq <= last for first, last in spans):
                    still.append((seq, at))
                else:
                    self.took_ms.append((now - at) * 1000)
            self.waiting = still
            await asyncio.sleep(0.002)


async def measure(folder, args):
    groups = groups_of(args.devices, args.points)
    token = folder / "token"
    token.write_text("T0KEN\n")
    options = ThingsBoardOptions.model_validate(
        {"kind": "thingsboard", "name": "center", "host": "127.0.0.1", "port": PORT, "token_file": token,
         "backlog_delay_s_max": 0.0, "backlog": args.backlog}
    )  # fmt: skip
    async with Store(folder / "readings.db") as store:
        count = args.values // args.points
        await fill(store, groups, count)
        uplink = ThingsBoard(options, store, folder)
        live = Live(store, groups)
        tasks = [asyncio.create_task(work()) for work in (store.run, uplink.run)]
        while not uplink.state.connected:
            await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(work()) for work in (live.publish, live.watch)]
        cpu, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        while any(first <= count for first, _ in store.outbox.progress("center").spans(count)):
            await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()
        took_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    cpu_s = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    percentiles = statistics.quantiles(live.took_ms, n=100)
    return {
        "values": args.values,
        "seconds": round(took_s, 1),
        "values_per_s": round(args.values / took_s),
        "cpu_s_per_1M": round(cpu_s * 1e6 / args.values, 2),
        "live_readings": len(live.took_ms),
        "live_ms_p50": round(percentiles[49]),
        "live_ms_p99": round(percentiles[98]),
        "live_ms_max": round(max(live.took_ms)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--values", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--backlog", choices=("oldest", "newest"), default="oldest")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        conf = folder / "mosquitto.conf"
        conf.write_text(f"listener {PORT} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n")
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        broker = subprocess.Popen([program, "-c", str(conf)], stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            print(json.dumps(uvloop.run(measure(folder, args))))
        finally:
            broker.kill()
            broker.wait()


if __name__ == "__main__":
    main()
