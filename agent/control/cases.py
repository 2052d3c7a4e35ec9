"""Rooms to be judged on: six named ones, and any number drawn by seed that nobody has tuned for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.control.building import Case, Machine, Shell
from agent.control.weather import CLIMATES, Use


def shell_of(
    area_m2: float, *, heavy: float, window_m2: float, facade_deg: float, leak: float = 1.0
) -> Shell:
    """A room of that floor. `heavy`: 0.4 plasterboard, 1 brick, 2.5 concrete; `leak`: 1 is usual."""
    scale = area_m2 / 20
    root = scale**0.6
    return Shell(
        air_j_k=300e3 * scale,
        furniture_j_k=700e3 * scale,
        inner_j_k=2.6e6 * scale * heavy,
        outer_j_k=6e6 * root * heavy,
        air_furniture_w_k=160 * scale,
        air_inner_w_k=190 * scale,
        inner_outer_w_k=110 * root,
        outer_outdoor_w_k=90 * root,
        air_outdoor_w_k=(9 * window_m2 / 3 + 18 * root) * leak,
        next_door_w_k=14 * root,
        window_m2=window_m2,
        facade_m2=10 * root,
        facade_deg=facade_deg,
        air_kg=70 * scale,
        air_changes_per_h=0.6 * leak,
    )


def named_cases() -> dict[str, Case]:
    """The rooms of the published table."""
    office = Case(
        "office",
        shell_of(20, heavy=1.0, window_m2=3, facade_deg=90),
        Machine(),
        CLIMATES["sao-paulo"],
        Use(people=3, equipment_w=350),
        grid_k=0.5,
    )
    return {
        "office": office,
        "west-light": replace(
            office,
            name="west-light",
            shell=shell_of(18, heavy=0.4, window_m2=3.5, facade_deg=270, leak=1.2),
            machine=Machine(capacity_w=5200, inverter=False, cop=2.9),
            climate=CLIMATES["cuiaba"],
            grid_k=1.0,
            seed=2,
        ),
        "hall-heavy": replace(
            office,
            name="hall-heavy",
            shell=shell_of(120, heavy=2.2, window_m2=12, facade_deg=0),
            machine=Machine(capacity_w=17500, cop=3.0, bias_k=0.8),
            climate=CLIMATES["brasilia"],
            use=Use((7.5, 21.5), 6, 25, 1500, 200),
            seed=3,
        ),
        "undersized": replace(
            office,
            name="undersized",
            shell=shell_of(30, heavy=1.0, window_m2=5, facade_deg=300),
            machine=Machine(capacity_w=3000),
            climate=CLIMATES["rio"],
            use=Use(people=5, equipment_w=500),
            seed=4,
        ),
        "humid": replace(
            office,
            name="humid",
            shell=shell_of(40, heavy=0.8, window_m2=4, facade_deg=180, leak=1.6),
            machine=Machine(capacity_w=7000, inverter=False, cop=3.0, bias_k=-0.4),
            climate=CLIMATES["manaus"],
            use=Use((8, 18), 5, 8, 600, 80),
            grid_k=1.0,
            seed=5,
        ),
        "small-fixed": replace(
            office,
            name="small-fixed",
            shell=shell_of(12, heavy=1.4, window_m2=2, facade_deg=0),
            machine=Machine(capacity_w=2600, inverter=False, cop=2.8, dead_band_k=0.7),
            climate=CLIMATES["porto-alegre"],
            use=Use((9, 19), 5, 2, 200, 40),
            grid_k=1.0,
            seed=6,
        ),
    }


def drawn_case(seed: int) -> Case:
    """A room drawn by seed: size, mass, sun, unit, climate, use, band and what is measured."""
    random = np.random.default_rng((seed, 0))
    area_m2 = float(np.exp(random.uniform(np.log(10), np.log(150))))
    inverter = bool(random.random() < 0.6)
    opens = float(random.choice([7, 7.5, 8, 9, 10]))
    climate = CLIMATES[str(random.choice(sorted(CLIMATES)))]
    window_m2 = area_m2**0.5 * random.uniform(0.3, 1.3)
    return Case(
        f"drawn-{seed}",
        shell_of(
            area_m2,
            heavy=float(np.exp(random.uniform(np.log(0.35), np.log(2.5)))),
            window_m2=window_m2,
            facade_deg=random.uniform(0, 360),
            leak=random.uniform(0.7, 1.8),
        ),
        Machine(
            inverter=inverter,
            capacity_w=area_m2**0.85 * random.uniform(200, 320) + window_m2 * 150,
            cop=random.uniform(2.6, 3.6),
            dead_band_k=random.uniform(0.3, 0.8),
            bias_k=random.uniform(-0.8, 1.0),
            lag_s=random.uniform(45, 180),
        ),
        climate,
        Use(
            (opens, opens + float(random.choice([8, 9, 10, 12]))),
            int(random.choice([5, 6, 7])),
            area_m2 / random.uniform(5, 12),
            area_m2 * random.uniform(5, 20),
            area_m2 * random.uniform(1, 5),
        ),
        (20.5, float(random.choice([24.0, 24.5, 25.0, 26.0]))),
        grid_k=float(random.choice([0.5, 1.0])),
        power_meter=bool(random.random() < 0.8),
        sun_sensor=bool(random.random() < 0.4),
        seed=seed,
    )
