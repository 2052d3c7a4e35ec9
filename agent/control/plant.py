"""A small honest room and its air conditioner: what the demo lives in and control is tested on.

Rules: pure stepping, `plant.step(state, inputs, dt_s)` gives the next state; no clock, no chance and
no schedule inside, all three come with the inputs. Two thermal masses, the air (with the furniture)
and the walls; heat flows in watts, positive into the room. The air conditioner has its own thermostat,
as real ones do: whoever commands it gives a mode and a setpoint, not a compressor.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

STEP_S_MAX = 10.0
WATER_J_PER_G = 2450.0
OUTDOOR_CO2_PPM = 420.0


class Mode(enum.StrEnum):
    """What the air conditioner is told to do."""

    OFF = "off"
    FAN = "fan"
    COOL = "cool"
    HEAT = "heat"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What acts on the room during one step. `sun_w_m2` is what falls on its window."""

    outdoor_c: float
    outdoor_humidity_pct: float = 65.0
    sun_w_m2: float = 0.0
    people: float = 0.0
    equipment_w: float = 0.0
    mode: Mode = Mode.OFF
    setpoint_c: float = 23.0


@dataclass(frozen=True, slots=True)
class State:
    """The room at one instant. `load` is the compressor's, 0 (stopped) to 1, kept for `load_s` so far."""

    air_c: float
    walls_c: float
    moisture_g_kg: float = 12.0
    co2_ppm: float = OUTDOOR_CO2_PPM
    load: float = 0.0
    load_s: float = 3600.0

    @property
    def humidity_pct(self) -> float:
        return humidity_pct(self.air_c, self.moisture_g_kg)


@dataclass(frozen=True, slots=True)
class Room:
    """An office of 20 m2 with a window to the west. Capacities in J/K, conductances in W/K."""

    air_kg: float = 72.0
    air_j_k: float = 360e3
    walls_j_k: float = 6e6
    air_to_walls_w_k: float = 250.0
    walls_to_outdoor_w_k: float = 60.0
    air_to_outdoor_w_k: float = 35.0
    air_changes_per_h: float = 0.5
    window_m2: float = 4.0
    window_gain: float = 0.6
    sun_to_air: float = 0.3
    person_w: float = 75.0
    person_water_g_h: float = 55.0
    person_co2_l_h: float = 18.0


@dataclass(frozen=True, slots=True)
class AirConditioner:
    """A split unit. Capacity and COP are those at 35 °C outdoors; both fall as it gets hotter.

    It starts `dead_band_k` beyond the setpoint and stops as far on the other side, but not before it has
    run (rested) `on_s_min` (`off_s_min`). An inverter modulates down to `load_min` over `band_k`.
    """

    capacity_w: float = 3500.0
    cop: float = 3.2
    inverter: bool = True
    dead_band_k: float = 0.5
    band_k: float = 1.5
    load_min: float = 0.25
    on_s_min: float = 180.0
    off_s_min: float = 180.0
    fan_w: float = 35.0
    standby_w: float = 3.0

    def next_load(self, state: State, inputs: Inputs) -> float:
        """The thermostat: what the compressor does next."""
        if inputs.mode not in (Mode.COOL, Mode.HEAT):
            return 0.0
        wish_k = state.air_c - inputs.setpoint_c
        if inputs.mode is Mode.HEAT:
            wish_k = -wish_k
        if state.load:
            keeps = wish_k > -self.dead_band_k or state.load_s < self.on_s_min
        else:
            keeps = wish_k > self.dead_band_k and state.load_s >= self.off_s_min
        if not keeps:
            return 0.0
        wanted = (wish_k + self.dead_band_k) / self.band_k if self.inverter else 1.0
        return min(max(wanted, self.load_min), 1.0)

    def heat_w(self, load: float, inputs: Inputs) -> float:
        """Heat that it moves, latent included; positive into the room."""
        if inputs.mode is Mode.HEAT:
            return load * self.capacity_w
        derating = 1 - 0.008 * (inputs.outdoor_c - 35)
        return -load * self.capacity_w * min(max(derating, 0.6), 1.15)

    def power_w(self, load: float, inputs: Inputs) -> float:
        """Electric power drawn."""
        if inputs.mode is Mode.OFF:
            return self.standby_w
        if not load:
            return self.fan_w
        lift_k = 7 - inputs.outdoor_c if inputs.mode is Mode.HEAT else inputs.outdoor_c - 35
        cop = self.cop * min(max(1 - 0.022 * lift_k, 0.5), 1.5)
        return self.fan_w + abs(self.heat_w(load, inputs)) / cop


@dataclass(frozen=True, slots=True)
class Flows:
    """Heat in watts: into the air and the walls from outside, between the two, and taken out of vapour."""

    into_air_w: float
    into_walls_w: float
    air_to_walls_w: float
    latent_w: float


@dataclass(frozen=True, slots=True)
class Plant:
    """A room and the air conditioner on its wall."""

    room: Room = Room()
    unit: AirConditioner = AirConditioner()

    def step(self, state: State, inputs: Inputs, dt_s: float) -> State:
        """The state `dt_s` seconds later, in steps short enough for the air to follow."""
        count = max(math.ceil(dt_s / STEP_S_MAX), 1)
        for _ in range(count):
            state = self._short_step(state, inputs, dt_s / count)
        return state

    def power_w(self, state: State, inputs: Inputs) -> float:
        """What the air conditioner draws."""
        return self.unit.power_w(state.load, inputs)

    def flows(self, state: State, inputs: Inputs) -> Flows:
        """All heat flows of this instant."""
        room = self.room
        sun_w = room.window_m2 * room.window_gain * inputs.sun_w_m2
        machine_w = self.unit.heat_w(state.load, inputs)
        latent_w = -machine_w * _latent_share(state.moisture_g_kg) if machine_w < 0 else 0.0
        leak_w = room.air_to_outdoor_w_k * (inputs.outdoor_c - state.air_c)
        people_w = room.person_w * inputs.people
        return Flows(
            into_air_w=leak_w
            + sun_w * room.sun_to_air
            + people_w
            + inputs.equipment_w
            + machine_w
            + latent_w,
            into_walls_w=room.walls_to_outdoor_w_k * (inputs.outdoor_c - state.walls_c)
            + sun_w * (1 - room.sun_to_air),
            air_to_walls_w=room.air_to_walls_w_k * (state.air_c - state.walls_c),
            latent_w=latent_w,
        )

    def _short_step(self, state: State, inputs: Inputs, dt_s: float) -> State:
        load = self.unit.next_load(state, inputs)
        kept = bool(load) == bool(state.load)
        state = replace(state, load=load, load_s=state.load_s + dt_s if kept else dt_s)
        flows = self.flows(state, inputs)
        air_k = (flows.into_air_w - flows.air_to_walls_w) * dt_s / self.room.air_j_k
        walls_k = (flows.into_walls_w + flows.air_to_walls_w) * dt_s / self.room.walls_j_k
        return replace(
            state,
            air_c=state.air_c + air_k,
            walls_c=state.walls_c + walls_k,
            moisture_g_kg=self._moisture(state, inputs, flows.latent_w, dt_s),
            co2_ppm=self._co2(state, inputs, dt_s),
        )

    def _moisture(self, state: State, inputs: Inputs, latent_w: float, dt_s: float) -> float:
        room = self.room
        outdoor = moisture_g_kg(inputs.outdoor_c, inputs.outdoor_humidity_pct)
        aired = room.air_changes_per_h / 3600 * (outdoor - state.moisture_g_kg)
        breathed = room.person_water_g_h / 3600 * inputs.people / room.air_kg
        dried = latent_w / WATER_J_PER_G / room.air_kg
        moisture = state.moisture_g_kg + (aired + breathed - dried) * dt_s
        return min(max(moisture, 0.0), moisture_g_kg(state.air_c, 100.0))

    def _co2(self, state: State, inputs: Inputs, dt_s: float) -> float:
        room = self.room
        aired = room.air_changes_per_h / 3600 * (OUTDOOR_CO2_PPM - state.co2_ppm)
        room_l = room.air_kg / 1.2 * 1000
        breathed = room.person_co2_l_h / 3600 * inputs.people / room_l * 1e6
        return state.co2_ppm + (aired + breathed) * dt_s


def outdoor_c(day_s: float, mean_c: float = 27.0, swing_k: float = 5.0) -> float:
    """A day's temperature at `day_s` seconds after local midnight: warmest at 15 h, coldest at 3 h."""
    return mean_c + swing_k * math.cos((day_s / 3600 - 15) / 24 * 2 * math.pi)


def sun_on_west_w_m2(day_s: float, peak_w_m2: float = 550.0) -> float:
    """Clear-sky sun on a window to the west: none before noon, most at 15 h 15, gone at 18 h 30."""
    return peak_w_m2 * max(math.sin((day_s / 3600 - 12) / 6.5 * math.pi), 0.0) if day_s > 43200 else 0.0


def moisture_g_kg(air_c: float, humidity_pct: float) -> float:
    """Grams of water in a kilogram of air at sea level (Magnus formula)."""
    vapour_pa = humidity_pct / 100 * _saturation_pa(air_c)
    return 622 * vapour_pa / (101_325 - vapour_pa)


def humidity_pct(air_c: float, moisture_g_kg: float) -> float:
    """Relative humidity of air with that much water in it."""
    vapour_pa = 101_325 * moisture_g_kg / (622 + moisture_g_kg)
    return min(100 * vapour_pa / _saturation_pa(air_c), 100.0)


def _saturation_pa(air_c: float) -> float:
    return 611.2 * math.exp(17.62 * air_c / (243.12 + air_c))


def _latent_share(moisture_g_kg: float) -> float:
    """How much of the cooling goes into drying: none once the air is as dry as a coil at 11 °C leaves it."""
    return min(max((moisture_g_kg - 8.2) / 12, 0.0), 0.35)
