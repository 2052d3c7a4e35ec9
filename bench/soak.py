#!/usr/bin/env python3
"""What the whole agent weighs when nothing happens: memory and CPU of the real process over an hour.

    .venv/bin/python bench/soak.py [--minutes 60] [--python RELEASE/bin/python] [--keep FOLDER]

Ten devices and more than 200 points at 1 Hz over loopback: the demo's site (two meters, an air
conditioner, a room's module), six meters of 24 points. One room is controlled, a job runs every ten minutes
and a plug-in every five, two alarm rules, HTTPS, a Mosquitto as the centre; the environment is the unit's. A
line every half minute and a last one in JSON: `rss_mb` is the agent's process, `children_mb_max` the most of
what ran beside it (jobs, plug-ins, planning), looked at once a second. `cpu_percent`: of one core, children
too, after two minutes.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from agent.demo.config import Ports, write_config  # noqa: E402

METERS, POINTS = 6, 24
LINE_S = 30.0
SETTLE_S = 120.0  # after the start, before CPU counts as idle
UNIT = ROOT / "systemd/uicps-agent.service"
PROFILE = (
    "driver = 'modbus'\ntitle = 'a meter'\nsource = ['bench/soak.py']\n[[group]]\nname = 'all'\n"
    + "".join(f"[[group.point]]\nname = 'r{at}'\naddress = {at}\n" for at in range(POINTS))
)
PLUGIN = (ROOT / "agent/plugins/template.py.txt").read_text()
METER = """
[[line]]
name = "extra-{at}"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {port}
[[line.device]]
name = "meter-{at}"
profile = "plain"
"""
MORE = """
[[alarm]]
name = "voltage"
kind = "limit"
point = "main-meter.voltage_l1"
high = 260.0
low = 100.0
[[alarm]]
name = "busy"
kind = "expression"
when = "room-101.temperature > 40 and main-meter.active_power > 100000"
[[job]]
name = "bill"
command = ["tariff", "list"]
every_s = 600.0
[[plugin]]
name = "mean"
file = "mean.py"
every_s = 300.0
"""


class Meter(socketserver.BaseRequestHandler):
    """Modbus TCP: any registers, their values changing with the time."""

    def handle(self):
        with self.request.makefile("rwb") as wire:
            while len(head := wire.read(12)) == 12:
                transaction, _, _, unit, function, first, count = struct.unpack(">HHHBBHH", head)
                values = (int(time.time() * 10 + first + at) % 60000 for at in range(count))
                body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *values)
                wire.write(struct.pack(">HHH", transaction, 0, len(body)) + body)
                wire.flush()


class Meters(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def configure(folder, ports, meters, server_port):
    config = write_config(folder, ports, server_port=server_port)
    lines = "".join(METER.format(at=at, port=meters) for at in range(METERS))
    text = config.read_text().replace('protocol = "3.1.1"', 'protocol = "auto"')
    text = text.replace("[agent]\n", '[agent]\nprofile_dir = "profiles"\nplugin_dir = "plugins"\n')
    config.write_text(text.replace("[server]\n", '[server]\ntls = "on"\n') + MORE + lines)
    for name, body in (("profiles/plain.toml", PROFILE), ("plugins/mean.py", PLUGIN.replace("NAME", "mean"))):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(body)
    return config


def environment():
    """As the unit says, where that is not about a path."""
    said = {}
    for line in UNIT.read_text().splitlines():
        if line.startswith("Environment=") and "%" not in line:
            said |= dict(each.split("=", 1) for each in line.removeprefix("Environment=").split())
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **said}


def memory_mb(pid):
    """Rss, Pss and Anonymous, in MB; None once it is gone."""
    try:
        rows = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    except OSError:
        return None
    found = {row[0].rstrip(":"): int(row[1]) / 1024 for row in rows[1:] if row[1].isdecimal()}
    return {name: found[name] for name in ("Rss", "Pss", "Anonymous")} if found else None


def below(pid):
    """Every descendant of `pid`."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from below(int(child))


def cpu_s(pid):
    """User and system time, of children that ended too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def watch(pid, minutes):
    """Sample until the time is over; the figures."""
    began, rows, most, children = time.monotonic(), [], 0.0, 0.0
    settled = None
    while (passed := time.monotonic() - began) < minutes * 60:
        own = memory_mb(pid)
        if own is None:
            raise SystemExit("the agent ended")
        beside = sum(each["Rss"] for child in below(pid) if (each := memory_mb(child)))
        most, children = max(most, own["Rss"]), max(children, beside)
        if settled is None and passed >= SETTLE_S:
            settled = passed, cpu_s(pid)
        if not rows or passed - rows[-1][0] >= LINE_S:
            rows.append((passed, own))
            said = " ".join(f"{name.lower()} {value:.1f}" for name, value in own.items())
            print(f"{passed:6.0f} s  {said}  beside {beside:.1f}  cpu {cpu_s(pid):.1f} s", flush=True)
        time.sleep(1.0)
    last = memory_mb(pid)
    figures = {"minutes": minutes, "rss_mb": round(last["Rss"], 1), "pss_mb": round(last["Pss"], 1)}
    figures |= {"anonymous_mb": round(last["Anonymous"], 1), "rss_mb_max": round(most, 1)}
    figures["children_mb_max"] = round(children, 1)
    if settled:
        figures["cpu_percent"] = round(100 * (cpu_s(pid) - settled[1]) / (passed - settled[0]), 2)
    return figures


def mappings(pid, count=14):
    """Which files its memory is of, the largest first."""
    sizes, name = {}, ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            name = Path(words[5]).name if len(words) > 5 else "[anonymous]"
        elif words[0] == "Rss:":
            sizes[name] = sizes.get(name, 0) + int(words[1])
    return sorted(((size, name) for name, size in sizes.items()), reverse=True)[:count]


def ended(process, wait_s=30):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        process.kill()


def run(folder, args):
    broker_port, server_port = free_port(), free_port()
    conf = folder / "mosquitto.conf"
    conf.write_text(f"listener {broker_port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n")
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    with contextlib.ExitStack() as stack:
        meters = stack.enter_context(Meters(("127.0.0.1", 0), Meter))
        threading.Thread(target=meters.serve_forever, daemon=True).start()
        stack.callback(meters.shutdown)
        broker = subprocess.Popen((program, "-c", str(conf)), stderr=subprocess.DEVNULL)
        stack.callback(ended, broker)
        field = subprocess.Popen(
            (sys.executable, "-m", "agent.demo.field", "--free-ports"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        stack.callback(ended, field)
        ports = json.loads(field.stdout.readline())["ports"] | {"center": broker_port}
        config = configure(folder, Ports(**ports), meters.server_address[1], server_port)
        log = stack.enter_context((folder / "log").open("wb"))
        words = (args.python, "-m", "agent", "run", str(config))
        agent = subprocess.Popen(words, cwd=args.cwd or folder, env=environment(), stderr=log, stdout=log)
        stack.callback(ended, agent)
        figures = watch(agent.pid, args.minutes)
        for size_kb, name in mappings(agent.pid):
            print(f"{size_kb / 1024:8.1f} MB  {name}")
    size_kb = sum(file.stat().st_size for file in (folder / "data").rglob("*") if file.is_file()) // 1024
    print(json.dumps({**figures, "data_kb": size_kb}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--python", default=sys.executable, help="of the release to be measured")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended early"))  # so that what was started ends too
    args.cwd = ROOT if args.python == sys.executable else None
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        run(args.keep, args)
        return
    with tempfile.TemporaryDirectory() as name:
        run(Path(name), args)


if __name__ == "__main__":
    main()
