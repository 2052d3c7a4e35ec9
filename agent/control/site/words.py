"""Why a unit did what it did, in words, in Portuguese and English."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
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

# The reasons of the core and the gate's verdicts, whole or in part, the longest first.
_PHRASES: Sequence[tuple[str, str]] = (
    (r"the unit alone will not be enough later", "o aparelho sozinho não dará conta mais tarde"),
    (r"dear hours follow", "vêm horas caras"),
    (r"demand is dear", "a demanda é cara"),
    (r"stores cold before the peak", "armazena frio antes da ponta"),
    (r"occupied, never off", "ocupada, nunca desligado"),
    (r"nobody comes today", "ninguém vem hoje"),
    (r"empty and nothing to prepare", "vazia e nada a preparar"),
    (r"this room has a hard ceiling", "esta sala tem um teto rígido"),
    (r"the unit's own thermostat", "o termostato do próprio aparelho"),
    (r"hot room: forced cooling", "sala quente: resfriamento forçado"),
    (r"damp, no coasting", "úmida, sem desligar"),
    (r"hard ceiling", "teto rígido"),
    (r"no model accepted yet", "nenhum modelo aceito ainda"),
    (r"the last nights' model did not pass the gate", "o modelo das últimas noites não passou na prova"),
    (
        r"as warm as it may be while nobody is there",
        "tão quente quanto pode ficar enquanto não há ninguém",
    ),
    (r"the solver was late twice", "o otimizador atrasou duas vezes"),
    (r"a unit does not obey, told three times", "um aparelho não obedece, avisado três vezes"),
    (r"does not obey, told three times", "não obedece, avisado três vezes"),
    (r"the clock is not trusted", "o relógio não é confiável"),
    (r"no reading of the room", "sem leitura da sala"),
    (r"a reading of (\S+) °C is not plausible", r"uma leitura de \1 °C não é plausível"),
    (r"the room's last reading is (\S+) min old", r"a última leitura da sala tem \1 min"),
    (
        r"the room's reading stands still at (\S+) °C while the unit switches",
        r"a leitura da sala está parada em \1 °C enquanto o aparelho liga e desliga",
    ),
    (
        r"four hours ahead (\S+) K, staying as it is (\S+) K",
        r"a quatro horas erra \1 K; supor tudo igual, \2 K",
    ),
    (r"(\S+) days recorded, (\S+) needed", r"\1 dias registrados, são precisos \2"),
    (
        r"(\S+) gapless stretches of four hours, (\S+) needed",
        r"\1 trechos de quatro horas sem falhas, são precisos \2",
    ),
    (r"it has ended, see its traceback above", "terminou, veja o erro no registro"),
    (r"no answer in (\S+) s", r"sem resposta em \1 s"),
    (r"waits for its next start", "espera o próximo início"),
    (r"it wants nothing", "não quer nada"),
    (r"it has no pipes", "não tem entrada nem saída"),
    (r"set by hand", "comandado à mão"),
    (r"hands off", "sem comando"),
    (r"starts (\S+) min ahead at (\S+) K/h", r"parte \1 min antes, a \2 K/h"),
    (r"(\S+) min to go, (\S+) needed", r"faltam \1 min, precisa de \2"),
    (r"(on|off) for (\S+) s more at least", r"ainda \2 s no estado atual"),
    (r"(\d+) starts in the last hour", r"\1 partidas na última hora"),
    (r"another unit has just started", "outro aparelho acabou de partir"),
    (r"power has just returned", "a energia acabou de voltar"),
    (r"own controller", "controlador próprio"),
    (r"start rule", "regra de partida"),
    (r"schedule: empty, with a limit", "horário fixo: vazia, com um limite"),
    (r"schedule: empty", "horário fixo: vazia"),
    (r"schedule:", "horário fixo:"),
    (r"plan:", "plano:"),
    (r"is next", "é o próximo"),
    (r"occupied", "ocupada"),
    (r"all is well", "tudo bem"),
    (r"new here", "recém-chegado"),
    (r"waits:", "espera:"),
)


def translated(reason: str, language: Language) -> str:
    """A reason of the core in that language; a phrase without a translation stays English."""
    if language == "en":
        return reason
    for english, portuguese in _PHRASES:
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
