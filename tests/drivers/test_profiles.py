"""Every built-in profile loads and speaks the common language; Modbus ones agree with the datasheets."""

from pathlib import Path

import pytest

from agent.drivers.modbus.codec import encode
from agent.drivers.udp import UdpProfile
from agent.schema import load_toml
from tests.drivers.profiles.datasheets import DATASHEETS
from tests.drivers.profiles.reading import FILES, modbus, points, profile_in

UNITS = {
    "voltage": "V", "current": "A", "active_power": "W", "reactive_power": "var", "apparent_power": "VA",
    "power_factor": "", "frequency": "Hz", "energy": "kWh", "reactive_energy": "kvarh", "thd": "%",
    "voltage_unbalance": "%", "temperature": "°C", "supply_temperature": "°C", "humidity": "%", "co2": "ppm",
    "battery_voltage": "V", "irradiance": "W/m²", "wind_speed": "m/s", "cloud_cover": "%",
    "rain_rate": "mm/h", "air_pressure": "hPa", "price": "BRL/kWh", "people": "",
}  # fmt: skip
WANTED = {
    "pzem-004t", "pzem-016", "eastron-sdm120", "eastron-sdm630", "schneider-iem3155", "schneider-pm5xxx",
    "carlo-gavazzi-em340", "abb-b23", "embrasul-md30", "kron-konect", "xy-md02", "intesis-ac", "ir-blaster",
    "ir-blaster-tasmota", "sma-energy-meter",
}  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_profile_loads_and_names_its_sources(file: Path) -> None:
    profile = profile_in(file)
    assert profile.title
    assert all(len(source) > 10 for source in profile.source)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_same_noun_has_same_unit_in_every_profile(file: Path) -> None:
    for point in (point for group in profile_in(file).group for point in group.point):
        if point.kind == "state":
            assert point.unit == ""
            assert point.states
            continue
        nouns = [noun for noun in UNITS if f"{point.name}_".startswith(f"{noun}_")]
        assert nouns, f"{point.name}: a new noun: add it here and use it everywhere"
        assert point.unit == UNITS[max(nouns, key=len)], point.name
        assert (point.kind == "total") == ("energy" in point.name), point.name


def test_no_profile_is_missing() -> None:
    assert {file.stem for file in FILES} >= WANTED


@pytest.mark.parametrize("name", DATASHEETS)
def test_registers_are_those_of_the_datasheet(name: str) -> None:
    profile, sheet = modbus(name), DATASHEETS[name]
    found = {
        point.name: (point.address, point.type or profile.type, point.scale)
        for point in points(profile).values()
    }
    assert found == sheet.registers
    for point in points(profile).values():
        coding = profile.coding(point)
        assert profile.table_of(point) == sheet.table
        assert coding.kind in ("u16", "s16") or coding.order == sheet.order
    assert profile.max_registers <= sheet.max_registers
    assert profile.delay_ms >= sheet.delay_ms


def test_every_modbus_profile_is_held_against_a_datasheet() -> None:
    assert {file.stem for file in FILES if load_toml(file)["driver"] == "modbus"} == set(DATASHEETS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pzem-004t", [(0, 10)]),  # a snapshot, whole
        ("eastron-sdm120", [(0, 32), (70, 2), (72, 16)]),
        ("eastron-sdm630", [(0, 72), (72, 8), (234, 12)]),
        ("xy-md02", [(1, 2)]),
        ("intesis-ac", [(0, 12)]),
        ("embrasul-md30", [(66, 46), (112, 12)]),
        ("kron-konect", [(4, 12), (18, 10), (34, 32), (74, 2), (200, 8)]),
        ("carlo-gavazzi-em340", [(0, 6), (12, 24), (40, 10), (51, 1), (52, 2), (64, 6), (78, 2)]),
        (
            "abb-b23",
            [
                *[(0x5B00, 6), (0x5B0C, 6), (0x5B14, 25), (0x5B3A, 4)],
                *[(0x5000, 8), (0x5460, 24), (0x5B12, 2)],
            ],
        ),
        (
            "schneider-pm5xxx",
            [
                *[(2999, 6), (3027, 6), (3053, 32), (3109, 2)],
                *[(3051, 2), (3203, 8), (3219, 8), (21299, 6), (21329, 6)],
            ],
        ),
        (
            "schneider-iem3155",
            [
                *[(2999, 6), (3027, 6), (3053, 8), (3067, 2), (3075, 2), (3083, 2), (3109, 2)],
                *[(3019, 6), (3203, 8), (3219, 8), (3517, 12)],
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


@pytest.mark.parametrize("name", ["eastron-sdm120", "eastron-sdm630"])
def test_sdm_takes_80_registers_at_even_addresses(name: str) -> None:
    profile = modbus(name)
    for group in profile.group:
        for block in profile.blocks(group):
            assert block.width <= 80
            assert block.address % 2 == block.width % 2 == 0


def test_what_marks_a_value_as_not_available() -> None:
    """Pitfall 14: all ones and 0x7FFF... of ABB, 0x8000 of Intesis; Schneider's NaN needs none."""
    sheets = {"u16": 0xFFFF, "u32": 0xFFFFFFFF, "u64": 2**64 - 1, "s16": 0x7FFF, "s32": 0x7FFFFFFF}
    abb = modbus("abb-b23")
    for point in points(abb).values():
        assert point.invalid == [sheets[abb.coding(point).kind]], point.name
    for name, point in points(modbus("intesis-ac")).items():
        assert point.invalid == [32768 if name == "error_code" else -32768]


def test_the_air_conditioner_gateway_is_written_with_care() -> None:
    profile = modbus("intesis-ac")
    writable = {name: point for name, point in points(profile).items() if point.writable}
    assert set(writable) == {"on", "mode", "fan_speed", "temperature_setpoint"}
    for point in writable.values():
        assert point.on_silence
        assert point.readback  # locks make writes vanish without a word
        assert point.readback_s >= 5
        assert point.write_function == 6
    setpoint = writable["temperature_setpoint"]
    assert (setpoint.min, setpoint.max, setpoint.step) == (16, 30, 0.5)
    assert encode(profile.coding(setpoint), 23.5) == (235,)
    assert [file.stem for file in FILES if load_toml(file)["driver"] == "modbus" and _writes(file.stem)] == [
        "intesis-ac"
    ]


def _writes(name: str) -> bool:
    return any(point.writable for point in points(modbus(name)).values())


@pytest.mark.parametrize("name", ["ir-blaster", "ir-blaster-tasmota"])
def test_infrared_modules_speak_like_the_gateway(name: str) -> None:
    """A control loop sends the same codes, whichever of the two it drives."""
    file = next(file for file in FILES if file.stem == name)
    profile = profile_in(file)
    assert isinstance(profile, UdpProfile)
    sent = {point.name: point for point in profile.group[0].point if point.writable}
    gateway = points(modbus("intesis-ac"))
    assert set(sent) == {"on", "mode", "fan_speed", "temperature_setpoint"}
    assert sent["mode"].states == gateway["mode"].states
    assert sent["on"].states == gateway["on"].states
    assert all("keeps the last state" in point.on_silence for point in sent.values())
    if name == "ir-blaster-tasmota":  # keys of the IRHVAC message, device-facts 3.11
        assert [point.key for point in sent.values()] == ["Power", "Mode", "FanSpeed", "Temp"]


@pytest.mark.parametrize("name", DATASHEETS)
def test_a_fingerprint_is_never_of_zeros(name: str) -> None:
    """Pitfall 27: an all-zero answer proves nothing."""
    profile = modbus(name)
    assert profile.fingerprint
    for check in profile.fingerprint:
        assert check.min is None or check.min > 0
