"""Frames of real devices (device-facts section 5) and values of the facts, read through the profiles."""

from __future__ import annotations

import math
import struct

import pytest

from tests.drivers.profiles.reading import answer, decode, modbus, words


@pytest.mark.parametrize("name", ["pzem-004t", "pzem-016"])
@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            "01 04 14 08 D1 00 6C 00 00 00 F4 00 00 00 26 00 00 01 F4 00 64 00 00 51 34",  # no. 1
            [225.7, 0.108, 24.4, 0.038, 50.0, 1.0, 0],
        ),
        (
            "F8 04 14 08 D3 00 23 00 00 00 05 00 00 00 02 00 00 01 F5 00 06 00 00 F8 BE",  # no. 3
            [225.9, 0.035, 0.5, 0.002, 50.1, 0.06, 0],
        ),
        (
            "01 04 14 09 59 02 04 00 00 03 85 00 00 12 29 00 00 01 F3 00 49 00 00 D3 EA",  # no. 4
            [239.3, 0.516, 90.1, 4.649, 49.9, 0.73, 0],
        ),
    ],
)
def test_pzem(name: str, frame: str, expected: list[float]) -> None:
    values = decode(modbus(name), answer(frame))
    nouns = ["voltage", "current", "active_power", "energy_import", "frequency", "power_factor", "alarm"]
    assert values == dict(zip(nouns, expected, strict=True))


@pytest.mark.parametrize(
    ("frame", "address", "point", "value"),
    [
        ("01 04 04 43 66 33 34 1B 38", 0, "voltage_l1", 230.2),  # no. 5
        ("01 04 04 43 67 AF 55 E2 10", 0, "voltage_l1", 231.68489),  # no. 6
        ("01 04 04 40 88 FA 31 ED 1A", 8, "current_l2", 4.2805),  # no. 7
        ("02 04 04 40 8B 6A 89 42 68", 8, "current_l2", 4.3568),  # no. 8
        ("01 04 04 43 69 69 78 10 6E", 0, "voltage_l1", 233.41),  # no. 10
    ],
)
def test_sdm630(frame: str, address: int, point: str, value: float) -> None:
    values = decode(modbus("eastron-sdm630"), answer(frame, address))
    assert values == {point: pytest.approx(value, rel=2e-5)}


def test_sdm120() -> None:
    values = decode(modbus("eastron-sdm120"), answer("01 04 04 43 66 33 34 1B 38"))
    assert values == {"voltage": pytest.approx(230.2, rel=1e-6)}


def test_sdm_manual_value_is_the_float_next_to_230_2() -> None:
    assert decode(modbus("eastron-sdm630"), words("43 66 33 34")) == {"voltage_l1": 230.20001}
    assert decode(modbus("eastron-sdm630"), words("43 66 33 33")) == {"voltage_l1": 230.2}


def test_sdm_capture_of_80_registers() -> None:
    """No. 9: the first 16 bytes are of the log (esphome PR 8032), the rest are its values; holes are 0.0."""
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


@pytest.mark.parametrize(
    ("frame", "temperature", "humidity"),
    [
        ("01 04 04 01 1D 02 7F 2A FE", 28.5, 63.9),  # no. 11
        ("01 04 04 01 31 02 22 2A CE", 30.5, 54.6),  # no. 12
    ],
)
def test_xy_md02(frame: str, temperature: float, humidity: float) -> None:
    values = decode(modbus("xy-md02"), answer(frame, 1))
    assert values == {"temperature": temperature, "humidity": humidity}


def test_xy_md02_alone_and_below_zero() -> None:
    assert decode(modbus("xy-md02"), answer("01 04 02 01 31 79 74", 1)) == {"temperature": 30.5}
    assert decode(modbus("xy-md02"), answer("01 04 02 02 22 38 49", 2)) == {"humidity": 54.6}
    assert decode(modbus("xy-md02"), {1: 0xFFF6}) == {"temperature": -1.0}


@pytest.mark.parametrize(
    ("frame", "address", "point", "value"),
    [
        ("01 03 04 5F 70 43 5C D8 F5", 68, "voltage_l1", 220.3728),  # no. 14
        ("01 03 04 64 49 43 5C 05 DC", 70, "voltage_l2", 220.3917),  # no. 15: five more answers; which
        ("01 03 04 A3 42 43 59 89 69", 72, "voltage_l3", 217.6377),  # register each was of is not told
        ("01 03 04 16 40 44 A6 4C D5", 86, "active_power", 1328.695),
        ("01 03 04 10 4F 43 B9 3F A6", 94, "reactive_power", 370.127),
        ("01 03 04 6A 55 44 E1 04 B3", 102, "apparent_power", 1803.32),
    ],
)
def test_embrasul(frame: str, address: int, point: str, value: float) -> None:
    values = decode(modbus("embrasul-md30"), answer(frame, address))
    assert values == {point: pytest.approx(value, rel=2e-6)}


def test_kron_60_hz_arrives_reversed() -> None:
    """device-facts 1.12: 60.0 Hz arrives as 00 00 70 42."""
    assert decode(modbus("kron-konect"), words("00 00 70 42", 26)) == {"frequency": 60.0}


def test_carlo_gavazzi_low_word_first() -> None:
    registers = (
        words("08 FF 00 00", 0) | words("CF C7 FF FF", 0x28) | words("FC 18", 0x31) | words("01 F4", 0x33)
    )
    values = decode(modbus("carlo-gavazzi-em340"), registers)
    assert values == {"voltage_l1": 230.3, "active_power": -1234.5, "power_factor": -1.0, "frequency": 50.0}


def test_abb_scales_and_markers() -> None:
    registers = words("00 00 08 FF FF FF FF FF FF FF FF FF", 0x5B00)  # a single-phase supply
    registers |= words("FF FE 1D C0 7F FF FF FF", 0x5B14) | words("17 70", 0x5B2C) | words("7F FF", 0x5B3A)
    registers |= words("00 00 00 00 00 12 D6 87", 0x5000) | words("FF" * 8, 0x5004)
    values = decode(modbus("abb-b23"), registers)
    assert values["voltage_l1"] == 230.3
    assert values["active_power"] == -1234.56
    assert values["frequency"] == 60.0
    assert values["energy_import"] == 12345.67
    for name in ("voltage_l2", "voltage_l3", "active_power_l1", "power_factor", "energy_export"):
        assert math.isnan(values[name]), name


@pytest.mark.parametrize("name", ["schneider-pm5xxx", "schneider-iem3155"])
def test_schneider_kw_wh_and_nan(name: str) -> None:
    registers = words(struct.pack(">f", 1.5).hex(), 3059)
    registers |= words(struct.pack(">q", 812_370_123).hex(), 3203)
    registers |= words("FF C0 00 00", 3027)
    values = decode(modbus(name), registers)
    assert values["active_power"] == 1500.0
    assert values["energy_import"] == 812_370.123
    assert math.isnan(values["voltage_l1"])


def test_schneider_power_is_the_decimal_that_the_meter_means() -> None:
    """0.9998 kW is 999.8 W, not 999.8000000000001 W."""
    values = decode(modbus("schneider-pm5xxx"), words(struct.pack(">f", 0.9998).hex(), 3059))
    assert values["active_power"] == 999.8


@pytest.mark.parametrize(("coded", "factor"), [(0.95, 0.95), (1.05, 0.95), (-0.8, -0.8), (-1.2, -0.8)])
def test_schneider_four_quadrant_power_factor(coded: float, factor: float) -> None:
    """device-facts 1.4: beyond 1 the load leads, pf = 2 - |v| with the sign of v."""
    values = decode(modbus("schneider-iem3155"), words(struct.pack(">f", coded).hex(), 3083))
    assert values["power_factor"] == pytest.approx(factor)


def test_intesis_tenths_and_unknown() -> None:
    registers = {0: 1, 1: 4, 2: 0x8000, 4: 235, 5: 0x8000, 10: 0, 11: 65535}
    values = decode(modbus("intesis-ac"), registers)
    assert (values["on"], values["mode"], values["temperature_setpoint"]) == (1, 4, 23.5)
    assert math.isnan(values["fan_speed"])
    assert math.isnan(values["temperature"])
    assert values["error_code"] == 65535
    assert decode(modbus("intesis-ac"), {5: 65526}) == {"temperature": -1.0}
    assert math.isnan(decode(modbus("intesis-ac"), {11: 0x8000})["error_code"])
