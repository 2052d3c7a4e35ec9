"""Every word and number of a report in its language. The texts are in `texts/`, the same keys in each."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from pathlib import Path

from agent.reports.options import Language

FOLDER = Path(__file__).parent / "texts"
NBSP = "\u00a0"
NONE = "–"
MINUS = "−"


@lru_cache(maxsize=4)
def texts(language: Language) -> Mapping[str, str]:
    """Key and text."""
    found: dict[str, str] = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return found


class Words:
    """One language, and the zone that times are shown in."""

    def __init__(self, language: Language, zone: tzinfo) -> None:
        self.language: Language = language
        self.zone = zone
        self._texts = texts(language)

    @property
    def is_portuguese(self) -> bool:
        return self.language == "pt-BR"

    def t(self, key: str, **values: str | int) -> str:
        """The text of `key`, filled in. KeyError: there is none, which a test finds."""
        return self._texts[key].format(**values)

    def number(self, value: float, digits: int = 1, unit: str = "") -> str:
        """1.234,5 kWh or 1,234.5 kWh; a dash where it is not known."""
        if not math.isfinite(value):
            return NONE
        text = f"{value:,.{digits}f}"
        if float(text.replace(",", "")) == 0:
            text = text.lstrip("-")
        if self.is_portuguese:
            text = text.translate(str.maketrans(",.", ".,"))
        text = text.replace("-", MINUS)
        return f"{text}{NBSP}{unit}" if unit else text

    def brl(self, value: float, digits: int = 2) -> str:
        """R$ 1.234,56."""
        if not math.isfinite(value):
            return NONE
        sign = MINUS if round(value, digits) < 0 else ""
        return f"{sign}R${NBSP}{self.number(abs(value), digits)}"

    def percent(self, value: float, digits: int = 1) -> str:
        return self.number(value, digits, "%")

    def day(self, time_ms: float) -> str:
        """16/11/2026 or 2026-11-16."""
        return f"{self._at(time_ms):{'%d/%m/%Y' if self.is_portuguese else '%Y-%m-%d'}}"

    def short_day(self, time_ms: float) -> str:
        """16/11 or 11-16."""
        return f"{self._at(time_ms):{'%d/%m' if self.is_portuguese else '%m-%d'}}"

    def instant(self, time_ms: float, *, seconds: bool = False) -> str:
        """With the time of day, and its distance from UTC where that is not the zone's usual one."""
        at = self._at(time_ms)
        clock = "%H:%M:%S" if seconds else "%H:%M"
        return f"{at:{'%d/%m/%Y' if self.is_portuguese else '%Y-%m-%d'} {clock}}"

    def month(self, time_ms: float) -> str:
        """novembro de 2026."""
        at = self._at(time_ms)
        return self.t(f"month_{at.month}", year=at.year)

    def weekday(self, number: int) -> str:
        """0 is Monday."""
        return self.t(f"weekday_{number}")

    def span(self, seconds: float) -> str:
        """0,4 s; 12 min; 3 h 20 min; 2 d 4 h."""
        if not math.isfinite(seconds):
            return NONE
        if seconds < 120:
            return self.number(seconds, 0 if seconds >= 10 or seconds == round(seconds) else 1, "s")
        minutes = round(seconds / 60)
        if minutes < 120:
            return f"{minutes}{NBSP}min"
        hours, rest = divmod(minutes, 60)
        if hours < 48:
            return f"{hours}{NBSP}h {rest}{NBSP}min" if rest else f"{hours}{NBSP}h"
        days, hours = divmod(hours, 24)
        return f"{days}{NBSP}d {hours}{NBSP}h" if hours else f"{days}{NBSP}d"

    def _at(self, time_ms: float) -> datetime:
        return datetime.fromtimestamp(time_ms / 1000, self.zone)
