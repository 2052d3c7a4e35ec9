"""Guesses on captures of real meters (device-facts section 5) and on maps put together from facts."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.commissioning.guess import Guess, guess


def words(text: str) -> list[int]:
    data = bytes.fromhex(text)
    return list(struct.unpack(f">{len(data) // 2}H", data))


def best(guesses: list[Guess], quantity: str) -> Guess:
    return next(each for each in guesses if each.quantity == quantity)


def means(each: Guess) -> tuple[int, str, str, float]:
    return each.address, each.type, each.order, each.value


@pytest.mark.parametrize(
    ("data", "address", "expected"),
    [
        ("43 66 33 34", 0, ("f32", "ABCD", "voltage", 230.2)),  # SDM, no. 5
        ("43 67 AF 55", 0, ("f32", "ABCD", "voltage", 231.68489)),  # no. 6
        ("43 69 69 78", 0, ("f32", "ABCD", "voltage", 233.41)),  # no. 10
        ("5F 70 43 5C", 68, ("f32", "CDAB", "voltage", 220.3728)),  # Embrasul TR4020, no. 14
        ("64 49 43 5C", 68, ("f32", "CDAB", "voltage", 220.3917)),  # no. 15
        ("A3 42 43 59", 70, ("f32", "CDAB", "voltage", 217.6377)),
        ("00 00 70 42", 32, ("f32", "DCBA", "frequency", 60.0)),  # Kron: device-facts 1.12
        ("09 63", 12, ("u16", "ABCD", "voltage", 240.3)),  # DDS238, no. 18
        ("13 88", 17, ("u16", "ABCD", "frequency", 50.0)),  # DDS238, no. 19
    ],
)
def test_a_value_alone(data: str, address: int, expected: tuple[str, str, str, float]) -> None:
    first = guess(words(data), address)[0]
    kind, order, quantity, value = expected
    assert (first.address, first.type, first.order, first.quantity) == (address, kind, order, quantity)
    assert first.value == pytest.approx(value, rel=2e-5)
    assert first.reasons


@pytest.mark.parametrize(
    ("data", "values"),
    [
        # PZEM-016, no. 1, and PZEM-004T, no. 4: snapshots of ten registers
        ("08D1 006C 0000 00F4 0000 0026 0000 01F4 0064 0000", (225.7, 0.108, 24.4, 50.0, 1.0)),
        ("0959 0204 0000 0385 0000 1229 0000 01F3 0049 0000", (239.3, 0.516, 90.1, 49.9, 0.73)),
    ],
)
def test_pzem(data: str, values: tuple[float, ...]) -> None:
    volts, amps, watts, hertz, factor = values
    guesses = guess(words(data))
    assert means(guesses[0]) == (0, "u16", "ABCD", volts)
    assert f"{watts:g} W fits {volts:g} V x {amps:g} A" in guesses[0].reasons
    assert means(best(guesses, "current")) == (1, "u32", "CDAB", amps)
    assert means(best(guesses, "active_power")) == (3, "u32", "CDAB", watts)
    assert means(best(guesses, "frequency")) == (7, "u16", "ABCD", hertz)
    assert means(best(guesses, "power_factor")) == (8, "u16", "ABCD", factor)


SDM = {
    0: 221.917, 2: 230.169, 4: 233.361, 6: 3.5804, 8: 5.1485, 10: 4.9057,
    12: 754.75, 14: 1183.51, 16: 1141.65, 52: 3079.91, 70: 50.02,
}  # fmt: skip


def floats(values: dict[int, float], count: int, order: str = "ABCD") -> list[int]:
    registers = [0] * count
    for at, value in values.items():
        data = struct.pack(">f", value)
        if order == "DCBA":
            data = data[::-1]
        if order == "CDAB":
            data = data[2:] + data[:2]
        registers[at : at + 2] = struct.unpack(">2H", data)
    return registers


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "DCBA"])
def test_the_first_block_of_an_sdm630_in_any_order(order: str) -> None:
    """device-facts 5 no. 9; Embrasul and Kron send such lists in the other orders."""
    guesses = guess(floats(SDM, 80, order), 100)
    true = [each for each in guesses if (each.type, each.order) == ("f32", order)]
    assert guesses[:11] == true[:11]
    assert {each.address - 100 for each in true[:11]} == set(SDM)
    assert {each.quantity for each in true if each.address in (112, 114, 116)} == {"active_power"}
    total = best(guesses, "active_power_total")
    assert (total.address, total.value) == (152, 3079.91)
    assert "the sum of the three powers" in total.reasons


def test_carlo_gavazzi_integers_of_three_phases() -> None:
    """Map of device-facts 1.6: s32 low word first, V 0.1, A 0.001, W 0.1, sum of watts at 0x28."""
    volts, amps, watts = (1271, 1268, 1280), (10_250, 7_431, 12_004), (12_350, 8_910, 13_921)
    registers = [0] * 0x2C
    for at, raw in zip(
        [*range(0, 6, 2), *range(12, 18, 2), *range(18, 24, 2)], volts + amps + watts, strict=True
    ):
        registers[at], registers[at + 1] = raw & 0xFFFF, raw >> 16
    total = sum(watts)
    registers[0x28], registers[0x29] = total & 0xFFFF, total >> 16
    guesses = guess(registers)
    for quantity, at, value in (
        ("current", 12, 10.25), ("active_power", 18, 1235.0), ("active_power_total", 0x28, 3518.1)
    ):  # fmt: skip
        hit = next(each for each in guesses if (each.quantity, each.address) == (quantity, at))
        assert hit.value == value
        assert hit.order in ("CDAB", "ABCD")


def test_a_counter_grows_as_the_power_says() -> None:
    """A PZEM at 4649 Wh and 90.1 W: ten minutes later it has 15 Wh more."""
    before = words("0959 0204 0000 0385 0000 1229 0000 01F3 0049 0000")
    after = list(before)
    after[5] += 15
    guesses = guess(before, later=after, seconds=600)
    energy = best(guesses, "energy")
    assert (energy.unit, energy.value) == ("kWh", 4.649)
    assert energy.address in (4, 5)  # high word first or last: the words around it are zero
    assert any("15 Wh where the power gives 15 Wh" in reason for reason in energy.reasons)
    fell = list(before)
    fell[5] -= 1
    assert not [each for each in guess(before, later=fell, seconds=600) if each.quantity == "energy"]


def test_a_float_counter_in_kwh() -> None:
    before = floats(SDM | {72: 81.25}, 80)
    after = floats(SDM | {72: 81.25 + 3.07991 / 6}, 80)
    energy = best(guess(before, later=after, seconds=600), "energy")
    assert (energy.address, energy.type, energy.unit, energy.value) == (72, "f32", "kWh", 81.25)


def test_nothing_to_say_of_zeros() -> None:
    """An all-zero answer proves nothing (pitfall 27)."""
    assert guess([0] * 80) == []
    assert guess([]) == []


def test_a_whole_read_takes_a_moment_only() -> None:
    busy = [(at * 7919) % 65536 for at in range(125)]
    started_s = time.perf_counter()
    guess(busy)
    assert time.perf_counter() - started_s < 10


@settings(deadline=None)
@given(st.lists(st.integers(0, 65535), max_size=40), st.lists(st.integers(0, 65535), max_size=40))
def test_any_registers(before: list[int], after: list[int]) -> None:
    guesses = guess(before, 7, later=after, seconds=1.0, most=25)
    assert len(guesses) <= 25
    scores = [each.score for each in guesses]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert all(7 <= each.address < 7 + len(before) for each in guesses)
