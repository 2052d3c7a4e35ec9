#!/usr/bin/env python3
"""Adapter and runner: UICPS Edge Agent under the side-by-side bench.

The bench (its simulator, meter and runner) lives outside this repository; name its folder:

    UICPS_BENCH=../shared/bench python3 bench/uicps.py steady --devices 200 --regs 20 --secs 15

takes the arguments of its `bench.py` and measures this repository's agent with them. `prepare` is
the adapter it calls: devices `D<unit>` with points `r<register>`, one register declared by one.
Registers are coalesced by the agent itself, so `--batched` makes no difference; readings always go
through SQLite on disk, so neither does `--storage`.
"""

import importlib.util
import os
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

AGENT = """[agent]
site = "bench"
trust_clock = "always"
profile_dir = "profiles"
[server]
port = {port}
"""
UPLINK = """
[[uplink]]
name = "center"
kind = "thingsboard"
host = "{mqtt_host}"
port = {mqtt_port}
token_file = "center.token"
"""
LINE = """
[[line]]
name = "L{port}"
driver = "modbus-tcp"
host = "{host}"
port = {port}
timeout_s = 5.0
"""
DEVICE = """[[line.device]]
name = "D{unit}"
profile = "bench"
unit_id = {unit}
interval_s = {interval_s}
"""


def config(spec, port):
    """The agent's configuration for a bench `spec`; `port` is for its own server."""
    parts = [AGENT.format(port=port), UPLINK.format(**spec)]
    for port_at in range(spec["sim_ports"]):
        units = [unit for unit in range(1, spec["devices"] + 1) if (unit - 1) % spec["sim_ports"] == port_at]
        if units:
            parts.append(LINE.format(host=spec["sim_host"], port=spec["sim_port"] + port_at))
        parts += [DEVICE.format(unit=unit, interval_s=spec["poll_ms"] / 1000) for unit in units]
    return "\n".join(parts)


def profile(regs):
    points = "\n".join(f'[[group.point]]\nname = "r{at}"\naddress = {at}' for at in range(regs))
    return f'driver = "modbus"\ntitle = "bench"\nsource = ["bench"]\n[[group]]\nname = "all"\n{points}\n'


def prepare(workdir, spec):
    """Write the agent's files into `workdir`; how to start it: {"argv", "env", "cwd"}."""
    os.makedirs(os.path.join(workdir, "profiles"), exist_ok=True)
    files = {
        "config.toml": config(spec, spec["mqtt_port"] + 1000),
        "profiles/bench.toml": profile(spec["regs"]),
        "center.token": spec["mqtt_user"] + "\n",
    }
    for name, text in files.items():
        path = os.path.join(workdir, name)
        with open(path, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
    python = os.environ.get("UICPS_PYTHON", os.path.join(ROOT, ".venv", "bin", "python"))
    env = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONPATH=ROOT)
    return {"argv": [python, "-m", "agent", "run", "config.toml"], "env": env, "cwd": workdir}


def main():
    folder = os.path.abspath(os.environ.get("UICPS_BENCH", os.path.join(ROOT, "..", "shared", "bench")))
    if not os.path.exists(os.path.join(folder, "bench.py")):
        sys.exit(f"{folder}: expected the bench (bench.py) here; name its folder in UICPS_BENCH")
    agents = types.ModuleType("agents")
    agents.__path__ = [os.path.join(folder, "agents")]
    sys.modules["agents"] = agents
    sys.modules["agents.uicps"] = sys.modules[__name__]
    spec = importlib.util.spec_from_file_location("bench", os.path.join(folder, "bench.py"))
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    if "--agent" not in sys.argv:
        sys.argv += ["--agent", "uicps"]
    bench.main()


if __name__ == "__main__":
    main()
