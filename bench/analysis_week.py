#!/usr/bin/env python3
"""A week of 50 devices x 20 points at 1 Hz through the real runner, beside the agent at its work.

    .venv/bin/python bench/analysis_week.py [--devices 50] [--days 7]     # some minutes, 1.5 GB of disk

A sealed store of a week is made (columns as the store packs them; the values repeat every few hours), and of
every point what is normal, as a month would have taught. Then the real agent runs on it: it polls as many
simulated meters over Modbus TCP once a second, a client watches every reading by WebSocket. First as it is,
then while the job `analysis` reads the whole week, judges it and publishes; then once more for what came
since. Time, processor and memory are what the agent notes of the job's process; ages are from a reading's
time to the client.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import signal
import socketserver
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import numpy as np
from argon2 import PasswordHasher

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from agent.analysis.anomaly import learn  # noqa: E402
from agent.analysis.kept import to_json  # noqa: E402
from agent.analysis.site.book import Book  # noqa: E402
from agent.localtime import week_slots  # noqa: E402
from agent.model import Device, Group, Kind, Point  # noqa: E402
from agent.server import Role  # noqa: E402
from agent.server.identity.users import Users  # noqa: E402
from agent.store import Store, chunk_table, columns  # noqa: E402

PASSWORD, DAY_MS, TEN_MS = "a password of a bench", 86_400_000, 600_000
CHUNK_S, VARIANTS = 2000, 12
POINTS = [
    *((f"voltage_l{k}", "V", 127.0, 1.5, 0.1) for k in (1, 2, 3)),
    *((f"current_l{k}", "A", 20.0, 3.0, 0.01) for k in (1, 2, 3)),
    ("active_power", "W", 7000.0, 900.0, 1.0),
    ("reactive_power", "var", 2000.0, 300.0, 1.0),
    ("frequency", "Hz", 60.0, 0.02, 0.01),
    *((f"active_power_l{k}", "W", 2300.0, 300.0, 1.0) for k in (1, 2, 3)),
    *((f"power_factor_l{k}", "", 0.94, 0.01, 0.001) for k in (1, 2, 3)),
    *((f"thd_voltage_l{k}", "%", 2.5, 0.3, 0.01) for k in (1, 2, 3)),
    ("temperature", "°C", 31.0, 1.0, 0.1),
    ("energy_import", "kWh", 0.0, 0.0, 0.1),
]
PROFILE = (
    "driver = 'modbus'\ntitle = 'a meter'\nsource = ['bench/analysis_week.py']\n[[group]]\nname = 'all'\n"
    + "".join(
        f"[[group.point]]\nname = '{name}'\nunit = '{unit}'\naddress = {at}\nscale = {step}\n"
        + ("kind = 'total'\n" if name == "energy_import" else "")
        for at, (name, unit, _, _, step) in enumerate(POINTS)
    )
)
CONFIG = """
[agent]
site = "week"
profile_dir = "profiles"
trust_clock = "always"
[server]
port = 0
[store]
size_max_mb = 16000
[analysis]
learn_at = "00:00"
{off}
"""
LINE = """
[[line]]
name = "line-{at}"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {port}
[[line.device]]
name = "meter-{at}"
profile = "week"
"""


def group_of(at):
    points = tuple(
        Point(name, unit, Kind.TOTAL if name == "energy_import" else Kind.GAUGE) for name, unit, *_ in POINTS
    )
    return Group(Device(f"meter-{at}", "week"), "all", points, 1000)


# ------------------------------------------------------------------ a week that was


async def registered(file, groups):
    async with Store(file) as store:
        await store.register(groups)


def packed_values():
    """Some stretches of readings of one device, as columns; the counter is made for each stretch."""
    chance = np.random.default_rng(1)
    for number in range(VARIANTS):
        rows = np.stack(
            [
                np.round(chance.normal(mean, spread, CHUNK_S) / step) * step
                for _, _, mean, spread, step in POINTS
            ],
            axis=1,
        )
        rows = np.round(rows, 3)
        if number % 5 == 0:
            rows[100:103, 0] = 80.0  # a sag
        rows[int(chance.integers(200, CHUNK_S)), :-1] = np.nan  # a poll that failed
        yield columns.encode_floats(rows)


def fill(file, devices, days, end_ms):
    """Sealed chunks up to `end_ms`, a stretch of all devices each."""
    db = sqlite3.connect(file)
    keys = [key for (key,) in db.execute("SELECT id FROM point_group ORDER BY id")]
    variants, quality = list(packed_values()), columns.encode_ints(np.full(CHUNK_S, 2, dtype=np.int64))
    seq, segment, chunks = 0, 1, days * 86_400 // CHUNK_S
    for number in range(chunks):
        start_ms = end_ms - (chunks - number) * CHUNK_S * 1000
        times_ms = start_ms + np.arange(CHUNK_S, dtype=np.int64) * 1000
        counter = np.round(7.0 * (number * CHUNK_S + np.arange(CHUNK_S)) / 3600, 1)
        last = columns.encode_floats(counter[:, None])
        encoded = []
        for at in range(devices):
            seqs = seq + 1 + at + np.arange(CHUNK_S, dtype=np.int64) * devices
            values = [*variants[(number + at) % VARIANTS][:-1], *last]
            heads = (columns.encode_ints(seqs), columns.encode_ints(times_ms), quality)
            span = (int(times_ms[0]), int(times_ms[-1]), CHUNK_S)
            encoded.append(chunk_table.Encoded(keys[at], *span, *heads, values))
        chunk = chunk_table.chunk_of(seq + 1, seq + CHUNK_S * devices, encoded)
        with db:
            db.execute("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)", chunk)
            rows = list(chunk_table.segment_rows(chunk, encoded, segment))
            marks = ", ".join("?" * len(rows[0]))
            db.executemany(f"INSERT INTO segment VALUES ({marks})", rows)
            bodies = chunk_table.column_rows(encoded, segment)
            db.executemany("INSERT INTO segment_column VALUES (?, ?)", bodies)
        seq, segment = chunk.last_seq, segment + devices
    with db:
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'reading'")
        db.execute("INSERT INTO sqlite_sequence VALUES ('reading', ?)", (seq,))
    db.close()
    return seq


def taught(file, devices, begin_ms):
    """What is normal of every gauge, as if four weeks before had been seen."""
    times_ms = begin_ms - 28 * DAY_MS + np.arange(28 * 144, dtype=np.int64) * TEN_MS
    slots, chance = week_slots(times_ms, ZoneInfo("America/Sao_Paulo")), np.random.default_rng(2)
    counts = np.full(times_ms.size, 600)
    with Book(file) as book:
        book.begin()
        for name, _, mean, spread, _ in POINTS[:-1]:
            normal = learn(chance.normal(mean, spread / 20, times_ms.size), slots, counts)
            body = {"end_ms": begin_ms // DAY_MS * DAY_MS, "normal": to_json(normal)}
            for at in range(devices):
                book.put_learned(f"normal meter-{at} all {name}", begin_ms, body)
        book.commit()


# ------------------------------------------------------------------ the field and the agent


class Meter(socketserver.BaseRequestHandler):
    """Modbus TCP: every register at its usual value, a little about."""

    def handle(self):
        usual = [min(round(mean / step), 65000) for _, _, mean, _, step in POINTS]
        with self.request.makefile("rwb") as wire:
            while len(head := wire.read(12)) == 12:
                transaction, _, _, unit, function, first, count = struct.unpack(">HHHBBHH", head)
                wave = int(time.time()) % 3
                values = [(usual + [0] * 200)[first + at] + wave for at in range(count)]
                body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *values)
                wire.write(struct.pack(">HHH", transaction, 0, len(body)) + body)
                wire.flush()


class Meters(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 200


def field(pipe):
    with Meters(("127.0.0.1", 0), Meter) as meters:
        pipe.send(meters.server_address[1])
        meters.serve_forever()


def configured(folder, devices, port):
    (folder / "profiles").mkdir()
    (folder / "profiles" / "week.toml").write_text(PROFILE)
    lines = "".join(LINE.format(at=at, port=port) for at in range(devices))
    # Not by itself meanwhile: it is told when.
    (folder / "config.toml").write_text(CONFIG.format(off="every_s = 86400.0") + lines)
    return folder / "config.toml"


async def user(folder):
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    async with Users(folder / "identity.db", hasher=cheap) as users:
        await users.add("ana", PASSWORD, Role.ADMIN)


class Watching:
    """Every reading that comes: its age in ms, and how far apart the readings of a device are."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.ages, self.steps, self.last = [], [], {}

    async def run(self, http, token):
        headers = {"Authorization": f"Bearer {token}"}
        async with http.ws_connect("/ws", headers=headers, max_msg_size=0) as socket:
            await socket.receive_json()
            await socket.send_json({"type": "subscribe", "id": 1, "points": ["meter-*.*"], "mode": "every"})
            async for message in socket:
                said = json.loads(message.data)
                now_ms = time.time() * 1000
                for reading in said.get("readings", ()) if not said.get("image") else ():
                    self.ages.append(now_ms - reading["time_ms"])
                    before = self.last.get(reading["device"])
                    self.last[reading["device"]] = reading["time_ms"]
                    if before:
                        self.steps.append(reading["time_ms"] - before)

    def said(self):
        age = np.percentile(self.ages, [50, 99, 100])
        step = np.percentile(self.steps, [0.5, 50, 99.5])
        return (
            f"{len(self.ages)} readings, age p50 {age[0]:.0f} ms, p99 {age[1]:.0f} ms, most {age[2]:.0f} ms; "
            f"period p50 {step[1]:.0f} ms, 99 % within {step[0]:.0f} to {step[2]:.0f} ms"
        )


async def one_run(http, headers):
    """Have `analysis` run, and wait for its end; the run."""
    async with http.post("/api/v1/jobs/analysis/run", headers=headers) as reply:
        assert reply.status == 200, await reply.text()
    while True:
        await asyncio.sleep(0.5)
        async with http.get("/api/v1/jobs/history?name=analysis&limit=1", headers=headers) as reply:
            runs = (await reply.json())["runs"]
        async with http.get("/api/v1/jobs", headers=headers) as reply:
            job = next(each for each in (await reply.json())["jobs"] if each["name"] == "analysis")
        if runs and runs[0]["ended_ms"] and not job["running"] and not job["waiting"]:
            return runs[0]


async def measured(url, quiet_s):
    async with aiohttp.ClientSession(url) as http:
        login = {"Authorization": aiohttp.encode_basic_auth("ana", PASSWORD)}
        async with http.post("/token", headers=login) as reply:
            token = (await reply.json())["access_token"]
        headers, watching = {"Authorization": f"Bearer {token}"}, Watching()
        await asyncio.sleep(min(5.0, quiet_s))  # the lines come up
        task = asyncio.create_task(watching.run(http, token))
        await asyncio.sleep(min(5.0, quiet_s))
        watching.clear()
        await asyncio.sleep(quiet_s)
        if task.done():
            raise SystemExit(f"the client's socket ended: {task.exception()!r}")
        print(f"without: {watching.said()}", flush=True)
        watching.clear()
        run = await one_run(http, headers)
        print(f"beside the week: {watching.said()}")
        took_s = (run["ended_ms"] - run["started_ms"]) / 1000
        print(f"the week: {run['result']}, {took_s:.1f} s, {run['cpu_s']:.1f} s of processor, "
              f"{run['memory_mb']:.0f} MB at most; {run['text'].partition('.')[0]}", flush=True)  # fmt: skip
        again = await one_run(http, headers)
        again_s = (again["ended_ms"] - again["started_ms"]) / 1000
        print(f"what came since: {again['result']}, {again_s:.1f} s, {again['cpu_s']:.1f} s of processor, "
              f"{again['memory_mb']:.0f} MB; {again['text'].partition('.')[0]}", flush=True)  # fmt: skip
        task.cancel()
        return took_s, run


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--quiet", type=float, default=30.0, help="seconds of live readings before")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "data").mkdir()
        ours, theirs = multiprocessing.Pipe()
        meters = multiprocessing.get_context("spawn").Process(target=field, args=(theirs,), daemon=True)
        meters.start()
        stack.callback(meters.kill)
        config = configured(folder, arguments.devices, ours.recv())
        groups = [group_of(at) for at in range(arguments.devices)]
        asyncio.run(registered(folder / "data/readings.db", groups))
        asyncio.run(user(folder / "data"))
        end_ms = round(time.time() * 1000)
        readings = fill(folder / "data/readings.db", arguments.devices, arguments.days, end_ms)
        taught(folder / "data/analysis.db", arguments.devices, end_ms - arguments.days * DAY_MS)
        size_mb = (folder / "data/readings.db").stat().st_size / 1e6
        print(f"{readings * len(POINTS) / 1e6:.0f} million values of {arguments.devices} devices over "
              f"{arguments.days} days, {size_mb:.0f} MB sealed", flush=True)  # fmt: skip
        log = stack.enter_context((folder / "log").open("w+"))
        words = (sys.executable, "-m", "agent", "run", str(config))
        agent = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log)
        stack.callback(agent.wait)
        stack.callback(agent.send_signal, signal.SIGTERM)
        return asyncio.run(measured(where(folder / "log", agent), arguments.quiet))


def where(log, agent):
    """The page's address, once the log says it."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and agent.poll() is None:
        for line in log.read_text().splitlines():
            if "http://" in line and "devices on" in line:
                return "http://" + line.rpartition("http://")[2].strip()
        time.sleep(0.2)
    raise SystemExit(log.read_text())


if __name__ == "__main__":
    main()
