"""Who answers: echoes, zeros and gateways are not devices; models are told by what only they have."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commissioning.identify import (
    ECHO,
    Answer,
    Ask,
    Match,
    Presence,
    Refused,
    asks,
    identification,
    is_echo,
    presence,
)
from tests.drivers.profiles.datasheets import DATASHEETS
from tests.drivers.profiles.reading import modbus

PROFILES = {name: modbus(name) for name in DATASHEETS}
Bus = Callable[[Ask], Answer]
Verdict = TypeVar("Verdict")


def run(steps: Generator[Ask, Answer, Verdict], bus: Bus) -> tuple[Verdict, list[Ask]]:
    asked: list[Ask] = []
    try:
        ask = next(steps)
        while True:
            asked.append(ask)
            ask = steps.send(bus(ask))
    except StopIteration as end:
        verdict: Verdict = end.value
        return verdict, asked


def device(unit_id: int, tables: dict[str, dict[int, int]], holes: int | None = None) -> Bus:
    """One that refuses what it has not, or answers `holes` there, and hears only its own address."""

    def answer(ask: Ask) -> Answer:
        if ask.unit_id != unit_id:
            return None
        table, wanted = tables.get(ask.table), range(ask.address, ask.address + ask.width)
        if table is None:
            return Refused(1)
        if holes is None and not all(at in table for at in wanted):
            return Refused(2)
        return tuple(table.get(at, holes or 0) for at in wanted)

    return answer


def floats(values: dict[int, float], order: str = "ABCD") -> dict[int, int]:
    registers: dict[int, int] = {}
    for at, value in values.items():
        data = struct.pack(">f", value)
        data = {"ABCD": data, "CDAB": data[2:] + data[:2], "DCBA": data[::-1]}[order]
        registers |= dict(zip((at, at + 1), struct.unpack(">2H", data), strict=True))
    return registers


SDM630 = device(
    7,
    {
        "input": floats({0: 221.9, 2: 230.2, 4: 233.4, 70: 50.02}),
        "holding": floats({0x0A: 3.0, 0x14: 7.0}),
    },
    holes=0,
)
SDM120 = device(7, {"input": floats({0: 221.9, 70: 60.0}), "holding": floats({0x14: 7.0})})
PZEM_INPUT = dict(enumerate([2257, 108, 0, 244, 0, 38, 0, 500, 100, 0]))
PZEM = device(1, {"input": PZEM_INPUT, "holding": {1: 2300, 2: 1}})
XY_MD02 = device(9, {"input": {1: 285, 2: 639}, "holding": {0x0101: 9, 0x0102: 9600, 0x0103: 0, 0x0104: 0}})
B23 = device(
    3,
    {"holding": {0x8960: 0x4232, 0x8961: 0x3320, 0x5B00: 0, 0x5B01: 2303, 0x5B2C: 6000}},
)
INTESIS = device(5, {"holding": dict.fromkeys(range(60), 0) | {0: 1, 1: 4, 4: 235, 49: 0x0F00}})
EMBRASUL = device(1, {"holding": {11: 7} | floats({66: 60.0, 68: 127.1}, "CDAB")}, holes=0)
KRON = device(254, {"input": floats({10: 127.1, 26: 60.0}, "DCBA")}, holes=0)
IEM3155 = device(1, {"holding": floats({3027: 127.0, 3109: 60.0}) | {129: 0x12, 130: 0x3456}})
PM5560 = device(1, {"holding": floats({3027: 127.0, 3109: 60.0, 21329: 1.9})})


@pytest.mark.parametrize(
    ("bus", "unit_id", "name"),
    [
        (SDM630, 7, "eastron-sdm630"),
        (SDM120, 7, "eastron-sdm120"),
        (PZEM, 1, "pzem-004t"),
        (XY_MD02, 9, "xy-md02"),
        (B23, 3, "abb-b23"),
        (INTESIS, 5, "intesis-ac"),
        (EMBRASUL, 1, "embrasul-md30"),
        (KRON, 254, "kron-konect"),
        (IEM3155, 1, "schneider-iem3155"),
        (PM5560, 1, "schneider-pm5xxx"),
    ],
)
def test_models(bus: Bus, unit_id: int, name: str) -> None:
    matches, asked = run(identification(unit_id, PROFILES), bus)
    assert matches[0].profile == name
    assert matches[0].seen
    others = {match.profile for match in matches if match.strength == matches[0].strength} - {name}
    assert others <= {"pzem-016"}  # has the very map of the PZEM-004T
    assert len(asked) == len(set(asked)) <= asks(PROFILES.values())
    found, _ = run(presence(unit_id), bus)
    assert found is Presence.DEVICE


def test_an_sdm630_is_rather_that_than_an_sdm120() -> None:
    matches, _ = run(identification(7, PROFILES), SDM630)
    assert [match.profile for match in matches] == ["eastron-sdm630", "eastron-sdm120"]
    assert "holding 20: 7, its own address" in matches[0].seen


def zeros(ask: Ask) -> Answer:
    return (0,) * ask.width if ask.unit_id == 1 else None


def echo(ask: Ask) -> Answer:
    return ECHO


def gateway(ask: Ask) -> Answer:
    return Refused(11)


def nobody(ask: Ask) -> Answer:
    return None


@pytest.mark.parametrize(
    ("bus", "verdict"),
    [
        (zeros, Presence.ONLY_ZEROS),
        (echo, Presence.ECHO),
        (gateway, Presence.EVERY_ADDRESS),
        (nobody, Presence.SILENT),
    ],
)
def test_what_is_not_a_device(bus: Bus, verdict: Presence) -> None:
    assert run(presence(1), bus)[0] is verdict
    assert run(identification(1, PROFILES), bus)[0] == []


def test_one_answer_may_be_chance() -> None:
    left = [(1, 2)]
    assert run(presence(1), lambda ask: left.pop() if left else None)[0] is Presence.ONCE


def test_a_device_of_zeros_that_knows_its_map_is_one() -> None:
    """A meter on a dead circuit reads zero, and refuses what it has not."""
    idle = device(4, {"input": dict.fromkeys(range(10), 0), "holding": dict.fromkeys(range(10), 0)})
    assert run(presence(4), idle)[0] is Presence.DEVICE


def test_an_echo_is_told_by_its_bytes() -> None:
    request = bytes.fromhex("01 03 00 00 00 02 C4 0B")
    assert is_echo(request, request)
    assert is_echo(request, request + b"\x01\x03")
    assert not is_echo(request, bytes.fromhex("01 03 04 00 00 00 00 FA 33"))
    assert not is_echo(request, b"")


@given(st.integers(1, 254), st.data())
def test_any_answers_lead_to_an_end(unit_id: int, data: st.DataObject) -> None:
    words = st.lists(st.integers(0, 65535), max_size=6)
    answers = st.one_of(st.none(), st.just(ECHO), st.builds(Refused, st.integers(0, 255)), words)

    def bus(ask: Ask) -> Answer:
        assert ask.unit_id != 0
        assert 1 <= ask.unit_id <= 254
        return data.draw(answers)

    run(presence(unit_id), bus)
    matches: list[Match]
    matches, asked = run(identification(unit_id, PROFILES), bus)
    assert len(asked) <= asks(PROFILES.values())
    assert all(match.strength > 0 for match in matches)
