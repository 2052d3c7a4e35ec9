"""The room of the demo: physics that holds, whatever the numbers."""

import itertools

import pytest

from agent.control.plant import (
    AirConditioner,
    Inputs,
    Mode,
    Plant,
    State,
    humidity_pct,
    moisture_g_kg,
    outdoor_c,
    sun_on_west_w_m2,
)

HOUR_S = 3600.0
HOT = State(air_c=30.0, walls_c=30.0)


def run(plant: Plant, state: State, inputs: Inputs, hours: float, dt_s: float = 10.0) -> list[State]:
    states = [state]
    for _ in range(round(hours * HOUR_S / dt_s)):
        states.append(plant.step(states[-1], inputs, dt_s))
    return states


@pytest.mark.parametrize("inverter", [True, False])
def test_cools_to_the_setpoint_when_on(inverter: bool) -> None:
    plant = Plant(unit=AirConditioner(inverter=inverter))
    states = run(plant, HOT, Inputs(outdoor_c=32, people=4, mode=Mode.COOL, setpoint_c=23), hours=6)
    assert all(22 <= state.air_c <= 24.5 for state in states[-360:])
    assert states[60].air_c < states[0].air_c - 1


def test_heats_when_told_to() -> None:
    cold = State(air_c=12.0, walls_c=12.0)
    states = run(Plant(), cold, Inputs(outdoor_c=8, mode=Mode.HEAT, setpoint_c=21), hours=12)
    assert states[-1].air_c == pytest.approx(21, abs=1.5)


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.FAN])
def test_drifts_to_outdoors_when_not_cooling(mode: Mode) -> None:
    states = run(Plant(), State(air_c=20, walls_c=20), Inputs(outdoor_c=32, mode=mode), 24 * 14, dt_s=300)
    assert states[-1].air_c == pytest.approx(32, abs=0.2)
    assert states[-1].walls_c == pytest.approx(32, abs=0.2)
    assert all(b.air_c >= a.air_c - 1e-9 for a, b in itertools.pairwise(states))


def test_energy_balance() -> None:
    """What flows in over an hour is what the two masses have gained."""
    plant, room = Plant(), Plant().room
    inputs = Inputs(outdoor_c=33, sun_w_m2=400, people=3, equipment_w=300, mode=Mode.COOL, setpoint_c=23)
    states = run(plant, HOT, inputs, hours=1)
    flowed_j = 0.0
    for before, after in itertools.pairwise(states):
        flows = plant.flows(
            State(before.air_c, before.walls_c, before.moisture_g_kg, load=after.load), inputs
        )
        flowed_j += (flows.into_air_w + flows.into_walls_w) * 10
    gained_j = (states[-1].air_c - 30) * room.air_j_k + (states[-1].walls_c - 30) * room.walls_j_k
    assert gained_j == pytest.approx(flowed_j, rel=1e-9)
    assert gained_j < 0


def test_steady_state_is_where_the_flows_cancel() -> None:
    room = Plant().room
    inputs = Inputs(outdoor_c=25, people=2, equipment_w=100)
    state = run(Plant(), State(air_c=25, walls_c=25), inputs, hours=24 * 20, dt_s=600)[-1]
    through_walls_w_k = 1 / (1 / room.air_to_walls_w_k + 1 / room.walls_to_outdoor_w_k)
    expected_k = (2 * room.person_w + 100) / (room.air_to_outdoor_w_k + through_walls_w_k)
    assert state.air_c == pytest.approx(25 + expected_k, abs=0.05)


def test_fixed_speed_cycles_and_respects_its_rests() -> None:
    unit = AirConditioner(inverter=False)
    inputs = Inputs(outdoor_c=30, mode=Mode.COOL, setpoint_c=23)
    loads = [state.load for state in run(Plant(unit=unit), HOT, inputs, hours=12)][1:]
    assert set(loads) == {0.0, 1.0}
    lengths_s = [len(list(same)) * 10 for _, same in itertools.groupby(loads)]
    assert len(lengths_s) > 8
    assert min(lengths_s[1:-1]) >= min(unit.on_s_min, unit.off_s_min)


def test_inverter_modulates() -> None:
    states = run(Plant(), HOT, Inputs(outdoor_c=33, people=4, mode=Mode.COOL, setpoint_c=23), hours=6)
    assert states[1].load == 1.0
    assert 0.25 < states[-1].load < 1.0


def test_power_follows_load_and_outdoor_temperature() -> None:
    unit = AirConditioner()
    mild, hot = Inputs(outdoor_c=25, mode=Mode.COOL), Inputs(outdoor_c=38, mode=Mode.COOL)
    assert unit.power_w(1.0, Inputs(outdoor_c=35, mode=Mode.COOL)) == pytest.approx(3500 / 3.2 + unit.fan_w)
    assert unit.power_w(0.5, hot) < unit.power_w(1.0, hot)
    cop = {inputs: -unit.heat_w(1.0, inputs) / unit.power_w(1.0, inputs) for inputs in (mild, hot)}
    assert cop[mild] > cop[hot]
    assert unit.power_w(0.0, mild) == unit.fan_w
    assert unit.power_w(0.0, Inputs(outdoor_c=25)) == unit.standby_w


def test_same_inputs_same_states() -> None:
    inputs = Inputs(outdoor_c=31, sun_w_m2=300, people=2, mode=Mode.COOL)
    assert run(Plant(), HOT, inputs, hours=2) == run(Plant(), HOT, inputs, hours=2)


def test_long_steps_agree_with_short_ones() -> None:
    inputs = Inputs(outdoor_c=31, sun_w_m2=300, people=2)
    short = run(Plant(), HOT, inputs, hours=2, dt_s=1)[-1]
    long = run(Plant(), HOT, inputs, hours=2, dt_s=600)[-1]
    assert long.air_c == pytest.approx(short.air_c, abs=0.02)


def test_people_bring_water_and_carbon_dioxide_and_cooling_dries() -> None:
    crowd = run(Plant(), State(air_c=26, walls_c=26), Inputs(outdoor_c=26, people=4), hours=2)[-1]
    assert crowd.co2_ppm > 1500
    assert crowd.moisture_g_kg > 12
    inputs = Inputs(outdoor_c=30, people=1, mode=Mode.COOL, setpoint_c=22)
    assert run(Plant(), State(air_c=30, walls_c=30, moisture_g_kg=16), inputs, 2)[-1].moisture_g_kg < 14
    assert all(0 < state.humidity_pct <= 100 for state in run(Plant(), HOT, inputs, 2))


def test_humid_air() -> None:
    assert moisture_g_kg(25, 50) == pytest.approx(9.9, abs=0.2)
    assert humidity_pct(25, moisture_g_kg(25, 61)) == pytest.approx(61)


def test_a_day() -> None:
    assert outdoor_c(15 * HOUR_S) == 32
    assert outdoor_c(3 * HOUR_S) == 22
    assert sun_on_west_w_m2(9 * HOUR_S) == 0
    assert sun_on_west_w_m2(15.25 * HOUR_S) == pytest.approx(550)
    assert sun_on_west_w_m2(20 * HOUR_S) == 0
