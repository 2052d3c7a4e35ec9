import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import NAN, Reading
from agent.uplink import payload
from tests.conftest import group_of


def one(values: tuple[float, ...], bytes_max: int = 60_000) -> list[dict]:
    reading = Reading(group_of(count=len(values)), 1700000000123, values)
    return [json.loads(entry) for entry, _ in payload.entries(reading, bytes_max, 1000)]


def test_a_reading_is_a_timed_record() -> None:
    assert one((230.2, 0.0, -1.5)) == [{"ts": 1700000000123, "values": {"p0": 230.2, "p1": 0.0, "p2": -1.5}}]


def test_what_is_not_available_is_left_out() -> None:
    assert one((NAN, 1.0)) == [{"ts": 1700000000123, "values": {"p1": 1.0}}]
    assert one((NAN, NAN)) == []
    assert one((math.inf, -math.inf, 2.0, 3.4e38, -(2.0**63))) == [
        {"ts": 1700000000123, "values": {"p2": 2.0}}
    ]


def test_a_whole_number_is_a_float_however_it_was_published() -> None:
    """It comes back from the disk as one: the same value must not come as two types."""
    for values in ((230.0, 7.0), (230, 7)):
        ((entry, _),) = payload.entries(Reading(group_of(), 5, values), 60_000, 1000)
        assert entry == b'{"ts":5,"values":{"p0":230.0,"p1":7.0}}'


@given(st.floats(-(2.0**63) + 2048, 2.0**63 - 2048))
def test_no_decimal_is_long_enough_to_be_stored_as_text(value: float) -> None:
    reading = Reading(group_of(count=1), 0, (value,))
    ((entry, _),) = payload.entries(reading, 60_000, 1000)
    number = entry.split(b":")[-1].strip(b"}").decode()
    assert -Decimal(number).as_tuple().exponent <= 16
    assert "." in number or "e" in number  # a whole float stays a float
    assert float(number) == pytest.approx(value, abs=1e-15)


@given(st.integers(1, 400), st.integers(1, 30), st.integers(200, 2000))
def test_messages_keep_within_the_limit_and_lose_nothing(points: int, readings: int, bytes_max: int) -> None:
    group = group_of("meter", points)
    sent = [Reading(group, 1000 + at, tuple(float(at + p) for p in range(points))) for at in range(readings)]
    found: dict[tuple[int, str], float] = {}
    for message, count in payload.messages("meter", sent, bytes_max, 100):
        assert len(message) <= bytes_max
        assert count <= 100
        for entry in json.loads(message)["meter"]:
            for name, value in entry["values"].items():
                assert (entry["ts"], name) not in found
                found[entry["ts"], name] = value
    assert found == {(r.time_ms, f"p{p}"): v for r in sent for p, v in enumerate(r.values)}


def test_the_gateway_itself_speaks_in_plain_lists() -> None:
    ((message, _),) = payload.messages(None, [Reading(group_of(count=1), 5, (1.0,))], 60_000)
    assert json.loads(message) == [{"ts": 5, "values": {"p0": 1.0}}]
    assert list(payload.messages("m", [group_of().bad(5)], 60_000)) == []
