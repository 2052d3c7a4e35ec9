"""`line stats`: how the traffic of each line and device is."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.commands.own_lines import OwnLines, statistics
from agent.commands.scan import number
from agent.commands.source import add_arguments, chosen, opened, quiet_logs
from agent.commands.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WELL, run_until_interrupted, table

if TYPE_CHECKING:
    from agent.commands.remote import Remote
    from agent.commands.terminal import Commands

COUNTS = {
    "requests": "REQUESTS",
    "timeouts": "TIMEOUTS",
    "crc_errors": "CRC",
    "strays": "STRAY",
    "exceptions": "REFUSED",
}
STRAYS_TOLD, STRAYS_SHARE = 3, 0.01
PERCENTILES = ("p50", "p95", "p99", "max")


def add_to(commands: Commands) -> None:
    """`line stats CONFIG`, `line stats --url URL`."""
    text = "the lines: how their traffic is"
    actions = commands.add_parser("line", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    text = "requests, time-outs, errors and response times of each device, load and stretch of each line"
    stats = actions.add_parser(
        "stats",
        help=text,
        description=f"{text}. With CONFIG the lines are opened here for a while (the agent must be stopped); "
        "with --url a running agent says what it has counted since it started.",
    )
    add_arguments(stats)
    stats.add_argument(
        "--seconds",
        type=partial(number, 0.1, 86400),
        default=15.0,
        metavar="S",
        help="with CONFIG: how long (%(default)s)",
    )
    stats.add_argument("--json", action="store_true", help="print JSON instead of tables")
    stats.set_defaults(command=_stats)


def _stats(arguments: argparse.Namespace) -> int:
    choice = chosen(arguments)
    lines: list[dict[str, Any]] = []

    async def ask() -> None:
        async with opened(choice) as source:
            if isinstance(source, OwnLines):
                quiet_logs()
                await _measure(source, arguments.seconds, lines)
            else:
                lines.extend(await _of(source))

    interrupted = run_until_interrupted(ask())
    print(json.dumps(lines, indent=2) if arguments.json else "\n\n".join(map(line_text, lines)))
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if any(line["failing"] for line in lines) else EXIT_WELL


async def _measure(source: OwnLines, seconds: float, lines: list[dict[str, Any]]) -> None:
    """Read for so long; what was counted is in `lines` however it ends."""
    running = asyncio.ensure_future(source.run(lambda readings: None))
    try:
        await asyncio.wait({running}, timeout=seconds)
    finally:
        lines.extend(statistics(source))  # before the lines are left: then they have no load
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _of(agent: Remote) -> Sequence[dict[str, Any]]:
    status: Mapping[str, Any] = await agent.get("/api/v1/status")
    return list(status["lines"])


def line_text(line: Mapping[str, Any]) -> str:
    """A line and its devices, for people."""
    state = "failing" if line["failing"] else "open" if line.get("connected") else "not open"
    parts = [f"{line['name']}  {line.get('where', '')}  {state}"]
    if line.get("down"):
        parts.append(line["down"])
    if "busy" in line:
        parts.append(f"busy {line['busy']:.0%}, stretch {line['stretch']:.2f}")
    devices: Mapping[str, Mapping[str, Any]] = line.get("devices", {})
    is_polled = any("requests" in each for each in devices.values())
    return "\n".join([", ".join(parts), _polled(devices) if is_polled else _heard(line, devices)])


def _polled(devices: Mapping[str, Mapping[str, Any]]) -> str:
    """Of devices that are asked."""
    heads = ("DEVICE", "UNIT", *COUNTS.values(), "MALFORMED", *(f"{each} ms" for each in PERCENTILES), "NOTE")
    rows = []
    for name, each in devices.items():
        times = each["response_ms"] or {}
        counted = [str(each.get(count, 0)) for count in (*COUNTS, "malformed")]
        shown = [_ms(times.get(percentile, math.nan)) for percentile in PERCENTILES]
        rows.append((name, str(each["unit_id"]), *counted, *shown, _note(each)))
    return table(heads, rows)


def _ms(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"


def _note(device: Mapping[str, Any]) -> str:
    """What a technician should look at."""
    notes = [f"silent, {device['silent']} times in a row"] if device["silent"] else []
    notes += [f"refuses {', '.join(device['refused'])}"] if device["refused"] else []
    slow = device.get("unanswered")
    notes += [f"too slow or silent for {', '.join(slow)}, asked again later"] if slow else []
    notes += ["other units' frames instead of its own"] if _is_talked_over(device) else []
    return "; ".join(notes)


def _is_talked_over(device: Mapping[str, Any]) -> bool:
    """Whether strays are more than an accident: a late device, a second master, a wrong id."""
    strays: int = device.get("strays", 0)
    return strays >= STRAYS_TOLD and strays > STRAYS_SHARE * device["requests"]


def _heard(line: Mapping[str, Any], devices: Mapping[str, Mapping[str, Any]]) -> str:
    """Of devices that speak by themselves: every counter there is."""
    texts = [f"  all: {_counters(line['counters'])}"]
    texts += [f"  {name}: {_counters(each)}" for name, each in devices.items()]
    return "\n".join(texts)


def _counters(counters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counters.items()) or "nothing yet"
