"""Which points of a device say what."""

from __future__ import annotations

import pytest

from agent.analysis.meters import Meter, Quantity, meters
from agent.drivers import DRIVERS
from agent.drivers.profile import find
from agent.model import Device, Group, Kind, Point
from agent.schema import load_toml, read


def of(*points: Point, name: str = "m") -> dict[str, Meter]:
    return meters([Group(Device(name, "test"), "g", points, 1000)])


def test_three_phases_and_a_total() -> None:
    names = ("voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "active_power")
    units = ("V", "V", "V", "A", "W")
    found = of(*map(Point, names, units))["m"]
    assert found.ids("voltage_v") == {"m.voltage_l1", "m.voltage_l2", "m.voltage_l3"}
    assert found.active_power_w == (Quantity("m.active_power"),)
    assert found.phases == 3
    assert not found.line_voltage_v


def test_phases_stand_in_for_a_total_and_kilo_is_a_factor() -> None:
    found = of(
        *(Point(f"active_power_l{k}", "kW") for k in (1, 2, 3)), Point("energy_import", "MWh", Kind.TOTAL)
    )
    assert [each.factor for each in found["m"].active_power_w] == [1e3] * 3
    assert found["m"].import_wh == (Quantity("m.energy_import", 1e6),)


def test_points_of_two_groups_are_one_meter() -> None:
    device = Device("m", "test")
    fast = Group(device, "fast", (Point("voltage", "V"),), 1000)
    slow = Group(device, "slow", (Point("energy_import", "kWh", Kind.TOTAL),), 10_000)
    found = meters([fast, slow])
    assert list(found) == ["m"]
    assert found["m"].phases == 1
    assert found["m"].measures_energy


@pytest.mark.parametrize(
    "point", [Point("temperature", "°C"), Point("battery_voltage", "V"), Point("energy_import", "kWh")]
)
def test_what_is_no_meter(point: Point) -> None:
    assert of(point) == {}


@pytest.mark.parametrize("name", ["eastron-sdm630", "schneider-pm5xxx", "embrasul-md30", "kron-konect"])
def test_three_phase_profiles_are_understood(name: str) -> None:
    file = find(name, ())
    driver = next(key for key in DRIVERS if key.startswith(load_toml(file)["driver"]))
    profile = read(DRIVERS[driver][1], file)
    groups = [
        Group(Device("m", name), each.name, tuple(point.point() for point in each.point), 1000)
        for each in profile.group  # type: ignore[attr-defined]
    ]
    found = meters(groups)["m"]
    assert found.phases == 3
    assert found.active_power_w
    assert found.reactive_power_var
    assert found.frequency_hz
    assert found.import_wh or name == "embrasul-md30"  # its counters are of an unknown unit
