"""`wiring`: is a three-phase meter wired rightly, judged from what it reads."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands.scan import number, whole
from agent.commands.source import Source, add_arguments, chosen, collect, opened, quiet_logs
from agent.commands.terminal import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WELL, Progress, run_until_interrupted
from agent.commissioning.metering import PHASE_NAMES, PHASES, MeterReading, Site, reading_of
from agent.commissioning.wiring import Finding, check, is_usable
from agent.commissioning.wiring_text import Language, describe
from agent.model import NAN, Group, Quality, Reading
from agent.server import UserError

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

NEEDED = tuple(
    f"{noun}_{phase}" for noun in ("voltage", "current", "active_power") for phase in ("l1", "l2", "l3")
)
WAIT_S_MAX = 600.0
ANSWER_S = 30.0
ANSWER_INTERVALS = 3
_TEXTS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    (Path(__file__).parent / "wiring.toml").read_text(encoding="utf-8")
)


def add_to(commands: Commands) -> None:
    """`wiring CONFIG DEVICE`, `wiring --url URL DEVICE`."""
    text = "check the wiring of a three-phase meter: reversed or swapped transformers, phases, ratios"
    wiring = commands.add_parser(
        "wiring",
        help=text,
        description=f"{text}. Exit code 0: nothing is wrong; 1: something is, or there is too little load "
        "to judge. With CONFIG the agent must be stopped; with --url a running agent is asked.",
    )
    add_arguments(wiring, "DEVICE")
    wiring.add_argument(
        "--readings", type=partial(whole, 1, 1000), default=5, metavar="N", help="(%(default)s)"
    )
    wiring.add_argument(
        "--wait-s",
        type=partial(number, 1, WAIT_S_MAX),
        default=ANSWER_S,
        metavar="S",
        help="for the first reading, at least three of its intervals (%(default)g)",
    )
    wiring.add_argument(
        "--generation",
        choices=("yes", "no"),
        help="whether something here can feed in, like PV; default: unknown",
    )
    wiring.add_argument(
        "--nominal-v",
        type=partial(number, 20, 50_000),
        default=NAN,
        metavar="VOLTS",
        help="phase to neutral, like 127 or 220",
    )
    wiring.add_argument(
        "--ct-primary-a",
        type=partial(number, 0.1, 100_000),
        default=NAN,
        metavar="AMPERES",
        help="of the current transformers",
    )
    wiring.add_argument(
        "--clamp-a", type=_triple, metavar="L1,L2,L3", help="amperes as a clamp meter shows them now"
    )
    wiring.add_argument("--lang", choices=("pt", "en"), default=_language(os.environ), help="(%(default)s)")
    wiring.set_defaults(command=_wiring)


def _language(environment: Mapping[str, str]) -> Language:
    """Portuguese where the system speaks it, else English."""
    said = next((environment[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(key)), "")
    return "pt" if said.lower().startswith("pt") else "en"


def _triple(text: str) -> tuple[float, float, float]:
    parts = text.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"expected three currents like 10.2,9.8,11, found {text!r}")
    first, second, third = (number(0, 100_000, part) for part in parts)
    if not (first or second or third):
        raise argparse.ArgumentTypeError("expected currents that flow now: all three are 0")
    return first, second, third


def _wiring(arguments: argparse.Namespace) -> int:
    choice = chosen(arguments)
    if len(choice.devices) != 1:
        raise UserError(f"expected the name of one device, found {', '.join(choice.devices) or 'none'}")
    generation = {"yes": True, "no": False}.get(arguments.generation)
    site = Site(generation, arguments.nominal_v, arguments.ct_primary_a)
    if arguments.clamp_a:
        site = Site(generation, arguments.nominal_v, arguments.ct_primary_a, arguments.clamp_a)
    readings: list[MeterReading] = []

    async def watch() -> None:
        async with opened(choice) as source:
            quiet_logs()
            await _gather(source, Meter(source, readings, arguments.wait_s), arguments.readings)

    interrupted = run_until_interrupted(watch())
    if interrupted and not readings:
        return EXIT_INTERRUPTED
    if not readings:
        raise OSError(f"{choice.devices[0]}: nothing could be read from it in {WAIT_S_MAX:g} s")
    findings = check(readings, site)
    print(report(choice.devices[0], readings, findings, site, arguments.lang))
    judged = any(is_usable(reading, site) for reading in readings)
    return EXIT_WELL if judged and not findings else EXIT_FAILED


async def _gather(source: Source, meter: Meter, wanted: int) -> None:
    """Up to `wanted` readings, saying how far it is; OSError if none comes in time."""
    progress, loop = Progress(), asyncio.get_running_loop()
    started_s = loop.time()
    work = asyncio.ensure_future(
        collect(source, meter.publish, lambda: len(meter.readings) >= wanted, WAIT_S_MAX)
    )
    try:
        while not work.done():
            gone_s = loop.time() - started_s
            if not meter.readings and gone_s > meter.answer_s:
                raise OSError(meter.silence(gone_s))
            left_s = meter.answer_s - gone_s if not meter.readings else meter.left_s(gone_s, wanted)
            progress.update(left_s, f"{len(meter.readings)} of {wanted} readings")
            await asyncio.wait({work}, timeout=0.5)
        work.result()
    finally:
        progress.close()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


class Meter:
    """Gathers `readings` of a meter: one whenever its currents were read anew and all else is known."""

    def __init__(self, source: Source, readings: list[MeterReading], wait_s: float = ANSWER_S) -> None:
        """`wait_s`: for the first reading, at least ANSWER_INTERVALS of the slowest group. OSError if
        the device is not a three-phase meter."""
        points = {point.name for group in source.groups for point in group.points}
        if missing := [name for name in NEEDED if name not in points]:
            raise OSError(f"expected a three-phase meter, found no point {missing[0]} in its profile")
        self._groups = [group for group in source.groups if _says_something(group)]
        self._latest: dict[Group, Reading] = {}
        self._heard: set[Group] = set()
        self.readings = readings
        slowest_s = max(group.interval_ms for group in self._groups) / 1000
        self.answer_s = max(wait_s, ANSWER_INTERVALS * slowest_s)

    def silence(self, seconds: float) -> str:
        """What did not come in `seconds`."""
        name = self._groups[0].device.name
        if not self._heard:
            way_out = "is it powered, are address and line settings right? see `line stats`"
            return f"{name} does not answer: nothing in {seconds:.0f} s: {way_out}"
        missing = ", ".join(group.name for group in self._groups if group not in self._heard)
        return f"{name}: no complete reading in {seconds:.0f} s, missing: {missing or 'one at a time'}"

    def left_s(self, gone_s: float, wanted: int) -> float:
        """How long the rest will take at the pace so far."""
        return gone_s / len(self.readings) * (wanted - len(self.readings))

    def publish(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            if reading.quality is Quality.BAD:
                self._latest.pop(reading.group, None)
                continue
            self._latest[reading.group] = reading
            self._heard.add(reading.group)
            has_currents = any(point.name == "current_l1" for point in reading.group.points)
            if has_currents and all(group in self._latest for group in self._groups):
                self.readings.append(reading_of(self._values()))

    def _values(self) -> dict[str, float]:
        return {
            point.name: value
            for reading in self._latest.values()
            for point, value in zip(reading.group.points, reading.values, strict=True)
        }


def _says_something(group: Group) -> bool:
    """Whether the check looks at a point of this group; it does not wait for energy counters."""
    return any(point.name in NEEDED for point in group.points)


def report(
    name: str, readings: Sequence[MeterReading], findings: Sequence[Finding], site: Site, language: Language
) -> str:
    """All of it in words."""
    words = _TEXTS[language]
    lines = [words["head"].format(name=name, count=len(readings)), *_seen(readings[-1], language)]
    for finding in findings:
        text = describe(finding, language)
        lines += ["", f"* {text.title} ({text.confidence})", f"  {text.seen}", f"  {text.action}"]
    if not any(is_usable(reading, site) for reading in readings):
        lines += ["", words["no_load"]]
    elif not findings:
        lines += ["", words["well"]]
    if site.generation is not False:
        lines += ["", words["generation"]]
    return "\n".join(lines)


def _seen(reading: MeterReading, language: Language) -> list[str]:
    """The last reading, a phase a line."""
    lines = []
    for k in PHASES:
        values = (
            (reading.voltage_v[k], "V"),
            (reading.current_a[k], "A"),
            (reading.active_power_w[k], "W"),
            (reading.reactive_power_var[k], "var"),
        )
        lines.append(
            f"  {PHASE_NAMES[k]}  " + "  ".join(_number(value, language, unit) for value, unit in values)
        )
    return lines


def _number(value: float, language: Language, unit: str) -> str:
    if not math.isfinite(value):
        return ""
    text = f"{value:9.2f} {unit}"
    return text.replace(".", ",") if language == "pt" else text
