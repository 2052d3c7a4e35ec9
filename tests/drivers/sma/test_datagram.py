"""The decoder against a real datagram, cut and mutated ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.sma.datagram import NotForUsError, decode
from tests.drivers.sma.capture import COUNTERS, DATAGRAM, SERIAL_NUMBER, SUSY_ID, TICKER_MS


def test_a_real_datagram() -> None:
    datagram = decode(DATAGRAM)
    assert len(DATAGRAM) == 600
    assert datagram[:3] == (SUSY_ID, SERIAL_NUMBER, TICKER_MS)
    items = datagram.items
    assert (items["1.4.0"], items["2.4.0"], items["3.4.0"], items["9.4.0"]) == (6347, 0, 711, 6387)
    assert (items["13.4.0"], items["31.4.0"], items["32.4.0"]) == (994, 2999, 225757)
    counters = [items[f"{index}.8.0"] for index in (1, 2, 3, 4)]
    assert counters == list(COUNTERS.values())
    assert (items["9.8.0"], items["10.8.0"]) == (16095832200, 253932480)
    assert [items[f"{index}.4.0"] for index in (41, 51, 52, 53, 61, 72)] == [0] * 6
    assert "14.4.0" not in items  # only the Home Manager has the frequency
    assert not any(key.startswith("0.") for key in items)  # the version is of channel 144


def test_an_item_of_an_older_meter() -> None:
    """A partial capture of an EM 1.0 (SUSyID 270): 00 01 04 00 00 00 54 e0 is 2172.8 W."""
    head = DATAGRAM[:12] + bytes.fromhex("001C 0010 6069 010E 00000007 00000001")
    datagram = decode(head + bytes.fromhex("00010400 000054e0 00000000") + b"\0" * 8)
    assert (datagram.susy_id, datagram.items) == (270, {"1.4.0": 21728})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected a Speedwire datagram, found nothing"),
        (b"hello, world", "found 68 65 6c"),
        (DATAGRAM[:500], "expected 596 bytes, found 500: it was cut"),
    ],
)
def test_broken_ones_say_why(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        decode(data)
    assert not isinstance(caught.value, NotForUsError)


@pytest.mark.parametrize(
    "data",
    [
        DATAGRAM[:16] + bytes.fromhex("6065") + DATAGRAM[18:],  # an inverter
        bytes.fromhex("534d4100000402a0ffffffff0000002000000000"),  # somebody looks for devices
        bytes.fromhex("534d4100000402a000000001000200000001"),  # and is answered
        DATAGRAM[:12] + bytes.fromhex("000C") + DATAGRAM[14:28] + b"\0" * 26,  # no values
    ],
)
def test_other_kinds_are_told_from_broken_ones(data: bytes) -> None:
    with pytest.raises(NotForUsError):
        decode(data)


def test_an_item_of_an_unknown_kind_ends_the_list_but_not_the_reading() -> None:
    data = bytearray(DATAGRAM)
    data[28 + 8 + 2] = 9  # the second item, the import counter
    assert decode(bytes(data)).items == {"1.4.0": 6347}


@given(st.integers(0, 599), st.integers(0, 255), st.integers(0, 600))
def test_mutated_and_cut_ones_raise_nothing_else(at: int, byte: int, length: int) -> None:
    data = bytearray(DATAGRAM)
    data[at] = byte
    try:
        datagram = decode(bytes(data[:length]))
    except ValueError:
        return
    assert all(0 <= value < 2**64 for value in datagram.items.values())


@given(st.binary(max_size=700))
def test_random_bytes_raise_nothing_else(tail: bytes) -> None:
    for data in (tail, DATAGRAM[:18] + tail, DATAGRAM[:28] + tail):
        try:
            decode(data)
        except ValueError:
            continue
