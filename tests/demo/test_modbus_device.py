"""A simulated device's registers, without a socket."""

import math
import struct

import pytest

from agent.demo.modbus_device import SimulatedDevice, profile_named
from agent.drivers.modbus.profile import ModbusProfile
from agent.schema import FaultyFile

ALL_TYPES = {
    "u16": (65535, [0xFFFF]),
    "s16": (-2, [0xFFFE]),
    "u32": (0x01020304, [0x0102, 0x0304]),
    "s32": (-2, [0xFFFF, 0xFFFE]),
    "u64": (0x01020304050607, [0x0001, 0x0203, 0x0405, 0x0607]),
    "s64": (-2, [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE]),
    "f32": (230.2, [0x4366, 0x3333]),
    "f64": (0.1, [0x3FB9, 0x9999, 0x9999, 0x999A]),
}
ORDERS = {
    "ABCD": [0x4048, 0xF5C3],
    "CDAB": [0xF5C3, 0x4048],
    "BADC": [0x4840, 0xC3F5],
    "DCBA": [0xC3F5, 0x4840],
}


def device(**point: object) -> SimulatedDevice:
    """A device with one point `x`."""
    profile = {
        "driver": "modbus",
        "title": "one point",
        "source": ["this test"],
        "group": [{"name": "g", "point": [{"name": "x", "address": 10} | point]}],
    }
    return SimulatedDevice(ModbusProfile.model_validate(profile))


def registers(simulated: SimulatedDevice) -> list[int]:
    return [value for _, value in sorted(simulated._image["holding"].items())]


@pytest.mark.parametrize("kind", ALL_TYPES)
def test_types(kind: str) -> None:
    value, expected = ALL_TYPES[kind]
    simulated = device(type=kind)
    simulated.set("x", value)
    assert registers(simulated) == expected
    assert simulated.get("x") == value


@pytest.mark.parametrize("order", ORDERS)
def test_orders(order: str) -> None:
    simulated = device(type="f32", order=order)
    simulated.set("x", 3.14)
    assert registers(simulated) == ORDERS[order]
    assert simulated.get("x") == 3.14


def test_bytes_swapped_in_one_word() -> None:
    simulated = device(type="u16", order="BADC")
    simulated.set("x", 0x0102)
    assert registers(simulated) == [0x0201]
    assert simulated.get("x") == 0x0102


def test_scale_and_offset() -> None:
    simulated = device(type="s16", scale=0.1, offset=-40)
    simulated.set("x", 23.7)
    assert registers(simulated) == [637]
    assert simulated.get("x") == 23.7


def test_nan_is_coded_as_the_device_codes_it() -> None:
    simulated = device(type="s16", invalid=[-32768])
    simulated.set("x", math.nan)
    assert registers(simulated) == [0x8000]
    assert math.isnan(simulated.get("x"))
    floating = device(type="f32")
    floating.set("x", math.nan)
    assert math.isnan(struct.unpack(">f", struct.pack(">2H", *registers(floating)))[0])


@pytest.mark.parametrize(
    ("kind", "value"), [("u16", 70000), ("u16", -1), ("s16", 40000), ("f32", 1e39), ("u16", math.nan)]
)
def test_what_does_not_fit_is_said(kind: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"^x: "):
        device(type=kind).set("x", value)


def test_unknown_names() -> None:
    with pytest.raises(KeyError):
        device().set("y", 1)
    with pytest.raises(FaultyFile, match="eastron-sdm630"):
        profile_named("eastron-sdm63")


@pytest.mark.parametrize("name", ["eastron-sdm630", "schneider-pm5xxx", "intesis-ac"])
def test_every_point_reads_what_was_set(name: str) -> None:
    simulated = SimulatedDevice(name)
    wanted = {
        point: index / 100 if "power_factor" in point else float(index)
        for index, point in enumerate(simulated.points, 1)
    }
    simulated.update(wanted)
    assert {point: simulated.get(point) for point in simulated.points} == wanted
