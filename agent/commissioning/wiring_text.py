"""Findings of the wiring check in words: what it is, what was seen, what to do.

The words are in `wiring_text.toml`, in Portuguese and English; numbers have the comma of the language.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from agent.commissioning.metering import PHASE_NAMES, PHASES
from agent.commissioning.wiring import Fault, Finding

Language = Literal["pt", "en"]


class Text(NamedTuple):
    """A finding for people: a title, what was seen (numbers with units), what to do, how sure it is."""

    title: str
    seen: str
    action: str
    confidence: str


_TEXTS: Mapping[str, Mapping[str, Mapping[str, str]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)


def describe(finding: Finding, language: Language = "pt") -> Text:
    """The finding in words."""
    words, fault = _TEXTS[language]["words"], _TEXTS[language][finding.fault]
    crossed = ", ".join(
        words["gets"].format(element=PHASE_NAMES[k], phase=PHASE_NAMES[finding.currents[k]])
        for k in PHASES
        if finding.currents[k] != k
    )
    turned = [k for k in PHASES if finding.reversed_[k]]
    turned_text = words["turned"].format(phases=_listed(turned, language)) if turned else ""
    total = words["total_sign" if finding.phases else "total"]
    filled = {
        "phases": _listed(finding.phases, language),
        "crossed": crossed,
        "turned": (", " if crossed and turned_text else "") + turned_text,
        "number": _number(finding.number, language),
    }
    filled["total"] = total.format(**filled)
    return Text(
        fault["title"].format(**filled),
        _seen(finding, language),
        fault["action"].format(**filled),
        _TEXTS[language]["confidence"][finding.confidence.name.lower()],
    )


def _listed(phases: tuple[int, ...] | list[int], language: Language) -> str:
    names = [PHASE_NAMES[k] for k in phases]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {_TEXTS[language]['words']['and']} {names[-1]}"


def _number(value: float, language: Language) -> str:
    """At most four digits that mean something, with the comma of the language."""
    if not math.isfinite(value):
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.replace(".", ",") if language == "pt" else text


_VOLTAGE_FAULTS = {
    Fault.PHASE_MISSING, Fault.NEUTRAL_OPEN, Fault.NEUTRAL_ON_PHASE, Fault.HIGH_LEG, Fault.VOLTAGE_RATIO,
}  # fmt: skip


def _seen(finding: Finding, language: Language) -> str:
    """The numbers that the finding rests on, phase by phase."""
    reading, words = finding.reading, _TEXTS[language]["words"]

    def shown(values: tuple[float, float, float], unit: str) -> str:
        return " / ".join(_number(value, language) for value in values) + f" {unit}"

    parts = [shown(reading.voltage_v, "V")]
    if finding.fault in _VOLTAGE_FAULTS:
        if all(map(math.isfinite, reading.line_voltage_v)):
            parts.append(f"{words['between']} {shown(reading.line_voltage_v, 'V')}")
    else:
        parts += [shown(reading.current_a, "A"), shown(reading.active_power_w, "W")]
        if any(map(math.isfinite, reading.reactive_power_var)):
            parts.append(shown(reading.reactive_power_var, "var"))
    if finding.of > 1:
        parts.append(words["readings"].format(seen_in=finding.seen_in, of=finding.of))
    return "L1 / L2 / L3: " + "; ".join(parts)
