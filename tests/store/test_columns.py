import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.store import columns

INT64 = st.integers(-(2**63), 2**63 - 1)
ANY_BITS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
DECIMAL = st.builds(lambda whole, places: whole / 10**places, st.integers(-(10**7), 10**7), st.integers(0, 6))
VALUE = st.one_of(
    DECIMAL,
    st.floats(),
    st.floats(width=32),
    ANY_BITS,
    st.sampled_from([math.nan, -0.0, 0.0, 230.2, 5e-324, 1.7976931348623157e308, math.inf, 2.0**53, 1e22]),
)


@given(st.lists(INT64, min_size=1, max_size=50))
def test_whole_numbers_come_back(values: list[int]) -> None:
    packed = columns.encode_ints(np.array(values, np.int64))
    assert columns.decode_ints(packed, len(values)).tolist() == values


@given(st.lists(st.lists(VALUE, min_size=3, max_size=3), min_size=1, max_size=80))
def test_values_come_back_to_the_bit(rows: list[list[float]]) -> None:
    matrix = np.array(rows)
    packed = columns.encode_floats(matrix)
    for at, column in enumerate(packed):
        assert columns.decode_floats(column, len(rows)).tobytes() == matrix[:, at].tobytes()


@given(st.integers(0, 9), st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=300), st.data())
def test_decimals_with_holes_come_back_to_the_bit(scale: int, whole: list[int], data: st.DataObject) -> None:
    values = np.array(whole) / 10.0**scale
    for at in data.draw(st.sets(st.integers(0, len(whole) - 1), max_size=5)):
        values[at] = data.draw(VALUE)
    (packed,) = columns.encode_floats(values[:, None])
    assert columns.decode_floats(packed, len(whole)).tobytes() == values.tobytes()


RANDOM = np.random.default_rng(7)
N = 1500
SELDOM = np.arange(N) % 100 == 7
METER = {
    "voltage": (np.round(230 + RANDOM.normal(0, 0.4, N), 1), 0.7),
    "power": (np.round(1000 + RANDOM.normal(0, 20, N), 1), 1.7),
    "energy": (np.round(123456 + np.arange(N) * 0.01, 2), 0.1),
    "a code": (np.repeat([2.0, 4.0, 2.0], N // 3), 0.1),
    "not available": (np.full(N, np.nan), 0.1),
    "seldom away": (np.where(np.arange(N) % 100 == 7, np.nan, np.round(RANDOM.normal(50, 0.01, N), 2)), 0.8),
    "a zero of either sign": (
        np.where(np.arange(N) % 100 == 7, -0.0, np.round(RANDOM.normal(9, 1, N), 1)),
        1.1,
    ),
    "any float": (RANDOM.normal(0, 1, N), 8.1),
}


@pytest.mark.parametrize("name", METER)
def test_what_a_meter_says_is_small(name: str) -> None:
    values, bytes_max = METER[name]
    (packed,) = columns.encode_floats(values[:, None])
    assert len(packed) / N < bytes_max
    assert columns.decode_floats(packed, N).tobytes() == values.tobytes()


def test_times_at_a_steady_pace_cost_next_to_nothing() -> None:
    times_ms = 1_700_000_000_000 + np.arange(N) * 1000 + RANDOM.integers(0, 3, N)
    assert len(columns.encode_ints(times_ms)) / N < 0.6
