"""Joins the talk of the centre to an uplink: what it may call, and what it is told about us."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.dispatch import Dispatch
from agent.hub import Hub
from agent.model import Group
from agent.uplink.methods import Rescan, Status, methods, through
from agent.uplink.pace import Limits
from agent.uplink.rpc import Calls, Memory
from agent.uplink.settings import Settings
from agent.uplink.talk import TalkBack
from agent.uplink.thingsboard import AGENT_DEVICE, ThingsBoard

BACKLOG_STEP = 1000  # readings; a finer count would be told again and again


async def let_talk(
    uplink: ThingsBoard,
    state_dir: Path,
    *,
    hub: Hub,
    dispatch: Dispatch,
    settings: Settings,
    status: Status,
    version: str,
    rescan: Rescan,
) -> None:
    """Let the centre of `uplink` talk back at every connection from now on."""
    memory = Memory(state_dir / f"{uplink.name}.calls.json")
    await memory.load()

    def learn(limits: Limits) -> None:
        uplink.limits = limits

    talk = TalkBack(
        Calls(methods(hub, through(dispatch), status, rescan), memory),
        settings,
        devices=lambda: {each.name: each.type for each in hub.devices if each.name != AGENT_DEVICE},
        facts=lambda: facts(status(), uplink, version),
        device_facts=lambda: device_facts(hub),
        forgotten=uplink.delivery.forget_greeting,
        learn=learn,
    )
    uplink.beside.append(talk.run)


def facts(status: Mapping[str, Any], uplink: ThingsBoard, version: str) -> dict[str, Any]:
    """What a centre is told about the box, as client attributes of the gateway."""
    lines = {line["name"]: "failing" if line["failing"] else "well" for line in status.get("lines", ())}
    backlog = uplink.state.backlog
    return {
        "agent_version": version,
        "healthy": status.get("healthy", False),
        "reasons": list(status.get("reasons", ())),
        "clock_trusted": status.get("clock_trusted", False),
        "lines": lines,
        "backlog_readings": backlog - backlog % BACKLOG_STEP,
        "held_devices": uplink.state.held_devices,
        "protocol": uplink.state.protocol,
    }


def device_facts(hub: Hub) -> dict[str, dict[str, Any]]:
    """What a centre is told about each sub-device, by its name."""
    found: dict[str, dict[str, Any]] = {}
    for group in hub.groups:
        device = group.device
        if device.name != AGENT_DEVICE:
            told = found.setdefault(
                device.name, {"profile": device.type, "label": device.label, "points": {}}
            )
            told["points"] |= _points(group)
    return found


def _points(group: Group) -> dict[str, Any]:
    """Unit of each point; what can be written also says so, and between what."""
    told: dict[str, Any] = {}
    for point in group.points:
        told[point.name] = {"unit": point.unit}
        if point.writable is not None:
            ends = {"low": point.writable.low, "high": point.writable.high}
            told[point.name] |= {"writable": True} | {k: end for k, end in ends.items() if math.isfinite(end)}
    return told
