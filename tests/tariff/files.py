"""Tariffs for tests, with round prices; and instants by their wall clock."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from agent.localtime import Ints
from agent.tariff import Tariff, load_file

SAO_PAULO = ZoneInfo("America/Sao_Paulo")

POSTS = """
posts.peak = ["18:00", "21:00"]
energy.peak = { tusd_brl_kwh = 2.0, te_brl_kwh = 1.0 }
energy.off_peak = { tusd_brl_kwh = 0.25, te_brl_kwh = 0.25 }
"""
HEAD = 'label = "test"\nsource = "made up"\nflags = false\n'
BRANCA = f"""{HEAD}modality = "branca"
[[version]]
valid_from = 2017-01-01
{POSTS}
posts.intermediate = [["17:00", "18:00"], ["21:00", "22:00"]]
energy.intermediate = {{ tusd_brl_kwh = 1.0, te_brl_kwh = 0.5 }}
"""
VERDE = f"""{HEAD}modality = "verde"
[[version]]
valid_from = 2017-01-01
{POSTS}
demand.single_brl_kw = 20.0
reactive.energy_brl_kwh = 0.3
[[contract]]
valid_from = 2017-01-01
demand_kw = 100.0
"""
AZUL = f"""{HEAD}modality = "azul"
[[version]]
valid_from = 2017-01-01
{POSTS}
demand.peak_brl_kw = 50.0
demand.off_peak_brl_kw = 20.0
[[contract]]
valid_from = 2017-01-01
peak_demand_kw = 80.0
off_peak_demand_kw = 100.0
"""
FLAT = f"""{HEAD}modality = "convencional"
[[version]]
valid_from = 2017-01-01
energy.off_peak = {{ tusd_brl_kwh = 0.4, te_brl_kwh = 0.3 }}
"""


def tariff(text: str, folder: Path) -> Tariff:
    """The tariff that `text` describes, with the flags of `folder` if it has some."""
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return load_file(file, (folder,))


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    """Unix milliseconds of a wall clock time in Sao Paulo."""
    return round(datetime(year, month, day, hour, minute, tzinfo=SAO_PAULO).timestamp() * 1000)


def quarters(from_ms: int, to_ms: int) -> Ints:
    """The quarters of an hour from one instant to before the other."""
    return np.arange(from_ms, to_ms, 900_000, dtype=np.int64)
