"""The demo site: an office with a main meter, a meter on its air conditioner, and a room that reacts.

Rules: one `step` moves everything together, so the meters, the room and the air conditioner agree; the
main meter includes the air conditioner. Energies are the integral of exactly the power that the meter
shows. Commands come only as Modbus writes to the gateway, as they would on site.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from random import Random

from agent.control.plant import Inputs, Mode, Plant, State, outdoor_c, sun_on_west_w_m2
from agent.demo import load
from agent.demo.ambient import AmbientModule
from agent.demo.modbus_device import SimulatedDevice

LOCAL_S = -3 * 3600  # Brasília, no daylight saving
SETPOINTS_C = (16.0, 30.0)
AC_WRITABLE = ("on", "mode", "fan_speed", "temperature_setpoint")
# Settings by which `scan` knows an SDM630 (device-facts 1.3): floats, their high word first.
SDM_WIRING, SDM_THREE_PHASE_FOUR_WIRES = 0x000A, (0x4040, 0)
SDM_ADDRESS, SDM_ADDRESS_1 = 0x0014, (0x3F80, 0)
_MODES = {0: Mode.COOL, 1: Mode.HEAT, 2: Mode.COOL, 3: Mode.FAN, 4: Mode.COOL}


class Site:
    """The simulated devices of the demo, kept in step with one room. `time_s` is the site's Unix time."""

    def __init__(self, *, time_s: float, random: Random, plant: Plant | None = None) -> None:
        self.main_meter = SimulatedDevice("eastron-sdm630")
        self.main_meter.set_registers("holding", SDM_WIRING, SDM_THREE_PHASE_FOUR_WIRES)
        self.main_meter.set_registers("holding", SDM_ADDRESS, SDM_ADDRESS_1)
        self.hvac_meter = SimulatedDevice("schneider-pm5xxx")
        self.ac = SimulatedDevice("intesis-ac", writable=AC_WRITABLE, on_write=self._checked)
        self.time_s = time_s
        self.plant = plant or Plant()
        self._random = random
        self._main_wh, self._hvac_wh = _Counter(812_370.0), _Counter(273_120.0)
        outdoor = outdoor_c(self.day_s)
        self.state = State(air_c=outdoor, walls_c=outdoor - 0.5)
        self.ac.update({"on": 1, "mode": 4, "fan_speed": 0, "temperature_setpoint": 23.0})
        self.step(0.0)

    @property
    def day_s(self) -> float:
        """Seconds since local midnight."""
        return (self.time_s + LOCAL_S) % 86400

    def step(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass and show the result on every device."""
        self.time_s += dt_s
        inputs = self.inputs()
        self.state = self.plant.step(self.state, inputs, dt_s)
        self.ac.set("temperature", round(self.state.air_c, 1))
        unit = load.air_conditioner(self.plant.power_w(self.state, inputs))
        whole = load.together(load.office(self.day_s, self._random), unit)
        supply = load.grid(self.day_s, whole, self._random)
        _show(self.main_meter, load.meter_values(supply, whole), self._main_wh, dt_s)
        _show(self.hvac_meter, load.meter_values(supply, unit), self._hvac_wh, dt_s)

    def inputs(self) -> Inputs:
        """What acts on the room now: the time of day, and what the gateway's registers command."""
        on = self.ac.get("on") == 1
        return Inputs(
            outdoor_c=outdoor_c(self.day_s),
            sun_w_m2=sun_on_west_w_m2(self.day_s),
            people=load.people(self.day_s),
            equipment_w=load.equipment_w(self.day_s),
            mode=_MODES[int(self.ac.get("mode"))] if on else Mode.OFF,
            setpoint_c=self.ac.get("temperature_setpoint"),
        )

    def ambient_values(self) -> dict[str, float]:
        """What the module on the wall of the room measures."""
        return {
            "temperature": round(self.state.air_c + self._random.gauss(0, 0.02), 2),
            "humidity": round(self.state.humidity_pct, 1),
            "co2": round(self.state.co2_ppm),
            "battery": 3.31,
        }

    def _checked(self, point: str, value: float) -> None:
        """Refuse what the air conditioner does not know, as the gateway does."""
        low, high = SETPOINTS_C if point == "temperature_setpoint" else (0, {"on": 1}.get(point, 4))
        if not low <= value <= high:
            raise ValueError(f"{point}: expected {low} to {high}, found {value}")


class _Counter:
    """An energy that only grows."""

    def __init__(self, wh: float) -> None:
        self.active_wh = wh
        self.reactive_varh = wh * 0.4


def _show(meter: SimulatedDevice, values: dict[str, float], counter: _Counter, dt_s: float) -> None:
    """Put values on a meter, those that its profile has, and its energies after `dt_s` at this power."""
    counter.active_wh += values["active_power"] * dt_s / 3600
    counter.reactive_varh += values["reactive_power"] * dt_s / 3600
    values["energy_import"] = counter.active_wh / 1000
    values["reactive_energy_import"] = counter.reactive_varh / 1000
    meter.update({point: value for point, value in values.items() if point in meter.points})


async def run_site(
    site: Site,
    modules: Iterable[AmbientModule] = (),
    *,
    interval_s: float = 1.0,
    speed: float = 1.0,
    now_s: Callable[[], float] = time.time,
) -> None:
    """Step the site for ever, every `interval_s`, `speed` times as fast as real time.

    The ambient modules send at every step, stamped with the real time whatever the speed.
    """
    modules, loop = tuple(modules), asyncio.get_running_loop()
    due_s = last_s = loop.time()
    while True:
        elapsed_s, last_s = loop.time() - last_s, loop.time()
        site.step(elapsed_s * speed)
        for module in modules:
            module.send(site.ambient_values(), round(now_s() * 1000))
        due_s = max(due_s + interval_s, loop.time())
        await asyncio.sleep(due_s - loop.time())
