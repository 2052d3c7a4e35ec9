"""What was found: where, what, how bad, and what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple


class Level(enum.StrEnum):
    """`fault`: something does not work, or will not for long; `warning`: look at it; `well`; `unknown`."""

    WELL = "well"
    UNKNOWN = "unknown"
    WARNING = "warning"
    FAULT = "fault"


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str
    way_out: str = ""


def well(subject: str, text: str) -> Finding:
    return Finding(Level.WELL, subject, text)


def unknown(subject: str, text: str) -> Finding:
    return Finding(Level.UNKNOWN, subject, text)


def warning(subject: str, text: str, way_out: str) -> Finding:
    return Finding(Level.WARNING, subject, text, way_out)


def fault(subject: str, text: str, way_out: str) -> Finding:
    return Finding(Level.FAULT, subject, text, way_out)


def lines(findings: Iterable[Finding]) -> list[str]:
    """For people: a line each, the way out below it."""
    marks = {Level.WELL: "ok  ", Level.UNKNOWN: "?   ", Level.WARNING: "LOOK", Level.FAULT: "BAD "}
    shown = []
    for finding in findings:
        shown.append(f"{marks[finding.level]} {finding.subject}: {finding.text}")
        if finding.way_out:
            shown.append(f"       -> {finding.way_out}")
    return shown
