"""Frames among noise, echoes and strangers; and bytes of any kind."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.modbus import pdu
from agent.drivers.modbus.frame import BUFFER_BYTES_MAX, RtuFraming, TcpFraming, crc16
from agent.drivers.modbus.pdu import MalformedError

READ = pdu.read("input", 0, 2)
ANSWER = bytes.fromhex("04 04 43 69 69 78")
FRAME = bytes.fromhex("01 04 04 43 69 69 78 10 6E")  # device-facts 10: an SDM, 233.41 V


def rtu(request_pdu: bytes = READ, unit_id: int = 1, *, echoes: bool | None = None) -> RtuFraming:
    framing = RtuFraming()
    framing.echoes = echoes
    framing.send(unit_id, request_pdu)
    return framing


def framed(unit_id: int, answer: bytes) -> bytes:
    body = bytes((unit_id,)) + answer
    return body + crc16(body).to_bytes(2, "little")


def test_requests_on_both_wires() -> None:
    assert RtuFraming().send(1, pdu.read("input", 0, 80)) == bytes.fromhex("01 04 00 00 00 50 F0 36")
    assert TcpFraming().send(1, pdu.read("input", 0, 4)) == bytes.fromhex(
        "00 01 00 00 00 06 01 04 00 00 00 04"
    )


def test_rtu_answer_in_one_piece_and_byte_by_byte() -> None:
    assert rtu().receive(FRAME) == ANSWER
    framing = rtu()
    answers = [framing.receive(FRAME[at : at + 1]) for at in range(len(FRAME))]
    assert answers == [None] * 8 + [ANSWER]


@pytest.mark.parametrize(
    "before",
    [
        "00",  # device-facts 10: every frame of that log has a 00 before and after it
        "FF FF 00",
        "01 04",
        "01 04 04",  # as if an answer began here
        "52 65 6C 61 79 20 76 31 2E 30 0D 0A",  # "Relay v1.0", greeting of a board at power-up
        "02 04 04 40 8B 6A 89 42 68",  # another unit's late answer (8)
        "01 04 02 00 6F F8 CD",  # a late answer of the same unit, but of another length
        "01 04 04 43 69 69 78 10 6F",  # the same answer with a wrong CRC
    ],
)
@pytest.mark.parametrize("after", ["", "00", "01 04 04"])
def test_rtu_answer_is_found_among_noise(before: str, after: str) -> None:
    assert rtu().receive(bytes.fromhex(before) + FRAME + bytes.fromhex(after)) == ANSWER


def test_rtu_refusal_is_found_too() -> None:
    assert rtu().receive(b"\x00" + framed(1, b"\x84\x02")) == b"\x84\x02"
    assert rtu().receive(framed(2, b"\x84\x02")) is None


def test_an_echo_is_learned_and_passed_over() -> None:
    framing = RtuFraming()
    request = framing.send(1, READ)
    assert framing.receive(request) is None
    assert framing.receive(FRAME) == ANSWER
    assert framing.echoes is True


def test_an_echo_is_learned_from_silence_too() -> None:
    framing = RtuFraming()
    framing.receive(framing.send(9, READ))
    assert framing.failure() == "silent"
    assert framing.echoes is True


def test_on_an_echoing_line_a_write_is_not_confirmed_by_its_own_echo() -> None:
    write = pdu.write_register(1, 3)
    framing = rtu(write, echoes=True)
    assert framing.receive(framed(1, write)) is None
    assert framing.receive(framed(1, write)) == write
    framing = rtu(write, echoes=True)
    assert framing.receive(framed(1, write) + framed(1, b"\x86\x03")) == b"\x86\x03"
    assert rtu(write, echoes=False).receive(framed(1, write)) == write


def test_an_echo_that_looks_like_the_beginning_of_an_answer() -> None:
    request = pdu.read("holding", 0x1400, 10)  # its address reads as a byte count of 20
    framing = rtu(request)
    answer = bytes((3, 20)) + bytes(range(20))
    assert framing.receive(framed(1, request)) is None
    assert framing.receive(framed(1, answer)) == answer


def test_identification_has_no_fixed_length() -> None:
    answer = bytes.fromhex("2B 0E 01 01 00 00 02 00 03") + b"ABB" + bytes.fromhex("01 02") + b"B2"
    framing = rtu(pdu.identify())
    frame = framed(1, answer)
    assert [framing.receive(frame[at : at + 1]) for at in range(len(frame))][-1] == answer


@pytest.mark.parametrize(
    ("heard", "failure"),
    [("", "silent"), ("00 FF 00", "silent"), ("01 04 04 43 69 69 78 10 6F", "crc"), ("41 42 43", "noise")],
)
def test_what_was_there_instead_of_an_answer(heard: str, failure: str) -> None:
    framing = rtu()
    assert framing.receive(bytes.fromhex(heard)) is None
    assert framing.failure() == failure


def test_waiting_is_in_vain_once_a_broken_answer_is_complete() -> None:
    framing = rtu()
    framing.receive(FRAME[:-2])
    assert not framing.complete()
    framing.receive(b"\xaa\xaa")
    assert framing.complete()


def test_tcp_answers_of_older_transactions_are_dropped() -> None:
    framing = TcpFraming()
    first = framing.send(1, READ)
    framing.send(1, READ)
    old = first[:4] + bytes((0, 7, 1)) + ANSWER
    new = bytes((0, 2, 0, 0, 0, 7, 1)) + ANSWER[:-1] + b"\x79"
    assert framing.receive(old + new[:5]) is None
    assert framing.receive(new[5:]) == ANSWER[:-1] + b"\x79"
    assert framing.stale == 1
    assert framing.receive(new) is None  # twice: the second is of nobody


def test_answers_of_others_are_strays() -> None:
    tcp = TcpFraming()
    assert tcp.receive(tcp.send(1, READ)[:4] + bytes((0, 7, 9)) + ANSWER) is None
    assert tcp.failure() == "stray"
    tcp.send(1, READ)
    assert tcp.failure() == "silent"


@pytest.mark.parametrize("body", ["02 03 02 00 07", "02 83 02", "02 03 00 00 00 04", "02 06 00 01 00 03"])
def test_a_whole_frame_of_another_unit_is_a_stray_and_a_broken_one_noise(body: str) -> None:
    frame = bytes.fromhex(body)
    frame += crc16(frame).to_bytes(2, "little")
    for junk in (b"", b"\x00\x07"):
        framing = rtu(READ)
        framing.receive(junk + frame + junk)
        assert framing.failure() == "stray"
    framing = rtu(READ)
    framing.receive(frame[:-1] + bytes((frame[-1] ^ 1,)))
    assert framing.failure() == "noise"


def test_tcp_transaction_ids_wrap() -> None:
    framing = TcpFraming()
    for _ in range(65536):
        request = framing.send(1, READ)
    assert request[:2] == b"\x00\x00"
    assert framing.receive(request[:4] + bytes((0, 7, 1)) + ANSWER) == ANSWER


@pytest.mark.parametrize("unit_id", [0, 255])
def test_a_meter_with_a_port_of_its_own_may_answer_as_any_unit(unit_id: int) -> None:
    framing = TcpFraming()
    request = framing.send(unit_id, READ)
    assert framing.receive(request[:4] + bytes((0, 7, 1)) + ANSWER) == ANSWER


def test_another_unit_is_not_believed() -> None:
    framing = TcpFraming()
    request = framing.send(1, READ)
    assert framing.receive(request[:4] + bytes((0, 7, 2)) + ANSWER) is None


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"\0\1\0\0\xff\xff\1", b"\0\1\0\0\0\1\1"])
def test_what_is_not_modbus_tcp_is_said(data: bytes) -> None:
    framing = TcpFraming()
    framing.send(1, READ)
    with pytest.raises(MalformedError, match="expected Modbus TCP"):
        framing.receive(data)


REQUESTS = st.sampled_from([READ, pdu.read("coil", 3, 11), pdu.write_register(1, 2), pdu.identify()])
PIECES = st.lists(st.binary(max_size=300) | st.just(FRAME) | st.just(FRAME[:4]), max_size=12)


@given(REQUESTS, PIECES, st.sampled_from([None, True, False]))
def test_any_bytes_on_rtu(request_pdu: bytes, pieces: list[bytes], echoes: bool | None) -> None:
    framing = rtu(request_pdu, echoes=echoes)
    for piece in pieces:
        framing.receive(piece)
        framing.complete()
        assert len(framing._buffer) <= BUFFER_BYTES_MAX
    assert framing.failure() in ("silent", "crc", "noise", "stray")


@given(PIECES)
def test_any_bytes_on_tcp(pieces: list[bytes]) -> None:
    framing = TcpFraming()
    framing.send(1, READ)
    with contextlib.suppress(MalformedError):
        for piece in pieces:
            framing.receive(piece)
            assert len(framing._buffer) < 300


def test_mutated_frames_never_pass_for_another_answer() -> None:
    """20 000 frames with bits flipped, bytes lost or doubled: none is taken for right but the right one."""
    rand = random.Random(1)
    for _ in range(20_000):
        frame = bytearray(FRAME)
        for _ in range(rand.randint(1, 3)):
            at = rand.randrange(len(frame))
            kind = rand.randrange(3)
            if kind == 0:
                frame[at] ^= 1 << rand.randrange(8)
            elif kind == 1 and len(frame) > 1:
                del frame[at]
            else:
                frame.insert(at, frame[at])
        answer = rtu().receive(bytes(frame))
        assert answer in (None, ANSWER)
