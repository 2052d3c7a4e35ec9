"""The test building: physics that holds, and the same days for everyone."""

import numpy as np
import pytest

from agent.control.building import AIR, OUTER, Building, Case, Machine, Shell
from agent.control.cases import drawn_case, named_cases
from agent.control.simulate import Fixed, run_fixed
from agent.control.weather import CLIMATES, STEPS_PER_DAY, Use, gains, weather


def settled(on: bool, setpoint_c: float, case: Case, hours: int = 12) -> Building:
    building = Building(case, 2)
    for _ in range(hours * 120):
        building.step(np.array([on]), np.array([setpoint_c]))
    return building


def test_left_alone_without_sun_people_or_neighbours_it_takes_the_temperature_outdoors() -> None:
    case = Case(
        "dark", Shell(window_m2=0, facade_m2=0, next_door_w_k=0), use=Use(people=0, equipment_w=0, base_w=0)
    )
    building = Building(case, 30)
    building.weather.outdoor_c[:] = 31.0
    building._prepare()
    for _ in range(30 * STEPS_PER_DAY):
        building.step(np.array([False]), np.array([23.0]))
    assert building.nodes[0] == pytest.approx(np.full(6, 31.0), abs=0.05)


@pytest.mark.parametrize("inverter", [True, False])
def test_the_units_thermostat_holds_around_its_set_point(inverter: bool) -> None:
    case = Case("room", machine=Machine(inverter=inverter, bias_k=0.0))
    air = settled(True, 23.0, case).nodes[0, AIR]
    assert 21.0 < air < 25.0


def test_a_sensor_that_reads_too_much_makes_the_room_colder() -> None:
    plain = settled(True, 24.0, Case("room", machine=Machine(bias_k=0.0))).nodes[0, AIR]
    biased = settled(True, 24.0, Case("room", machine=Machine(bias_k=1.0))).nodes[0, AIR]
    assert biased == pytest.approx(plain - 1.0, abs=0.4)


def test_heat_flows_from_the_walls_after_the_unit_stops() -> None:
    building = settled(True, 20.0, Case("room"))
    cold = building.nodes[0, AIR]
    assert building.nodes[0, OUTER] > cold + 1
    for _ in range(20):
        building.step(np.array([False]), np.array([20.0]))
    assert building.nodes[0, AIR] > cold + 0.5


def test_copies_live_the_same_days() -> None:
    case = named_cases()["office"]
    run = run_fixed(case, 8, [Fixed(23.0), Fixed(23.0), Fixed(25.0)], warm_days=1)
    energy = run.totals.energy_wh
    assert energy[0] == energy[1]
    assert energy[2] < energy[0]


def test_colder_earlier_and_longer_cost_more() -> None:
    plans = [Fixed(22.0, 3600), Fixed(24.0, 3600), Fixed(24.0, 600), Fixed(24.0, None)]
    cold, mild, late, always = run_fixed(named_cases()["office"], 9, plans, warm_days=2).totals.cost
    assert late < mild < cold
    assert mild < always


def test_cycling_wastes_what_a_steady_unit_does_not() -> None:
    """Fixed speed loses its run-up at each start: the same room at the same temperature costs more."""
    shells = Shell(), Machine(inverter=True, part_load=0.0, bias_k=0.0), Machine(inverter=False, bias_k=0.0)
    steady = run_fixed(Case("a", shells[0], shells[1]), 3, [Fixed(24.0)], warm_days=1)
    cycling = run_fixed(Case("b", shells[0], shells[2]), 3, [Fixed(24.0)], warm_days=1)
    assert cycling.totals.starts[0] > steady.totals.starts[0]
    assert cycling.totals.energy_wh[0] > steady.totals.energy_wh[0]


@pytest.mark.parametrize("name", sorted(CLIMATES))
def test_climates_are_those_of_warm_places(name: str) -> None:
    sky = weather(CLIMATES[name], 14, 3)
    assert 8 < sky.outdoor_c.min() < sky.outdoor_c.max() < 46
    assert sky.sun_w_m2.min() == 0
    assert 500 < sky.sun_w_m2.max() < 1200
    noon = sky.sun_w_m2.reshape(14, -1)[:, STEPS_PER_DAY // 2]
    assert noon.min() < noon.max()


def test_the_sun_is_on_the_west_in_the_afternoon() -> None:
    wall = (
        weather(CLIMATES["brasilia"], 7, 1, facade_deg=270).facade_w_m2.reshape(7, 24, -1).mean(axis=(0, 2))
    )
    assert 13 <= int(np.argmax(wall)) <= 17
    assert wall[9] < wall[15] / 2


def test_seeds_make_days() -> None:
    one, same, other = (gains(Use(), 7, seed).people for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_drawn_rooms_differ() -> None:
    cases = [drawn_case(seed) for seed in range(40)]
    assert drawn_case(7) == cases[7]
    assert {case.machine.inverter for case in cases} == {True, False}
    assert {case.grid_k for case in cases} == {0.5, 1.0}
    assert len({case.shell.air_j_k for case in cases}) == 40
