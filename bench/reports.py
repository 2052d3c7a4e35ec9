#!/usr/bin/env python3
"""A month of a meter of 20 points at 1 Hz, sealed as an agent leaves it, as reports: time and memory of each.

    .venv/bin/python bench/reports.py [--days 31] [--meters 1]

Each report is made by its command, in a process of its own; memory is that process's peak.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from agent.model import Reading
from agent.store import Store
from agent.store.options import StoreOptions
from tests.reports.places import fast_values, groups, ms, site, slow_values

BEGIN_MS = ms(2026, 10, 1)
HOUR_MS = 3_600_000
REPORTS = (
    ("power-quality", "--from=2026-10-05", "--to=2026-10-12"),
    ("power-quality", "--from=2026-10-01", "--to=2026-11-01"),
    ("energy", "--month=2026-10"),
    ("commissioning",),
)


async def fill(file, days, meters):
    """Readings hour by hour, sealed at the end."""
    pairs = [groups(f"meter-{number}" if number else "main-meter", every_s=1) for number in range(meters)]
    async with Store(file, StoreOptions(free_min_mb=1, size_max_mb=20_000)) as store:
        await store.register([group for pair in pairs for group in pair])
        for hour in range(days * 24):
            begin = BEGIN_MS + hour * HOUR_MS
            times = np.arange(begin, begin + HOUR_MS, 1000, dtype=np.int64)
            slow_times = times[::10]
            fast = fast_values(times, seed=hour % 24).tolist()
            slow = slow_values(slow_times, BEGIN_MS).tolist()
            for fast_group, slow_group in pairs:
                for group, stamps, rows in ((fast_group, times, fast), (slow_group, slow_times, slow)):
                    pairs_of = zip(stamps.tolist(), rows, strict=True)
                    store.append([Reading(group, at, row) for at, row in pairs_of])
                await store.commit()
            while await store.upkeep.seal():
                pass


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=31)
    parser.add_argument("--meters", type=int, default=1)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, file = site(folder), folder / "data" / "readings.db"
        begun = time.perf_counter()
        asyncio.run(fill(file, arguments.days, arguments.meters))
        size_mb = file.stat().st_size / 1e6
        print(f"{arguments.days} days x {arguments.meters} meters: {size_mb:.0f} MB, "
              f"made in {time.perf_counter() - begun:.0f} s", flush=True)  # fmt: skip
        for kind, *more in REPORTS:
            command = [sys.executable, "-m", "agent", "report", kind, str(config), *more, "--lang=pt-BR"]
            begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            took_s, most_mb = time.perf_counter() - begun, after.ru_maxrss / 1024
            print(f"{' '.join([kind, *more])}: {took_s:.1f} s, {cpu_s:.1f} s of processor, "
                  f"at most {most_mb:.0f} MB so far", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
