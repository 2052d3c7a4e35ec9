"""Weather and people for test buildings: seeded, Brazilian in kind, no record of any real place.

Rules: everything is drawn from one seed at once, so a building stepped twice lives the same days; arrays
have one value per `STEP_S`, from local midnight of day 0, a Monday, on. Nothing here is known to the learner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP_S = 30
STEPS_PER_DAY = 86400 // STEP_S
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Climate:
    """`swing_k`: from the mean to a clear afternoon. `spell_k`: how much days differ (cold fronts).

    `cloud`: mean share of the sky, 0 to 1. `latitude_deg`: negative in the south. `day`: of the year.
    """

    mean_c: float = 25.0
    swing_k: float = 5.0
    spell_k: float = 1.8
    moisture_g_kg: float = 13.0
    cloud: float = 0.4
    latitude_deg: float = -23.5
    day: int = 20


CLIMATES = {
    "manaus": Climate(28.0, 4.0, 0.8, 19.0, 0.55, -3.1, 270),
    "recife": Climate(27.5, 3.0, 0.6, 17.5, 0.4, -8.0, 20),
    "brasilia": Climate(24.0, 6.0, 1.2, 9.5, 0.3, -15.8, 265),
    "rio": Climate(28.0, 4.5, 2.0, 16.5, 0.4, -22.9, 30),
    "sao-paulo": Climate(24.0, 5.5, 2.4, 13.0, 0.5, -23.5, 40),
    "cuiaba": Climate(29.0, 7.0, 1.8, 13.0, 0.3, -15.6, 280),
    "porto-alegre": Climate(27.0, 6.0, 2.0, 14.0, 0.4, -30.0, 25),
}


@dataclass(frozen=True, slots=True)
class Weather:
    """Arrays of one value per step: air °C, water g/kg, sun on the ground and on each wall W/m2."""

    outdoor_c: Floats
    moisture_g_kg: Floats
    sun_w_m2: Floats
    facade_w_m2: Floats


def weather(climate: Climate, days: int, seed: int, facade_deg: float = 270.0) -> Weather:
    """Days of weather; `facade_deg`: where the window looks, 0 north, 90 east, 270 west."""
    random = np.random.default_rng((seed, 1))
    count = days * STEPS_PER_DAY
    hour = (np.arange(count) * STEP_S / 3600) % 24
    clear = _smooth(_walk(random, days * 24, 0.85, 0.30), count)
    cloud = np.clip(climate.cloud + clear + _smooth(_walk(random, days, 0.5, 0.15), count), 0.0, 1.0)
    spell = _smooth(_walk(random, days + 1, 0.7, climate.spell_k), count)
    swing = climate.swing_k * (1.25 - 0.7 * _slow(cloud))
    shape = np.cos((hour - 15) / 24 * 2 * np.pi) + 0.25 * np.cos((hour - 14) / 12 * 2 * np.pi)
    outdoor = climate.mean_c + spell + swing * shape + _smooth(_walk(random, days * 24, 0.6, 0.25), count)
    moisture = climate.moisture_g_kg * np.exp(_smooth(_walk(random, days * 4, 0.9, 0.08), count))
    ground, wall = _sun(climate, hour, np.arange(count) // STEPS_PER_DAY, math.radians(facade_deg))
    through = 1 - 0.75 * cloud**2
    diffuse = 0.12 * ground * (1 + cloud)
    return Weather(outdoor, moisture, ground * through, wall * through**2 + diffuse)


def _sun(climate: Climate, hour: Floats, day: Any, facade: float) -> tuple[Floats, Floats]:
    """Clear-sky sun on the ground and direct sun on a wall, W/m2 (air-mass attenuation of Meinel)."""
    latitude = math.radians(climate.latitude_deg)
    tilt = np.radians(-23.45 * np.cos(2 * np.pi * (climate.day + day + 10) / 365))
    angle = np.radians(15 * (hour - 12))
    up = np.sin(latitude) * np.sin(tilt) + np.cos(latitude) * np.cos(tilt) * np.cos(angle)
    up = np.maximum(up, 0.0)
    north = np.cos(latitude) * np.sin(tilt) - np.sin(latitude) * np.cos(tilt) * np.cos(angle)
    east = -np.cos(tilt) * np.sin(angle)
    beam = np.where(up > 0.02, 1353 * 0.7 ** ((1 / np.maximum(up, 0.02)) ** 0.678), 0.0)
    on_wall = np.maximum(north * math.cos(facade) + east * math.sin(facade), 0.0)
    return np.asarray(beam * up * 1.1), np.asarray(beam * on_wall)


def _walk(random: np.random.Generator, count: int, keep: float, spread: float) -> Floats:
    """A first-order random walk around zero with standard deviation `spread`."""
    noise = random.normal(0, spread * math.sqrt(1 - keep * keep), count + 2)
    walk = np.empty(count + 2)
    walk[0] = random.normal(0, spread)
    for at in range(1, count + 2):
        walk[at] = keep * walk[at - 1] + noise[at]
    return walk


def _smooth(coarse: Floats, count: int) -> Floats:
    """Stretched over `count` steps."""
    return np.interp(np.linspace(0, len(coarse) - 1, count), np.arange(len(coarse)), coarse)


def _slow(values: Floats) -> Any:
    """The mean of each day, blended from day to day."""
    daily = values.reshape(-1, STEPS_PER_DAY).mean(axis=1)
    at = np.arange(len(values)) / STEPS_PER_DAY - 0.5
    return np.interp(at, np.arange(len(daily)), daily)


@dataclass(frozen=True, slots=True)
class Use:
    """How a room is used: hours of working days, people, machines. `open_h` is what the calendar says."""

    open_h: tuple[float, float] = (8.0, 18.0)
    workdays: int = 5
    people: float = 4.0
    equipment_w: float = 400.0
    base_w: float = 60.0


@dataclass(frozen=True, slots=True)
class Gains:
    """Arrays of one value per step: people in the room, watts of machines, 1 while it is open."""

    people: Floats
    equipment_w: Floats
    occupied: NDArray[np.bool_]


def gains(use: Use, days: int, seed: int) -> Gains:
    """People come a little early or late, go to lunch, and some days fewer come."""
    random = np.random.default_rng((seed, 2))
    hour = (np.arange(STEPS_PER_DAY) * STEP_S) / 3600
    present, occupied = [], []
    opens, closes = use.open_h
    for day in range(days):
        works = day % 7 < use.workdays
        share = random.uniform(0.6, 1.1) if works else 0.0
        first, last = opens + random.uniform(-0.4, 0.2), closes + random.uniform(-0.3, 0.2)
        there = np.clip(np.minimum((hour - first) / 0.5, (last - hour) / 0.4), 0, 1) * share
        lunch = (hour > 12 + random.uniform(-0.2, 0.2)) & (hour < 13 + random.uniform(-0.2, 0.2))
        present.append(np.where(lunch, 0.4 * there, there))
        occupied.append((hour >= opens) & (hour < closes) & works)
    here = np.concatenate(present)
    wander = _smooth(_walk(random, days * 24, 0.7, 0.08), len(here))
    return Gains(
        people=use.people * here,
        equipment_w=use.base_w + use.equipment_w * np.clip(here * (1 + wander), 0, None),
        occupied=np.concatenate(occupied),
    )
