#!/usr/bin/env python3
"""The store beside plain sqlite3, in one run: bytes written (the kernel's count), CPU, size, reading.

50 devices x 20 points, a commit for every second of data, as fast as it goes; what it costs to make up the
values is measured apart and taken off. "bare" is sqlite3 with WAL and synchronous=FULL and nothing else:
the same readings as one packed row each, and as one row per value. Then one point over 30 days at 1 Hz,
beside the sqlite3 shell reading a table that holds that point alone, indexed by time.

    .venv/bin/python bench/store_bench.py [--seconds 7200] [--days 30] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import uvloop

from agent.model import Device, Group, Point, Reading
from agent.store import Store, StoreOptions

DEVICES, POINTS = 50, 20
START_MS = 1_760_000_000_000
DAY_S = 86_400
GROUPS = [
    Group(Device(f"m{at:02}", "meter"), "all", tuple(Point(f"p{each}", "V") for each in range(POINTS)), 1000)
    for at in range(DEVICES)
]
ROOMY = StoreOptions(size_max_mb=1_000_000, free_min_mb=0)


def meter(seconds: int, seed: int) -> np.ndarray:
    """What a three-phase meter says, seconds x 20: levels with noise, counters that grow, codes, gaps."""
    rand = np.random.default_rng(seed)
    day = np.sin(np.arange(seconds) / DAY_S * 2 * np.pi)
    columns = [np.round(228 + 4 * day + rand.normal(0, 0.3, seconds), 1) for _ in range(3)]
    columns += [np.round(6 + 3 * day + rand.normal(0, 0.05, seconds), 3) for _ in range(3)]
    columns += [np.round(1400 + 600 * day + rand.normal(0, 15, seconds), 1) for _ in range(6)]
    columns += [np.round(0.93 + rand.normal(0, 0.005, seconds), 3) for _ in range(3)]
    columns += [np.round(12_345 + np.cumsum(rand.uniform(0, 0.002, seconds)), 2) for _ in range(2)]
    columns += [
        np.round(60 + rand.normal(0, 0.01, seconds), 2),
        np.floor(day * 2),
        rand.normal(35, 0.1, seconds),
    ]
    matrix = np.stack(columns, axis=1)
    matrix[rand.random(seconds) < 0.001] = np.nan
    return matrix


def feed(seconds: int) -> Iterator[list[Reading]]:
    """Second by second, the readings of every device."""
    values = [meter(3600, seed) for seed in range(DEVICES)]
    for second in range(seconds):
        now_ms = START_MS + second * 1000
        yield [
            Reading(group, now_ms + at * 7 % 40, tuple(values[at][second % 3600].tolist()))
            for at, group in enumerate(GROUPS)
        ]


def written_bytes() -> int:
    text = Path("/proc/self/io").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("write_bytes"))


def cpu_s() -> float:
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in each)


class Cost:
    """CPU seconds (of children too, once they have ended) and bytes written since it was made."""

    def __init__(self) -> None:
        self._cpu_s, self._bytes = cpu_s(), written_bytes()

    def per_value(self, values: int, less_s: float) -> tuple[float, float]:
        took_s = cpu_s() - self._cpu_s - less_s
        return took_s / values * 1e6, (written_bytes() - self._bytes) / values


def feed_cost_s(seconds: int) -> float:
    start_s = time.process_time()
    for _ in feed(seconds):
        pass
    return time.process_time() - start_s


async def ours(file: Path, seconds: int, less_s: float) -> tuple[float, float, float]:
    """CPU, bytes written, bytes at rest per value; sealing and a cursor included."""
    cost = Cost()
    async with Store(file, ROOMY) as store:
        await store.register(GROUPS)
        for second, readings in enumerate(feed(seconds)):
            store.append(readings)
            store.outbox.passed("center", 1, store.last_seq)
            store.ledger.delivered("center", readings)
            await store.commit()
            if second % 5 == 0:
                await store.upkeep.once()
        await store.disk.packer.close()
        values = store.last_seq * POINTS
        cpu_us, written = cost.per_value(values, less_s)
    with sqlite3.connect(file) as db:
        (sealed,) = db.execute("SELECT sum(readings) FROM chunk").fetchone()
        (log,) = db.execute("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = 'reading'").fetchone()
        (pages, free) = (
            db.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "freelist_count")
        )
        (size,) = db.execute("PRAGMA page_size").fetchone()
    return cpu_us, written, ((pages - free) * size - log) / (sealed * POINTS)


def bare_packed(file: Path, seconds: int, less_s: float) -> tuple[float, float, float]:
    cost = Cost()
    db = bare(file, "reading (seq INTEGER PRIMARY KEY, device INTEGER, time_ms INTEGER, packed BLOB)")
    pack = struct.Struct(f"<{POINTS}d").pack
    for readings in feed(seconds):
        rows = [(at, each.time_ms, pack(*each.values)) for at, each in enumerate(readings)]
        db.executemany("INSERT INTO reading VALUES (NULL, ?, ?, ?)", rows)
        db.commit()
    return closed(db, file, cost, seconds, less_s)


def bare_values(file: Path, seconds: int, less_s: float) -> tuple[float, float, float]:
    cost = Cost()
    db = bare(file, "value (point INTEGER, time_ms INTEGER, value REAL)")
    for readings in feed(seconds):
        db.executemany(
            "INSERT INTO value VALUES (?, ?, ?)",
            [
                (at * POINTS + place, each.time_ms, value)
                for at, each in enumerate(readings)
                for place, value in enumerate(each.values)
            ],
        )
        db.commit()
    return closed(db, file, cost, seconds, less_s)


def bare(file: Path, table: str) -> sqlite3.Connection:
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"CREATE TABLE {table}")
    return db


def closed(
    db: sqlite3.Connection, file: Path, cost: Cost, seconds: int, less_s: float
) -> tuple[float, float, float]:
    db.close()
    values = seconds * DEVICES * POINTS
    return *cost.per_value(values, less_s), file.stat().st_size / values


async def fill_days(file: Path, table: Path, days: int) -> None:
    """One device at 1 Hz in the store; its seventh point alone, indexed, for the shell."""
    db = bare(
        table,
        "value (point INTEGER, time_ms INTEGER, value REAL, PRIMARY KEY (point, time_ms)) WITHOUT ROWID",
    )
    async with Store(file, ROOMY) as store:
        for day in range(days):
            times = START_MS + day * DAY_S * 1000 + np.arange(DAY_S) * 1000
            matrix = meter(DAY_S, day)
            readings = [
                Reading(GROUPS[0], time_ms, tuple(row))
                for time_ms, row in zip(times.tolist(), matrix.tolist(), strict=True)
            ]
            store.append(readings)
            await store.commit()
            db.executemany("INSERT INTO value VALUES (7, ?, ?)", ((r.time_ms, r.values[7]) for r in readings))
            db.commit()
            while await store.upkeep.seal():
                pass
    db.close()


async def read_days(file: Path, days: int) -> dict[str, float]:
    """Seconds to the first rows and to the last, while ingest goes on, and how late its worst commit was."""
    period = (START_MS, START_MS + days * DAY_S * 1000)
    found: dict[str, float] = {}
    async with Store(file, ROOMY) as store:
        ingest = asyncio.create_task(keep_committing(store, found))
        upkeep = asyncio.create_task(store.upkeep.run())
        await asyncio.sleep(0.3)
        for name in ("columns", "downsample to 15 min", "history (all 20 points)"):
            start_s, count = time.perf_counter(), 0
            if name.startswith("history"):
                steps = store.history(["m00.p7"], *period)
            elif name == "columns":
                steps = store.columns(["m00.p7"], *period)
            else:
                steps = store.downsample(["m00.p7"], *period, 900_000)
            async for step in steps:
                found.setdefault(f"{name}: first", time.perf_counter() - start_s)
                count += len(step.time_ms) if hasattr(step, "time_ms") else len(step)
            found[f"{name}: all"] = time.perf_counter() - start_s
            found[f"{name}: rows"] = count
        for task in (ingest, upkeep):
            task.cancel()
            await asyncio.wait([task])
    return found


async def keep_committing(store: Store, found: dict[str, float]) -> None:
    found["worst commit"] = 0.0
    for readings in feed(3600):
        late = [each._replace(time_ms=each.time_ms + 90 * DAY_S * 1000) for each in readings]
        start_s = time.perf_counter()
        store.append(late)
        await store.commit()
        found["worst commit"] = max(found["worst commit"], time.perf_counter() - start_s)
        await asyncio.sleep(0.1)


def shell(table: Path, what: str, days: int) -> float:
    period = f"point = 7 AND time_ms >= {START_MS} AND time_ms < {START_MS + days * DAY_S * 1000}"
    command = ["sqlite3", str(table), f"SELECT {what} FROM value WHERE {period}"]
    start_s = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=7200)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument(
        "--folder", type=Path, help="on the disk to be measured; default: the temporary folder"
    )
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="store-bench-", dir=given.folder))
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, {os.cpu_count()} CPUs, "
          f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")  # fmt: skip
    try:
        writing(folder, given.seconds)
        if given.days:
            reading(folder, given.days)
    finally:
        shutil.rmtree(folder)


def writing(folder: Path, seconds: int) -> None:
    less_s = feed_cost_s(seconds)
    results = {
        "bare, a packed row per reading": bare_packed(folder / "packed.db", seconds, less_s),
        "this store, sealing included": uvloop.run(ours(folder / "ours.db", seconds, less_s)),
        "bare, a row per value": bare_values(folder / "values.db", seconds, less_s),
    }
    print(f"\n{seconds} s of {DEVICES} x {POINTS} at 1 Hz, a commit a second")
    print("| what | CPU us per value | written B per value | at rest B per value |\n|---|---|---|---|")
    for name, (cpu_us, written, rest) in results.items():
        print(f"| {name} | {cpu_us:.2f} | {written:.1f} | {rest:.2f} |")


def reading(folder: Path, days: int) -> None:
    file, table = folder / "days.db", folder / "table.db"
    uvloop.run(fill_days(file, table, days))
    found = uvloop.run(read_days(file, days))
    print(f"\none point, {days} days at 1 Hz, ingest of {DEVICES} x {POINTS} going on ten times a second")
    print("| what | rows | first rows after ms | all after s |\n|---|---|---|---|")
    for name in ("columns", "downsample to 15 min", "history (all 20 points)"):
        first, all_s, rows = (found[f"{name}: {each}"] for each in ("first", "all", "rows"))
        print(f"| {name} | {rows:.0f} | {first * 1000:.0f} | {all_s:.2f} |")
    for what in ("time_ms, value", "count(*), sum(value)"):
        print(f"| sqlite3 shell: {what} | | | {shell(table, what, days):.2f} |")
    print(f"\nworst commit meanwhile: {found['worst commit'] * 1000:.0f} ms")


if __name__ == "__main__":
    main()
