"""An honest test building: many rooms side by side in numpy, built otherwise than the learner's model.

Rules: the learner knows one temperature and two memories of it; here are air, furniture, two layers of
wall and two lagging sensors, moisture, a unit with its own thermostat, dead band, rests, run-up losses and
part-load efficiency. The linear part is stepped exactly (matrix exponential). `count` copies of one room
live the same days under different commands: a search over schedules is one run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.control.weather import (
    CLIMATES,
    STEP_S,
    Climate,
    Floats,
    Gains,
    Use,
    Weather,
    gains,
    weather,
)

AIR, FURNITURE, INNER, OUTER, UNIT_SENSOR, ROOM_SENSOR = range(6)
WATER_J_PER_G = 2450.0


@dataclass(frozen=True, slots=True)
class Shell:
    """Capacities in J/K, conductances in W/K. `next_door_c`: the corridor behind the inner walls."""

    air_j_k: float = 180e3
    furniture_j_k: float = 900e3
    inner_j_k: float = 3e6
    outer_j_k: float = 7e6
    air_furniture_w_k: float = 150.0
    air_inner_w_k: float = 160.0
    inner_outer_w_k: float = 110.0
    outer_outdoor_w_k: float = 90.0
    air_outdoor_w_k: float = 25.0
    next_door_w_k: float = 15.0
    next_door_c: float = 26.0
    window_m2: float = 3.0
    window_gain: float = 0.45
    facade_m2: float = 10.0
    facade_deg: float = 270.0
    air_kg: float = 75.0
    air_changes_per_h: float = 0.6
    sensor_lag_s: float = 240.0


@dataclass(frozen=True, slots=True)
class Machine:
    """A split unit: capacity and COP at 35 °C and full load; `bias_k`: what its sensor reads too much."""

    inverter: bool = True
    capacity_w: float = 3500.0
    cop: float = 3.1
    dead_band_k: float = 0.5
    band_k: float = 1.5
    load_min: float = 0.25
    part_load: float = 0.35
    run_up_s: float = 90.0
    rest_s: float = 180.0
    fan_w: float = 35.0
    standby_w: float = 3.0
    bias_k: float = 0.3
    lag_s: float = 90.0

    @property
    def rated_w(self) -> float:
        return self.capacity_w / self.cop + self.fan_w


@dataclass(frozen=True, slots=True)
class Case:
    """One room to be judged on: what it is, where it is, how it is used, what is asked of it."""

    name: str
    shell: Shell = Shell()
    machine: Machine = Machine()
    climate: Climate = CLIMATES["sao-paulo"]
    use: Use = field(default_factory=Use)
    band_c: tuple[float, float] = (20.5, 25.0)
    grid_k: float = 1.0
    power_meter: bool = True
    sun_sensor: bool = False
    seed: int = 1


@dataclass(slots=True)
class Totals:
    """Of each copy, since the last reset: Wh, R$, K.h outside the band while occupied, starts."""

    energy_wh: Floats
    cost: Floats
    discomfort_kh: Floats
    starts: Floats
    peak_w: Floats

    @classmethod
    def none(cls, count: int) -> Totals:
        return cls(*(np.zeros(count) for _ in range(5)))


@dataclass
class Building:
    """`count` copies of a room, at step 0 of its days.

    `price`: R$/kWh for each step of them, or nothing for a flat one.
    """

    case: Case
    days: int
    count: int = 1
    price: Floats = field(default_factory=lambda: np.empty(0))
    step_at: int = 0
    weather: Weather = field(init=False)
    gains: Gains = field(init=False)

    def __post_init__(self) -> None:
        case = self.case
        self.weather = weather(case.climate, self.days, case.seed, case.shell.facade_deg)
        self.gains = gains(case.use, self.days, case.seed)
        self._hold, self._push = _stepping(case.shell, case.machine)
        start = np.array([0.0, -0.3, -0.5, 0.0, 0.0, 0.0]) + case.climate.mean_c + 1.0
        self.nodes = np.tile(start, (self.count, 1))
        self.water = np.full(self.count, case.climate.moisture_g_kg)
        self.load, self.since_s = np.zeros(self.count), np.full(self.count, 3600.0)
        self.power_w = np.zeros(self.count)
        self.totals = Totals.none(self.count)
        self._noise = np.random.default_rng((case.seed, 3))
        self._prepare()

    def _prepare(self) -> None:
        """What acts from outside on every step, once: W into each node, and the unit's derating."""
        shell, sky, live = self.case.shell, self.weather, self.gains
        count = len(sky.outdoor_c)
        sun_w = shell.window_m2 * shell.window_gain * sky.facade_w_m2
        heat = np.zeros((count, 6))
        heat[:, AIR] = shell.air_outdoor_w_k * sky.outdoor_c + 0.2 * sun_w
        heat[:, AIR] += 0.6 * 75 * live.people + 0.6 * live.equipment_w
        heat[:, FURNITURE] = 0.5 * sun_w + 0.4 * (75 * live.people + live.equipment_w)
        heat[:, INNER] = 0.3 * sun_w + shell.next_door_w_k * shell.next_door_c
        heat[:, OUTER] = shell.outer_outdoor_w_k * sky.outdoor_c + 0.5 * shell.facade_m2 * sky.facade_w_m2
        self._outside_k = heat @ self._push.T
        self._derating = np.clip(1 - 0.008 * (sky.outdoor_c - 35), 0.6, 1.15)
        self._cop = self.case.machine.cop * np.clip(1 - 0.022 * (sky.outdoor_c - 35), 0.55, 1.5)
        if not len(self.price):
            self.price = np.full(count, 0.85)

    def step(self, on: NDArray[np.bool_], setpoint_c: Floats) -> None:
        """One step of `STEP_S` under these commands, one per copy."""
        at, machine = self.step_at, self.case.machine
        self._thermostat(on, setpoint_c)
        rated_w = machine.capacity_w * self._derating[at]
        moved_w = self.load * rated_w
        running = self.load > 0
        drawn_w = moved_w / (self._cop[at] * (1 + machine.part_load * (1 - self.load) * machine.inverter))
        if not machine.inverter:
            moved_w = moved_w * (1 - 0.85 * np.exp(-self.since_s / machine.run_up_s))
        self.power_w = np.where(running, drawn_w, 0.0) + np.where(on, machine.fan_w, machine.standby_w)
        latent_w = moved_w * np.clip((self.water - 8.2) / 12, 0.0, 0.35)
        self.nodes = self.nodes @ self._hold.T + self._outside_k[at]
        self.nodes -= np.outer(moved_w - latent_w, self._push[:, AIR])
        self._moisten(latent_w, at)
        self._count(at)
        self.step_at += 1

    def _thermostat(self, on: NDArray[np.bool_], setpoint_c: Floats) -> None:
        machine = self.case.machine
        wish = self.nodes[:, UNIT_SENSOR] + machine.bias_k - setpoint_c
        was, rested = self.load > 0, self.since_s >= machine.rest_s
        runs = on & np.where(
            was, (wish > -machine.dead_band_k) | ~rested, (wish > machine.dead_band_k) & rested
        )
        wanted = np.clip((wish + machine.dead_band_k) / machine.band_k, machine.load_min, 1.0)
        self.load = np.where(runs, wanted if machine.inverter else 1.0, 0.0)
        self.since_s = np.where(runs == was, self.since_s + STEP_S, 0.0)
        self.totals.starts += runs & ~was

    def _moisten(self, latent_w: Floats, at: int) -> None:
        shell = self.case.shell
        aired = shell.air_changes_per_h / 3600 * (self.weather.moisture_g_kg[at] - self.water)
        breathed = 55 / 3600 * self.gains.people[at] / shell.air_kg
        # Furniture and paper take up and give back water: the air of a room is slower than its litres say.
        self.water += (aired + breathed - latent_w / WATER_J_PER_G / shell.air_kg) * STEP_S / 3

    def _count(self, at: int) -> None:
        wh = self.power_w * STEP_S / 3600
        self.totals.energy_wh += wh
        self.totals.cost += wh / 1000 * self.price[at]
        if self.gains.occupied[at]:
            low, high = self.case.band_c
            air = self.nodes[:, AIR]
            outside = np.maximum(air - high, 0.0) + np.maximum(low - air, 0.0)
            self.totals.discomfort_kh += outside * STEP_S / 3600

    def seen_c(self) -> float:
        """What the sensor on the wall of the first copy says now, noise and resolution included."""
        return round(float(self.nodes[0, ROOM_SENSOR] + self._noise.normal(0, 0.04)), 2)

    def humidity_pct(self) -> float:
        """Relative humidity in the first copy (Magnus formula)."""
        air = float(self.nodes[0, AIR])
        vapour_pa = 101_325 * float(self.water[0]) / (622 + float(self.water[0]))
        saturated_pa = 611.2 * float(np.exp(17.62 * air / (243.12 + air)))
        return min(100 * vapour_pa / saturated_pa, 100.0)


def _stepping(shell: Shell, machine: Machine) -> tuple[Floats, Floats]:
    """Exact discretisation over one step: `x' = hold x + push heat_w`, heat held during the step."""
    rates = np.zeros((6, 6))
    gain = np.zeros((6, 6))
    capacity = (shell.air_j_k, shell.furniture_j_k, shell.inner_j_k, shell.outer_j_k)
    links = (
        (AIR, FURNITURE, shell.air_furniture_w_k),
        (AIR, INNER, shell.air_inner_w_k),
        (INNER, OUTER, shell.inner_outer_w_k),
    )
    for one, other, w_k in links:
        for here, there in ((one, other), (other, one)):
            rates[here, there] += w_k / capacity[here]
            rates[here, here] -= w_k / capacity[here]
    for node, w_k in (
        (AIR, shell.air_outdoor_w_k),
        (OUTER, shell.outer_outdoor_w_k),
        (INNER, shell.next_door_w_k),
    ):
        rates[node, node] -= w_k / capacity[node]
    for node in range(4):
        gain[node, node] = 1 / capacity[node]
    for node, lag_s in ((UNIT_SENSOR, machine.lag_s), (ROOM_SENSOR, shell.sensor_lag_s)):
        rates[node, AIR] += 1 / lag_s
        rates[node, node] -= 1 / lag_s
    both = np.zeros((12, 12))
    both[:6, :6], both[:6, 6:] = rates * STEP_S, gain * STEP_S
    whole = _exponential(both)
    return whole[:6, :6], whole[:6, 6:]


def _exponential(matrix: Floats) -> Floats:
    """exp(matrix) by scaling and squaring with a Taylor series; norms here are far below 2**10."""
    scaled = matrix / 1024
    term = total = np.eye(len(matrix))
    for order in range(1, 10):
        term = term @ scaled / order
        total = total + term
    for _ in range(10):
        total = total @ total
    return total
