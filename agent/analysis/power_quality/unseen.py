"""What polled readings cannot show, in words that every report prints (Portuguese and English)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Sentence(NamedTuple):
    """One thing said in both languages."""

    pt: str
    en: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What was measured, and how. `period_s`: between two readings of the voltage."""

    period_s: float
    has_event_register: bool = False
    has_harmonics: bool = False
    has_thd: bool = False
    has_line_voltages: bool = False
    has_voltage_angles: bool = False
    phases: int = 3


def unseen(sight: Sight) -> tuple[Sentence, ...]:
    """The sentences that hold for `sight`, the one that always holds first."""
    said = [
        Sentence(
            "Medição indicativa: um medidor de energia lido periodicamente não é um instrumento classe A ou "
            "S da IEC 61000-4-30 e não vale como medição oficial.",
            "Indicative: an energy meter that is polled is no class A or S instrument of IEC 61000-4-30, and "
            "this is no legal measurement.",
        )
    ]
    if not sight.has_event_register:
        said += _polled(sight.period_s)
    said += _distortion(sight) + _unbalance(sight)
    said.append(
        Sentence(
            "Flutuação de tensão (cintilação, Pst) e transitórios não são medidos.",
            "Voltage fluctuation (flicker, Pst) and transients are not measured.",
        )
    )
    return tuple(said)


def _polled(period_s: float) -> list[Sentence]:
    period = f"{period_s:g}"
    return [
        Sentence(
            f"Variações de tensão mais curtas que {period} s só são vistas por acaso; nenhuma duração é "
            f"conhecida melhor que ±{period} s. A ausência de eventos não prova que não houve.",
            f"Voltage events shorter than {period} s are seen by chance only; no duration is known better "
            f"than ±{period} s. That none is listed does not prove that there was none.",
        ),
        Sentence(
            "Um medidor alimentado pela própria rede se cala durante uma interrupção: ela aparece como falta "
            "de leituras, não como evento.",
            "A meter that lives on the network it measures falls silent in an interruption: that shows as "
            "missing readings, not as an event.",
        ),
    ]


def _distortion(sight: Sight) -> list[Sentence]:
    if sight.has_harmonics:
        return []
    if sight.has_thd:
        return [
            Sentence(
                "O medidor só dá a distorção total: DTTp, DTTi e DTT3 não podem ser calculados.",
                "The meter gives total distortion only: DTTp, DTTi and DTT3 cannot be computed.",
            )
        ]
    return [
        Sentence("O medidor não dá a distorção harmônica.", "The meter does not give harmonic distortion."),
    ]


def _unbalance(sight: Sight) -> list[Sentence]:
    if sight.phases < 3 or sight.has_line_voltages or sight.has_voltage_angles:
        return []
    return [
        Sentence(
            "O desequilíbrio é uma estimativa: sem tensões de linha ou ângulos, as fases são tomadas a 120°.",
            "Unbalance is an estimate: without line voltages or angles the phases are taken at 120°.",
        )
    ]
