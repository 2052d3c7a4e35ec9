"""Values against frames captured on real meters and against tables worked out by hand."""

import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.modbus.codec import (
    Coding,
    Order,
    Type,
    decoder,
    encode,
    merged,
    shortest_f32,
    with_exponent,
    words,
)
from agent.drivers.profile import OFFSET_MAX, SCALE_MAX, SCALE_MIN


def registers(data: str) -> list[int]:
    raw = bytes.fromhex(data)
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


@pytest.mark.parametrize(
    ("data", "kind", "order", "scale", "expected"),
    [
        # Eastron SDM, from its manual: L1 volts.
        ("43 66 33 34", "f32", "ABCD", 1, 230.20001),
        ("43 66 33 33", "f32", "ABCD", 1, 230.2),
        # Eastron SDM, captured: volkszaehler/mbmd issue 63.
        ("43 67 AF 55", "f32", "ABCD", 1, 231.68489),
        ("40 88 FA 31", "f32", "ABCD", 1, 4.280541),
        # Embrasul TR4020, low word first: lappis-unb/sige-slave tests.
        ("5F 70 43 5C", "f32", "CDAB", 1, 220.3728),
        # PZEM-004T v3, low word first: 0.516 A, 90.1 W, 4649 Wh.
        ("02 04 00 00", "u32", "CDAB", 0.001, 0.516),
        ("03 85 00 00", "u32", "CDAB", 0.1, 90.1),
        ("12 29 00 00", "u32", "CDAB", 1, 4649.0),
        # DDS238 energy: 17.14 kWh.
        ("00 00 06 B2", "u32", "ABCD", 0.01, 17.14),
        # XY-MD02: 28.5 degrees.
        ("01 1D", "s16", "ABCD", 0.1, 28.5),
        ("FF FF", "s16", "ABCD", 0.1, -0.1),
        ("80 5A", "s16", "ABCD", 1, -32678.0),
        ("80 5A", "u16", "ABCD", 1, 32858.0),
        # One number, 0x01020304, in the four orders.
        ("01 02 03 04", "u32", "ABCD", 1, 16909060.0),
        ("03 04 01 02", "u32", "CDAB", 1, 16909060.0),
        ("02 01 04 03", "u32", "BADC", 1, 16909060.0),
        ("04 03 02 01", "u32", "DCBA", 1, 16909060.0),
        ("34 12", "u16", "BADC", 1, 4660.0),
        ("00 00 00 01 00 00 00 00", "u64", "ABCD", 1, 4294967296.0),
        ("FF FF FF FF FF FF FF FE", "s64", "ABCD", 1, -2.0),
        ("40 09 21 FB 54 44 2D 18", "f64", "ABCD", 1, math.pi),
    ],
)
def test_known_values(data: str, kind: Type, order: Order, scale: float, expected: float) -> None:
    assert decoder(Coding(kind, order, scale))(registers("00 00" + data), 1) == expected


def test_a_scaled_value_prints_as_the_decimal_it_is() -> None:
    decode = decoder(Coding("u16", scale=0.1))
    assert [decode([raw], 0) for raw in (3, 7, 2301)] == [0.3, 0.7, 230.1]
    assert decoder(Coding("s16", scale=0.1, offset=-10))([503], 0) == 40.3
    kilowatts = registers(struct.pack(">f", 1.2346).hex())
    assert decoder(Coding("f32", scale=1000))(kilowatts, 0) == 1234.6
    assert decoder(Coding("u16", offset=1 / 3))([1], 0) == 1 + 1 / 3


def test_what_is_not_available_is_nan() -> None:
    assert math.isnan(decoder(Coding("s16", invalid=(-32768,)))([0x8000], 0))
    assert math.isnan(decoder(Coding("u32", invalid=(0xFFFFFFFF,)))([0xFFFF, 0xFFFF], 0))
    for data in ("7F C0 00 00", "7F 80 00 00", "FF 80 00 00"):
        assert math.isnan(decoder(Coding("f32"))(registers(data), 0))


def test_bits_of_a_register() -> None:
    """Daikin D3net, status word 0 and 1: on in bit 0, fan in bits 12-14; mode in the low 4 bits."""
    word = 0x5001
    assert decoder(Coding(mask=1))([word], 0) == 1
    assert decoder(Coding(mask=0x7000))([word], 0) == 5
    assert decoder(Coding(mask=0x000F))([0x0063], 0) == 3
    assert decoder(Coding("u32", "CDAB", mask=0xFF0000))([0, 0x00AB], 0) == 0xAB
    assert math.isnan(decoder(Coding(mask=1, invalid=(0xFFFF,)))([0xFFFF], 0))


def test_bool_is_any_register_that_is_not_zero() -> None:
    assert [decoder(Coding("bool"))([raw], 0) for raw in (0, 1, 0xFF00)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("coded", "expected"),
    # Schneider: -2 to 2; beyond 1 the load leads. The sign is that of the active power.
    [(0.93, 0.93), (-0.93, -0.93), (1.07, 0.93), (-1.07, -0.93), (1.0, 1.0), (2.0, 0.0), (2.5, math.nan)],
)
def test_four_quadrant_power_factor(coded: float, expected: float) -> None:
    found = decoder(Coding("f32", conversion="power_factor_4q"))(registers(struct.pack(">f", coded).hex()), 0)
    assert found == pytest.approx(expected, nan_ok=True)
    assert len(repr(found)) <= 5


def test_scale_registers_are_powers_of_ten() -> None:
    """SunSpec: 2301 at exponent -1 is 230.1; 0x8000 (here NaN) and nonsense give no value."""
    assert [with_exponent(2301, exponent) for exponent in (-1, 0, 2)] == [230.1, 2301, 230100]
    assert math.isnan(with_exponent(2301, math.nan))
    assert math.isnan(with_exponent(2301, 11))


@pytest.mark.parametrize(
    ("coding", "value", "expected"),
    [
        (Coding("s16", scale=0.1), 23.5, (235,)),
        (Coding("s16", scale=0.1, offset=-40), -1.5, (385,)),
        (Coding("u32", "CDAB"), 0x01020304, (0x0304, 0x0102)),
        (Coding("f32", "DCBA"), 60.0, (0x0000, 0x7042)),
        (Coding("u16", mask=0x0070), 5, (0x0050,)),
        (Coding("bool"), 1, (1,)),
    ],
)
def test_encoding(coding: Coding, value: float, expected: tuple[int, ...]) -> None:
    assert encode(coding, value) == expected
    assert decoder(coding)(expected, 0) == value


@pytest.mark.parametrize(
    ("coding", "value", "reason"),
    [
        (Coding("u16", scale=0.5), 21.3, "expected a multiple of 0.5, found 21.3"),
        (Coding("u16"), 70000, "expected what fits in u16"),
        (Coding("u16"), -1, "expected what fits in u16"),
        (Coding("u16", mask=0x0070), 8, "expected what fits in the bits 0x0070"),
        (Coding("bool"), 2, "expected 0 or 1"),
        (Coding("f32"), math.nan, "expected a number"),
        (Coding("f32"), 1e39, "expected what fits in f32"),
    ],
)
def test_what_cannot_be_encoded_is_said(coding: Coding, value: float, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encode(coding, value)


def test_only_the_masked_bits_change() -> None:
    coding = Coding("u16", mask=0x0070)
    assert merged(coding, (0xFFFF,), encode(coding, 2)) == (0xFFAF,)
    swapped = Coding("u16", "BADC", mask=0x0070)
    assert merged(swapped, (0xFFFF,), encode(swapped, 2)) == (0xAFFF,)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_decimal_is_the_same_32_bits(value: float) -> None:
    short = shortest_f32(value)
    assert struct.pack(">f", short) == struct.pack(">f", value)
    assert len(Decimal(repr(short)).normalize().as_tuple().digits) <= 9


TYPES = st.sampled_from(["bool", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"])
ORDERS = st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"])


@given(TYPES, ORDERS, st.binary(min_size=8, max_size=8), st.floats(0.0001, 1000))
def test_no_bytes_make_a_decoder_raise(kind: Type, order: Order, data: bytes, scale: float) -> None:
    value = decoder(Coding(kind, order, scale))(registers(data.hex()), 0)
    assert isinstance(value, float)
    assert words(kind) in (1, 2, 4)


@pytest.mark.parametrize("scale", [SCALE_MAX, -SCALE_MAX, SCALE_MIN, 0.1])
@pytest.mark.parametrize("offset", [OFFSET_MAX, -OFFSET_MAX, 0.1])
@pytest.mark.parametrize("kind", ["u16", "s64", "u64", "f32", "f64"])
def test_the_largest_values_at_the_bounds_of_scale_neither_raise_nor_become_infinite(
    kind: Type, scale: float, offset: float
) -> None:
    for data in ("7FEFFFFFFFFFFFFF", "7F7FFFFF7F7FFFFF", "FFFFFFFFFFFFFFFE", "8000000000000000"):
        value = decoder(Coding(kind, "ABCD", scale, offset))(registers(data), 0)
        assert not math.isinf(value)
        assert not math.isinf(with_exponent(value, 10))


@given(TYPES, ORDERS, st.binary(min_size=8, max_size=8), st.sampled_from([1, 0.1, 0.001, 10]))
def test_what_was_decoded_encodes_to_what_decodes_the_same(
    kind: Type, order: Order, data: bytes, scale: float
) -> None:
    # A scaled 64-bit float has no digit to spare: its last one may differ.
    coding = Coding(kind, order, 1 if kind in ("bool", "f64") else scale)
    value = decoder(coding)(registers(data.hex()), 0)
    if math.isfinite(value) and abs(value) < 2**53 * scale / 10:
        again = decoder(coding)(encode(coding, value), 0)
        # A scaled double has no digit to spare: its last one may differ.
        assert again == value or (kind == "f64" and math.isclose(again, value, rel_tol=1e-15))
