"""Everything that is looked at, in the order in which a person would look."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.config import Config, load
from agent.doctor import box, files, network, running
from agent.doctor.findings import Finding, fault, well
from agent.doctor.scrub import data_dir_of
from agent.schema import FaultyFile
from agent.status_file import read_status


async def examine(file: Path, runtime: Path, measure_s: float) -> list[Finding]:
    """All findings about the box that the configuration `file` is for."""
    try:
        config = load(file)
    except FaultyFile as faulty:
        return [*_without_config(file, faulty, measure_s)]
    alive = _is_running(config.data_dir)
    status = read_status(runtime) if alive else None
    found = [well("config", f"{file}: without faults"), *files.permissions(config.data_dir)]
    found += _ports(config, alive=alive)
    found += _disk(config, measure_s)
    found += files.databases(config.data_dir)
    if not alive:  # some gateways take one connection, and it is the agent's
        found += await network.peers(config.options.line)
    for uplink in config.options.uplink:
        found += [each async for each in network.broker(uplink, connected=_connected(status, uplink.name))]
    return found + list(running.agent(status, running=alive))


def _without_config(file: Path, faulty: FaultyFile, measure_s: float) -> Iterator[Finding]:
    """What can be said of a box whose configuration is faulty: more may be wrong than that."""
    for each in faulty.faults:
        yield fault("config", str(each), "mend the file; uicps-agent check says more")
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        data = {}
    data_dir = data_dir_of(data, file.resolve().parent)
    yield from files.permissions(data_dir)
    yield box.disk(data_dir, 0)
    if data_dir.exists():
        yield box.wear(box.written(data_dir, measure_s), None)
        yield from files.databases(data_dir)
    yield box.clock("synchronised")


def _is_running(data_dir: Path) -> bool:
    try:
        return files.is_running(data_dir)
    except PermissionError as error:
        raise PermissionError(f"{data_dir}: may not be looked into: run it with sudo") from error


def _connected(status: dict[str, Any] | None, name: str) -> bool:
    uplinks = (status or {}).get("uplinks", ())
    return any(uplink.get("name") == name and uplink.get("connected") for uplink in uplinks)


def _ports(config: Config, *, alive: bool) -> Iterator[Finding]:
    server = config.options.server
    yield network.own_port("server", server.host, server.port, socket.SOCK_STREAM, running=alive)
    for line in config.options.line:
        subject, port = f"line {line.name}", getattr(line, "port", None)
        if isinstance(port, str):
            yield from box.serial_port(subject, port)
        elif line.driver == "udp":
            yield network.own_port(subject, line.host, line.port, socket.SOCK_DGRAM, running=alive)


def _disk(config: Config, measure_s: float) -> Iterator[Finding]:
    options = config.options
    yield box.disk(config.data_dir, options.store.size_max_mb)
    if config.data_dir.exists():
        yield box.wear(box.written(config.data_dir, measure_s), options.agent.card_endurance_tb)
    yield box.clock(options.agent.trust_clock)
