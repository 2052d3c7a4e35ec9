"""Bytes in, values out: cut, garbled, doubled and endless ones too."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.serial.checksum import checksum
from agent.drivers.serial.decode import Decoded, Decoder, Refused
from agent.drivers.serial.profile import SerialProfile
from tests.drivers.serial.profiles import BINARY, JSON, KEYED, NMEA, PLAIN, profile


def good(decoder: Decoder, data: bytes) -> list[Decoded]:
    return [result for result in decoder.feed(data) if isinstance(result, Decoded)]


def refused(shape: SerialProfile, data: bytes) -> str:
    (result,) = Decoder(shape).feed(data)
    assert isinstance(result, Refused)
    return f"{result.counter}: {result.text}"


def nmea(body: str) -> bytes:
    return f"${body}*{checksum('xor', body.encode()):02X}\r\n".encode()


def frame(temperature: int = 235, voltage: float = 127.5, flags: int = 8, counter: int = 41) -> bytes:
    body = b"\xaa\x55" + struct.pack(">h", temperature) + struct.pack("<f", voltage) + bytes([flags, counter])
    return body + checksum("crc16-modbus", body).to_bytes(2, "little") + b"\r"


def test_positional_fields_are_scaled_as_decimals() -> None:
    decoder = Decoder(PLAIN)
    assert good(decoder, b"cut,9\n2203,-1500\n3,7.25e1\r\n") == [
        ("", 0, [220.3, -1500.0]),
        ("", 0, [0.3, 72.5]),
    ]
    assert decoder.counters == {"frames": 2, "garbage_bytes": 5}


def test_the_first_line_without_a_start_mark_may_be_cut_and_is_not_believed() -> None:
    """ "12203,150" cut to "203,150" would read as 20.3 V."""
    assert good(Decoder(PLAIN), b"203,150\n") == []
    assert good(Decoder(JSON), b'{"h": 0.5}\n') != []


def test_sentences_go_to_the_group_they_match() -> None:
    decoder = Decoder(NMEA)
    data = b"31*00\r\n" + nmea("WIMWV,214.8,R,0.1,K,A") + nmea("WIMTA,21.5,C") + nmea("WIMWV,1,R,,K,A")
    results = good(decoder, data)
    assert [result.group for result in results] == [0, 1, 0]
    assert results[0].values == [0.1]
    assert results[1].values == [21.5]
    assert math.isnan(results[2].values[0])
    assert decoder.counters["malformed"] == 1  # the cut one: it has no start
    assert refused(NMEA, nmea("WIXDR,1")).startswith("unmatched: expected a frame that one of the groups")


def test_a_garbled_line_is_counted_and_the_next_one_read() -> None:
    decoder = Decoder(NMEA)
    whole = nmea("WIMTA,21.5,C")
    garbled = whole.replace(b"21.5", b"29.5")
    assert good(decoder, garbled + b"\xff\x00noise" + whole) == [("", 1, [21.5])]
    assert decoder.counters["checksum_errors"] == 1
    assert decoder.counters["garbage_bytes"] == 7


def test_a_start_in_the_middle_of_a_line_begins_anew() -> None:
    assert good(Decoder(NMEA), b"$WIMTA,2" + nmea("WIMTA,21.5,C")) == [("", 1, [21.5])]


def test_keyed_fields_suffixes_codes_and_ids() -> None:
    decoder = Decoder(KEYED)
    (first, second) = good(decoder, b"\nid=a7 T=23.5C  H=40%  relay=ON\nid=b relay=OFF T=--\n")
    assert first == ("a7", 0, [23.5, 40.0, 1.0])
    assert second.id == "b"
    assert second.values[2] == 0.0
    assert all(map(math.isnan, second.values[:2]))


def test_decimal_comma() -> None:
    shape = profile(
        {"format": "text", "separator": ";", "decimal_comma": True}, {"name": "t", "field": 0, "scale": 0.1}
    )
    assert good(Decoder(shape), b"\n23,5;1\n") == [("", 0, [2.35])]


def test_a_check_that_covers_start_and_mark_in_16_bits() -> None:
    check = {"kind": "crc16-ccitt", "after": "!", "covers_start": True, "covers_after": True}
    shape = profile(
        {"format": "text", "start": "/", "checksum": check | {"order": "little"}}, {"name": "t", "field": 0}
    )
    value = checksum("crc16-ccitt", b"/12.5!")
    assert good(Decoder(shape), b"/12.5!" + value.to_bytes(2, "little").hex().encode() + b"\n") == [
        ("", 0, [12.5])
    ]
    wrong = Decoder(shape)
    assert good(wrong, b"/12.5!" + value.to_bytes(2, "big").hex().encode() + b"\n/12.5\n/12.5!123\n") == []
    assert wrong.counters["checksum_errors"] == 3


def test_json_paths_booleans_and_nothing() -> None:
    decoder = Decoder(JSON)
    (full, part) = good(
        decoder, b'{"bme": {"t": 21.5}, "h": 0.47, "on": true}\n{"h": null, "bme": {"t": 2}}\n'
    )
    assert full.values == [21.5, 47.0, 1.0]
    assert part.values[0] == 2.0
    assert all(map(math.isnan, part.values[1:]))


@pytest.mark.parametrize(
    ("shape", "line", "words"),
    [
        (JSON, b"hello", "malformed: expected JSON"),
        (JSON, b"[1]", "malformed: expected a JSON object"),
        (JSON, b'{"h": "x"}', "humidity: expected a number, found 'x'"),
        (JSON, b'{"h": [1]}', "humidity: expected a number"),
        (JSON, b'{"other": 1}', "has none of the keys"),
        (KEYED, b"\nid=a T=2x.5C", "temperature: expected a number, found '2x.5C' in 'id=a T=2x.5C'"),
        (KEYED, b"\n\xff\xfe=1", "malformed: expected text"),
        (PLAIN, b"\n1", "active_power: expected field 1, found 1 fields"),
        (PLAIN, b"\n1,nan", "active_power: expected a number, found 'nan'"),
        (PLAIN, b"\n1,1_0", "active_power: expected a number, found '1_0'"),
    ],
)
def test_what_cannot_be_read_says_why(shape: SerialProfile, line: bytes, words: str) -> None:
    assert words in refused(shape, line + b"\n")


def test_too_large_a_number_is_not_available() -> None:
    (result,) = good(Decoder(PLAIN), b"\n1e999,1e308\n")
    assert math.isnan(result.values[0])
    assert result.values[1] == 1e308


def test_binary_fields() -> None:
    decoder = Decoder(BINARY)
    assert good(decoder, frame()) == [("", 0, [23.5, 127.5, 1.0, 42.0])]
    (other,) = good(decoder, frame(temperature=-32768, voltage=math.nan, flags=0xF7))
    assert math.isnan(other.values[0])
    assert math.isnan(other.values[1])
    assert other.values[2:] == [0.0, 42.0]


def test_binary_resynchronises_behind_start_bytes_that_are_data() -> None:
    decoder = Decoder(BINARY)
    data = b"\x00\xaa" + b"\xaa\x55" + frame() + b"\xaa\x55\x01" + frame(flags=0)
    results = good(decoder, data)
    assert [result.values[2] for result in results] == [1.0, 0.0]
    assert decoder.counters["checksum_errors"] + decoder.counters["malformed"] >= 1


def test_binary_without_start_is_found_by_its_check_alone() -> None:
    shape = profile(
        {"format": "binary", "length": 4, "checksum": {"kind": "crc16-ccitt"}}, {"name": "x", "at": 1}
    )
    body = bytes([1, 77])
    whole = body + checksum("crc16-ccitt", body).to_bytes(2, "big")
    assert good(Decoder(shape), b"\x09\x08" + whole + whole)[-1].values == [77.0]


def test_a_half_frame_is_forgotten_after_a_gap() -> None:
    decoder = Decoder(profile({"format": "binary", "start": "AA", "length": 4}, {"name": "x", "at": 1}))
    assert good(decoder, b"\xaa\x01") == []
    decoder.forget()
    assert good(decoder, b"\xaa\x07\x00\x00") == [("", 0, [7.0])]
    assert decoder.counters["stale"] == 1


def test_an_endless_line_is_dropped_and_memory_is_bounded() -> None:
    decoder = Decoder(JSON)
    for _ in range(100):
        assert decoder.feed(b"x" * 500) == []
    assert len(decoder._framer._buffer) < 2000
    (result,) = good(decoder, b'\n{"h": 1}\n')
    assert result.values[1] == 100.0
    assert decoder.counters["overflow"] > 0
    binary = Decoder(BINARY)
    for _ in range(100):
        binary.feed(b"\xaa" * 500)
    assert len(binary._framer._buffer) < 20


SHAPES = [PLAIN, NMEA, KEYED, JSON, BINARY]
STREAM = nmea("WIMTA,21.5,C") + b'{"h": 0.5}\n2203,15\n' + b"id=a T=1C\n" + frame()


@given(
    st.sampled_from(SHAPES),
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([STREAM, frame(), nmea("WIMTA,1,C")]))),
)
def test_no_bytes_raise(shape: SerialProfile, chunks: list[bytes]) -> None:
    decoder = Decoder(shape)
    for chunk in chunks:
        for result in decoder.feed(chunk):
            if isinstance(result, Decoded):
                assert not any(map(math.isinf, result.values))


@given(st.lists(st.integers(1, 20), max_size=30), st.sampled_from(SHAPES))
def test_how_the_bytes_are_cut_does_not_matter(cuts: list[int], shape: SerialProfile) -> None:
    stream = b"\n" + STREAM * 2
    whole = Decoder(shape).feed(stream)
    decoder, pieces, at = Decoder(shape), [], 0
    for cut in [*cuts, len(stream)]:
        pieces += decoder.feed(stream[at : at + cut])
        at += cut
    assert json.dumps(pieces) == json.dumps(whole)


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_a_whole_frame_survives_any_noise_around_it(before: bytes, after: bytes) -> None:
    found = good(Decoder(BINARY), before + frame() + after + b"\x00" * 13)
    assert ("", 0, [23.5, 127.5, 1.0, 42.0]) in found
