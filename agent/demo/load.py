"""What a small office in Brazil draws, and what a three-phase meter shows of it. Pure.

127 V between phase and neutral (220 V between phases), 60 Hz. Chance comes as `random.Random`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

PHASES = ("l1", "l2", "l3")
NOMINAL_V = 127.0
NOMINAL_HZ = 60.0
SAG_V_PER_KW = 0.35


@dataclass(frozen=True, slots=True)
class Grid:
    """The supply at one instant."""

    voltages_v: tuple[float, float, float]
    frequency_hz: float


@dataclass(frozen=True, slots=True)
class Phase:
    """The load of one phase. Lagging; `thd_pct` is its current's distortion."""

    power_w: float
    power_factor: float
    thd_pct: float = 8.0


def grid(day_s: float, loads: Sequence[Phase], random: Random) -> Grid:
    """Voltages sag in the evening and under load; the frequency wanders by hundredths."""
    evening_v = 2.0 * math.exp(-(((day_s / 3600 - 19.5) / 2.5) ** 2))
    l1, l2, l3 = (
        NOMINAL_V - evening_v - SAG_V_PER_KW * load.power_w / 1000 + random.gauss(0, 0.15) for load in loads
    )
    return Grid((l1, l2, l3), NOMINAL_HZ + random.gauss(0, 0.012))


def people(day_s: float) -> float:
    """How many are in the room at `day_s` seconds after local midnight: 4, 1 at noon, 0 at night."""
    hour = day_s / 3600
    if not 8 <= hour < 18:
        return 0.0
    return 1.0 if 12 <= hour < 13 else 4.0


def equipment_w(day_s: float) -> float:
    """Lights and computers of the room, which also warm it."""
    return 80.0 * people(day_s) + 60.0


def office(day_s: float, random: Random) -> tuple[Phase, Phase, Phase]:
    """The loads beside the air conditioner: light, computers, a refrigerator that cycles, a server."""
    room_w = equipment_w(day_s)
    refrigerator_w = 140.0 if day_s % 2400 < 900 else 4.0
    return (
        Phase(220 + room_w * 0.6 + random.gauss(0, 4), 0.93, 12.0),
        Phase(90 + room_w * 0.4 + random.gauss(0, 3), 0.90, 15.0),
        Phase(60 + refrigerator_w + random.gauss(0, 2), 0.82, 9.0),
    )


def air_conditioner(power_w: float) -> tuple[Phase, Phase, Phase]:
    """A unit for 220 V between the first two phases."""
    half = Phase(power_w / 2, 0.97 if power_w > 100 else 0.6, 11.0)
    return half, half, Phase(0.0, 1.0, 0.0)


def together(one: Sequence[Phase], other: Sequence[Phase]) -> tuple[Phase, Phase, Phase]:
    """Two loads behind one meter: active and reactive powers add up, distortions mix by power."""
    l1, l2, l3 = map(_sum, one, other)
    return l1, l2, l3


def _sum(one: Phase, other: Phase) -> Phase:
    power_w = one.power_w + other.power_w
    apparent_va = math.hypot(power_w, _reactive_var(one) + _reactive_var(other))
    if not apparent_va:
        return Phase(0.0, 1.0, 0.0)
    thd_pct = (one.thd_pct * one.power_w + other.thd_pct * other.power_w) / power_w
    return Phase(power_w, power_w / apparent_va, thd_pct)


def _reactive_var(phase: Phase) -> float:
    return phase.power_w * math.tan(math.acos(phase.power_factor))


def meter_values(supply: Grid, loads: Sequence[Phase]) -> dict[str, float]:
    """What a meter on these loads shows, by the point names of the profiles, at a meter's resolution."""
    values = {"frequency": round(supply.frequency_hz, 3)}
    for name, voltage_v, load in zip(PHASES, supply.voltages_v, loads, strict=True):
        apparent_va = load.power_w / load.power_factor
        values[f"voltage_{name}"] = round(voltage_v, 2)
        values[f"current_{name}"] = round(apparent_va / voltage_v, 3)
        values[f"active_power_{name}"] = round(load.power_w, 1)
        values[f"apparent_power_{name}"] = round(apparent_va, 1)
        values[f"reactive_power_{name}"] = round(_reactive_var(load), 1)
        values[f"power_factor_{name}"] = round(load.power_factor, 3)
        values[f"thd_current_{name}"] = round(load.thd_pct, 2)
        values[f"thd_voltage_{name}"] = round(1.6 + load.thd_pct * load.power_w / 20_000, 2)
    for quantity in ("active_power", "reactive_power"):
        values[quantity] = round(sum(values[f"{quantity}_{name}"] for name in PHASES), 1)
    apparent_va = math.hypot(values["active_power"], values["reactive_power"])
    values["apparent_power"] = round(apparent_va, 1)
    values["power_factor"] = round(values["active_power"] / apparent_va, 3) if apparent_va else 1.0
    values["voltage_unbalance"] = round(_unbalance_pct(supply.voltages_v), 2)
    return values


def _unbalance_pct(voltages_v: Sequence[float]) -> float:
    mean_v = sum(voltages_v) / len(voltages_v)
    return 100 * max(abs(each - mean_v) for each in voltages_v) / mean_v
