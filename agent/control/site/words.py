"""Why a unit did what it did, in words, in Portuguese and English."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from functools import cache
from importlib import resources
from typing import Any, Literal

from agent.control.site.record import Cycle

Language = Literal["pt", "en"]

_RUNGS = {
    "en": ("optimiser", "optimum start and tariff rule", "schedule", "own thermostat", "hands off"),
    "pt": (
        "otimizador",
        "partida ótima e regra de tarifa",
        "horário fixo",
        "termostato do próprio aparelho",
        "sem comando",
    ),
}


@cache
def _phrases() -> Sequence[tuple[str, str]]:
    """The reasons of the core, whole or in part, the longest first; the page is built with them too."""
    text = (resources.files(__package__) / "reasons.pt-BR.json").read_text(encoding="utf-8")
    return [(english, portuguese) for english, portuguese in json.loads(text)]


def translated(reason: str, language: Language) -> str:
    """A reason of the core in that language; a phrase without a translation stays English."""
    if language == "en":
        return reason
    for english, portuguese in _phrases():
        reason = re.sub(english, portuguese, reason)
    return _comma(reason)


def _comma(text: str) -> str:
    """Numbers as they are written in Brazil."""
    return re.sub(r"(\d)\.(\d)", r"\1,\2", text)


def explained(cycle: Cycle, room: str, zone: tzinfo, language: Language) -> list[str]:
    """The last cycle of a room, line by line."""
    seen = cycle.observed["rooms"].get(room, {})
    when = datetime.fromtimestamp(cycle.time_ms / 1000, zone)
    english = language == "en"
    head = f"{room}, {when:%Y-%m-%d %H:%M}" if english else f"{room}, {when:%d/%m/%Y %H:%M}"
    outlook = cycle.outlook.get(room)
    lines = [_seen(seen, outlook, english=english)]
    for decision in cycle.decisions:
        if decision["room"] == room:
            lines += _unit(decision, language)
    return [head, *(lines if english else map(_comma, lines))]


def _seen(seen: Mapping[str, Any], outlook: Mapping[str, Any] | None, *, english: bool) -> str:
    temp = seen.get("temperature_c")
    parts = []
    if temp is None:
        parts.append("temperature not known" if english else "temperatura desconhecida")
    else:
        age = f"{temp['age_s']:.0f} s"
        told = f"{age} ago" if english else f"há {age}"
        parts.append(f"{temp['value']:.1f} °C ({told})")
    if outlook is not None:
        here = outlook["occupied"][0]
        parts.append(("occupied" if here else "empty") if english else ("ocupada" if here else "vazia"))
    if not seen.get("commanded", True):
        parts.append("observed only: nothing is commanded" if english else "só observada: nada é comandado")
    return "  " + ", ".join(parts)


def _unit(decision: Mapping[str, Any], language: Language) -> list[str]:
    english = language == "en"
    lines = [f"  {decision['unit']}: {_wanted(decision, english=english)}"]
    reason = translated(decision["reason"], language)
    lines.append(f"    {'why' if english else 'porquê'}: {reason}")
    rung = _RUNGS[language][int(decision["rung"])]
    lines.append(f"    {'rung' if english else 'degrau'}: {int(decision['rung'])}, {rung}")
    if decision["expected_c"] is not None:
        word = "expected in a quarter of an hour" if english else "esperado em um quarto de hora"
        lines.append(f"    {word}: {decision['expected_c']:.1f} °C")
    if decision["price"] is not None:
        lines.append(f"    {'price' if english else 'preço'}: R$ {decision['price']:.2f}/kWh")
    if decision["alarm"]:
        alarm = translated(decision["alarm"], language)
        lines.append(f"    {'ALARM' if english else 'ALARME'}: {alarm}")
    return lines


def _wanted(decision: Mapping[str, Any], *, english: bool) -> str:
    if decision["on"] is None:
        return "not commanded" if english else "não comandado"
    if not decision["on"]:
        return "off" if english else "desligado"
    dry = (", dry" if english else ", desumidificar") if decision["dry"] else ""
    return f"{'on' if english else 'ligado'}, {decision['setpoint_c']:.1f} °C{dry}"
