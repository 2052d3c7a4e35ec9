"""Requests against frames captured on real buses; answers of any bytes do no harm."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.modbus import pdu
from agent.drivers.modbus.pdu import MalformedError, RefusedError


@pytest.mark.parametrize(
    ("request_pdu", "expected"),
    [
        # relay board (device-facts 26), PZEM-004T (4), TR4020 (14), XY-MD02 (11)
        (pdu.read("coil", 0, 8), "01 00 00 00 08"),
        (pdu.read("discrete", 16, 3), "02 00 10 00 03"),
        (pdu.read("holding", 0x44, 2), "03 00 44 00 02"),
        (pdu.read("input", 0, 10), "04 00 00 00 0A"),
        (pdu.write_coil(172, True), "05 00 AC FF 00"),  # the examples of the Modbus specification
        (pdu.write_coil(172, False), "05 00 AC 00 00"),
        (pdu.write_register(1, 3), "06 00 01 00 03"),
        (pdu.write_coils(0, [True] * 8), "0F 00 00 00 08 01 FF"),  # relay board
        (pdu.write_coils(19, [bool(0x1CD >> at & 1) for at in range(10)]), "0F 00 13 00 0A 02 CD 01"),
        (pdu.write_registers(0x15, [0x2001]), "10 00 15 00 01 02 20 01"),  # DDS238: address 32 (20)
        (
            pdu.read_write(3, 6, 14, [255, 255, 255]),
            "17 00 03 00 06 00 0E 00 03 06 00 FF 00 FF 00 FF",
        ),
        (pdu.identify(), "2B 0E 01 00"),
    ],
)
def test_requests(request_pdu: bytes, expected: str) -> None:
    assert request_pdu == bytes.fromhex(expected)


def test_answers() -> None:
    pdu.check(pdu.read("holding", 4, 1), bytes.fromhex("03 02 00 DC"))
    assert pdu.registers(bytes.fromhex("03 02 00 DC")) == (220,)
    assert pdu.bits(bytes.fromhex("01 01 A1")) == (1, 0, 0, 0, 0, 1, 0, 1)
    pdu.check(pdu.write_registers(0, [1, 2]), bytes.fromhex("10 00 00 00 02"))
    pdu.check(pdu.write_coil(1, True), bytes.fromhex("05 00 01 FF 00"))


def test_identification_in_two_parts() -> None:
    """The example of the specification, and that more follows."""
    first = bytes.fromhex("2B 0E 01 01 FF 02 02 00 03") + b"ABB" + bytes.fromhex("01 02") + b"B2"
    assert pdu.identification(first) == pdu.Identification({0: "ABB", 1: "B2"}, 2)
    assert pdu.identification(bytes.fromhex("2B 0E 01 01 00 00 01 02 01") + b"3").next_object is None
    with pytest.raises(MalformedError):
        pdu.identification(first[:-1])


def test_refusals_say_why() -> None:
    with pytest.raises(RefusedError, match="exception 2, illegal data address") as caught:
        pdu.check(pdu.read("input", 0, 1), bytes.fromhex("84 02"))
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "answer",
    ["", "03", "03 04 00 01", "03 02 00", "03 03 00 01", "04 02 00 01", "83 02 01", "84 02"],
)
def test_what_does_not_fit_the_request_is_malformed(answer: str) -> None:
    with pytest.raises(MalformedError):
        pdu.check(pdu.read("holding", 0, 1), bytes.fromhex(answer))


def test_a_write_is_confirmed_by_its_echo_only() -> None:
    with pytest.raises(MalformedError, match="expected the echo 06 00 01 00 03"):
        pdu.check(pdu.write_register(1, 3), bytes.fromhex("06 00 01 00 04"))


@given(
    st.sampled_from(
        [
            pdu.read("coil", 0, 9),
            pdu.read("input", 7, 3),
            pdu.write_register(1, 2),
            pdu.write_registers(1, [2]),
            pdu.identify(),
        ]
    ),
    st.binary(max_size=260),
)
def test_no_answer_does_harm(request_pdu: bytes, answer: bytes) -> None:
    with contextlib.suppress(RefusedError, MalformedError):
        pdu.check(request_pdu, answer)
        if request_pdu == pdu.identify():
            pdu.identification(answer)
        else:
            pdu.registers(answer)
            pdu.bits(answer)
