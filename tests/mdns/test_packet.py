"""DNS messages from strangers and to them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.mdns import packet
from agent.mdns.packet import Question, Record


def test_what_is_written_is_read() -> None:
    own = Record("uicps lab \\. 1._uicps._tcp.local", packet.PTR, 4500, packet.encoded("x.local"), flush=True)
    found = packet.parse(packet.message([own], [Question("_uicps._tcp.local", packet.PTR)], number=7))
    assert (found.id, found.is_query, found.answers) == (7, False, [own])
    assert found.questions == [Question("_uicps._tcp.local", packet.PTR)]
    asked = packet.parse(packet.message(questions=[Question("a.local", packet.ANY)]))
    assert (asked.is_query, asked.answers) == (True, [])


def test_a_compressed_name() -> None:
    head = bytes((0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0))
    name = b"\x06_uicps\x04_tcp\x05LOCAL\0"
    data = b"\x03box\xc0\x0c"
    record = bytes((0, 12, 0, 1, 0, 0, 0, 9, 0, len(data)))
    (found,) = packet.parse(head + name + record + data).answers
    assert found == Record("_uicps._tcp.local", packet.PTR, 9, packet.encoded("box._uicps._tcp.local"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 11,
        b"\0\0\0\0\0\1\0\0\0\0\0\0",  # a question that is not there
        b"\0\0\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\x0c\0\1",  # a name that points at itself
        b"\0\0\0\0\0\1\0\0\0\0\0\0\xc0\x0e\xc0\x0c\0\x0c\0\1",  # two that point at each other
        b"\0\0\0\0\xff\xff\0\0\0\0\0\0",
        b"\0\0\x84\0\0\0\0\1\0\0\0\0\0\0\x0c\0\1\0\0\0\1\xff\xff",  # longer than it is
    ],
)
def test_nonsense(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        packet.parse(data)


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 20))
def test_nothing_else_escapes(noise: bytes, at: int) -> None:
    good = packet.message([Record("a.local", packet.A, 9, b"\x7f\0\0\1")], [Question("b.local", packet.PTR)])
    for data in (noise, good[:at] + noise, good[: 12 + at] + noise):
        try:
            packet.parse(data)
        except ValueError:
            continue


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="labels of at most 63 bytes"):
        packet.encoded("x" * 64 + ".local")


def test_texts() -> None:
    assert packet.text([("site", "lab"), ("x", "y" * 300)])[:10] == b"\x08site=lab\xff"
    assert packet.text([]) == b"\0"
