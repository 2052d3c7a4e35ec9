"""Every built-in profile loads; the Modbus ones agree with the datasheets, written here a second time."""

import math
import struct
from pathlib import Path

import pytest

from agent.drivers.modbus import codec
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.profile import BUILT_IN
from agent.drivers.udp import JsonProfile
from agent.schema import load_toml, read

MODELS = {"modbus": ModbusProfile, "udp-json": JsonProfile}
FILES = sorted(BUILT_IN.glob("*.toml"))

# Point: address as on the wire, type, scale. From the datasheets, not from the profiles.
SDM630 = {
    "voltage_l1": 0x0000, "voltage_l2": 0x0002, "voltage_l3": 0x0004,
    "current_l1": 0x0006, "current_l2": 0x0008, "current_l3": 0x000A,
    "active_power_l1": 0x000C, "active_power_l2": 0x000E, "active_power_l3": 0x0010,
    "apparent_power_l1": 0x0012, "apparent_power_l2": 0x0014, "apparent_power_l3": 0x0016,
    "reactive_power_l1": 0x0018, "reactive_power_l2": 0x001A, "reactive_power_l3": 0x001C,
    "power_factor_l1": 0x001E, "power_factor_l2": 0x0020, "power_factor_l3": 0x0022,
    "active_power": 0x0034, "apparent_power": 0x0038, "reactive_power": 0x003C,
    "power_factor": 0x003E, "frequency": 0x0046,
    "energy_import": 0x0048, "energy_export": 0x004A,
    "reactive_energy_import": 0x004C, "reactive_energy_export": 0x004E,
    "thd_voltage_l1": 0x00EA, "thd_voltage_l2": 0x00EC, "thd_voltage_l3": 0x00EE,
    "thd_current_l1": 0x00F0, "thd_current_l2": 0x00F2, "thd_current_l3": 0x00F4,
}  # fmt: skip
# Schneider prints numbers from 1: the wire has one less.
PM5XXX_NUMBERS = {
    "current_l1": (3000, "f32", 1), "current_l2": (3002, "f32", 1), "current_l3": (3004, "f32", 1),
    "voltage_l1": (3028, "f32", 1), "voltage_l2": (3030, "f32", 1), "voltage_l3": (3032, "f32", 1),
    "voltage_unbalance": (3052, "f32", 1),
    "active_power_l1": (3054, "f32", 1000), "active_power_l2": (3056, "f32", 1000),
    "active_power_l3": (3058, "f32", 1000), "active_power": (3060, "f32", 1000),
    "reactive_power_l1": (3062, "f32", 1000), "reactive_power_l2": (3064, "f32", 1000),
    "reactive_power_l3": (3066, "f32", 1000), "reactive_power": (3068, "f32", 1000),
    "apparent_power_l1": (3070, "f32", 1000), "apparent_power_l2": (3072, "f32", 1000),
    "apparent_power_l3": (3074, "f32", 1000), "apparent_power": (3076, "f32", 1000),
    "frequency": (3110, "f32", 1),
    "energy_import": (3204, "s64", 0.001), "energy_export": (3208, "s64", 0.001),
    "reactive_energy_import": (3220, "s64", 0.001), "reactive_energy_export": (3224, "s64", 0.001),
    "thd_current_l1": (21300, "f32", 1), "thd_current_l2": (21302, "f32", 1),
    "thd_current_l3": (21304, "f32", 1),
    "thd_voltage_l1": (21330, "f32", 1), "thd_voltage_l2": (21332, "f32", 1),
    "thd_voltage_l3": (21334, "f32", 1),
}  # fmt: skip
INTESIS = {
    "on": (0, "s16", 1), "mode": (1, "s16", 1), "fan_speed": (2, "s16", 1),
    "temperature_setpoint": (4, "s16", 0.1), "temperature": (5, "s16", 0.1),
    "alarm": (10, "s16", 1), "error_code": (11, "u16", 1),
}  # fmt: skip
DATASHEETS = {
    "eastron-sdm630": ("input", {name: (address, "f32", 1) for name, address in SDM630.items()}),
    "schneider-pm5xxx": (
        "holding",
        {name: (number - 1, kind, scale) for name, (number, kind, scale) in PM5XXX_NUMBERS.items()},
    ),
    "intesis-ac": ("holding", INTESIS),
}
UNITS = {
    "voltage": "V", "current": "A", "active_power": "W", "reactive_power": "var", "apparent_power": "VA",
    "power_factor": "", "frequency": "Hz", "energy": "kWh", "reactive_energy": "kvarh", "thd": "%",
    "voltage_unbalance": "%", "temperature": "°C", "humidity": "%", "co2": "ppm", "battery_voltage": "V",
}  # fmt: skip


def modbus(name: str) -> ModbusProfile:
    return read(ModbusProfile, BUILT_IN / f"{name}.toml")


def decode(profile: ModbusProfile, registers: dict[int, int]) -> dict[str, float]:
    """What the points fully inside `registers` (address to value) read."""
    values = {}
    for group in profile.group:
        for point, decoder in zip(group.point, profile.decoders(group), strict=True):
            span = range(point.address, point.address + codec.words(point.type or profile.type))
            if all(address in registers for address in span):
                values[point.name] = decoder([registers[address] for address in span], 0)
    return values


def words(text: str, address: int = 0) -> dict[int, int]:
    data = bytes.fromhex(text)
    return dict(enumerate(struct.unpack(f">{len(data) // 2}H", data), address))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_profile_loads_and_names_its_sources(file: Path) -> None:
    profile = read(MODELS[load_toml(file)["driver"]], file)
    assert profile.title
    assert all(len(source) > 10 for source in profile.source)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_same_noun_has_same_unit_in_every_profile(file: Path) -> None:
    profile = read(MODELS[load_toml(file)["driver"]], file)
    for point in (point for group in profile.group for point in group.point):
        if point.kind == "state":
            assert point.unit == ""
            assert point.states
            continue
        nouns = [noun for noun in UNITS if f"{point.name}_".startswith(f"{noun}_")]
        assert nouns, f"{point.name}: a new noun: add it here and use it everywhere"
        assert point.unit == UNITS[max(nouns, key=len)], point.name
        assert (point.kind == "total") == ("energy" in point.name), point.name


@pytest.mark.parametrize("name", DATASHEETS)
def test_registers_are_those_of_the_datasheet(name: str) -> None:
    profile = modbus(name)
    table, registers = DATASHEETS[name]
    found = {
        point.name: (point.address, point.type or profile.type, point.scale)
        for group in profile.group
        for point in group.point
    }
    assert found == registers
    for group in profile.group:
        for point in group.point:
            assert (point.table or profile.table) == table
            assert (point.order or profile.order) == "ABCD"


def test_every_modbus_profile_is_held_against_a_datasheet() -> None:
    assert {file.stem for file in FILES if load_toml(file)["driver"] == "modbus"} == set(DATASHEETS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("eastron-sdm630", [(0, 72), (72, 8), (234, 12)]),
        ("intesis-ac", [(0, 12)]),
        (
            "schneider-pm5xxx",
            [
                *[(2999, 6), (3027, 6), (3053, 24), (3109, 2)],
                *[(3051, 2), (3203, 8), (3219, 8), (21299, 6), (21329, 6)],
            ],
        ),
    ],
)
def test_requests_are_few_and_within_what_the_device_takes(
    name: str, expected: list[tuple[int, int]]
) -> None:
    profile = modbus(name)
    blocks = [block for group in profile.group for block in profile.blocks(group)]
    assert [(block.address, block.width) for block in blocks] == expected
    assert max(block.width for block in blocks) <= profile.max_registers


def test_sdm_takes_80_registers_at_even_addresses() -> None:
    profile = modbus("eastron-sdm630")
    assert profile.max_registers == 80
    for group in profile.group:
        for block in profile.blocks(group):
            assert block.address % 2 == block.width % 2 == 0


@pytest.mark.parametrize(
    ("address", "data", "point", "value"),
    [
        (0, "43 66 33 34", "voltage_l1", 230.2),
        (0, "43 67 AF 55", "voltage_l1", 231.68489),
        (8, "40 88 FA 31", "current_l2", 4.2805),
        (8, "40 8B 6A 89", "current_l2", 4.3568),
    ],
)
def test_sdm_captures(address: int, data: str, point: str, value: float) -> None:
    values = decode(modbus("eastron-sdm630"), words(data, address))
    assert values == {point: pytest.approx(value, rel=2e-5)}


def test_sdm_manual_value_is_the_float_next_to_230_2() -> None:
    assert decode(modbus("eastron-sdm630"), words("43 66 33 34")) == {"voltage_l1": 230.20001}
    assert decode(modbus("eastron-sdm630"), words("43 66 33 33")) == {"voltage_l1": 230.2}


def test_sdm_capture_of_80_registers() -> None:
    """The first 16 bytes are of the log (esphome PR 8032), the rest are its values; holes are 0.0."""
    registers = dict.fromkeys(range(80), 0)
    registers |= words("43 5D EA DE 43 66 2B 2C 43 69 5C 59 40 65 25 4B")
    for address, value in {8: 5.1485, 10: 4.9057, 12: 754.75, 14: 1183.51, 16: 1141.65}.items():
        registers |= words(struct.pack(">f", value).hex(), address)
    for address, value in {52: 3079.91, 70: 50.02}.items():
        registers |= words(struct.pack(">f", value).hex(), address)
    values = decode(modbus("eastron-sdm630"), registers)
    assert values["voltage_l1"] == pytest.approx(221.917, abs=5e-4)
    assert values["voltage_l2"] == pytest.approx(230.169, abs=1e-3)
    assert values["voltage_l3"] == pytest.approx(233.361, abs=5e-4)
    assert values["current_l1"] == pytest.approx(3.5804, abs=5e-5)
    assert [values[f"active_power_l{phase}"] for phase in (1, 2, 3)] == [754.75, 1183.51, 1141.65]
    assert values["active_power"] == 3079.91
    assert values["frequency"] == 50.02
    assert values["power_factor"] == 0.0


def test_schneider_kw_wh_and_nan() -> None:
    registers = words(struct.pack(">f", 1.5).hex(), 3059)
    registers |= words(struct.pack(">q", 812_370_123).hex(), 3203)
    registers |= words("FF C0 00 00", 3027)
    values = decode(modbus("schneider-pm5xxx"), registers)
    assert values["active_power"] == 1500.0
    assert values["energy_import"] == 812_370.123
    assert math.isnan(values["voltage_l1"])


def test_schneider_power_is_the_decimal_that_the_meter_means() -> None:
    """0.9998 kW is 999.8 W, not 999.8000000000001 W."""
    values = decode(modbus("schneider-pm5xxx"), words(struct.pack(">f", 0.9998).hex(), 3059))
    assert values["active_power"] == 999.8


def test_intesis_tenths_and_unknown() -> None:
    registers = {0: 1, 1: 4, 2: 0x8000, 4: 235, 5: 0x8000, 10: 0, 11: 65535}
    values = decode(modbus("intesis-ac"), registers)
    assert (values["on"], values["mode"], values["temperature_setpoint"]) == (1, 4, 23.5)
    assert math.isnan(values["fan_speed"])
    assert math.isnan(values["temperature"])
    assert values["error_code"] == 65535
    assert decode(modbus("intesis-ac"), {5: 65526}) == {"temperature": -1.0}
    assert math.isnan(decode(modbus("intesis-ac"), {11: 0x8000})["error_code"])
