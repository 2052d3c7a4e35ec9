import math
import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.modbus.codec import Coding, decoder
from agent.drivers.modbus.layout import layout
from agent.drivers.modbus.plan import Span, plan
from agent.drivers.modbus.profile import EXPONENT

from .lines import profile_of

TABLES = st.sampled_from(["coil", "discrete", "holding", "input"])
SPANS = st.lists(
    st.tuples(TABLES, st.integers(0, 400), st.sampled_from([1, 2, 4])),
    max_size=60,
).map(
    lambda items: [
        Span(table, address, 1 if table in ("coil", "discrete") else width, slot)
        for slot, (table, address, width) in enumerate(items)
    ]
)


@given(SPANS, st.integers(4, 125), st.integers(1, 2000), st.integers(0, 20))
def test_every_value_is_read_whole_and_once_within_the_limits(
    wanted: list[Span], max_registers: int, max_bits: int, max_gap: int
) -> None:
    blocks = plan(wanted, max_registers=max_registers, max_bits=max_bits, max_gap=max_gap)
    assert sorted(span for block in blocks for span in block.spans) == sorted(wanted)
    for block in blocks:
        assert 1 <= block.width <= (max_bits if block.table in ("coil", "discrete") else max_registers)
        covered = set()
        for span in block.spans:
            assert block.table == span.table
            assert block.address <= span.address
            assert span.address + span.width <= block.end
            covered.update(range(span.address, span.address + span.width))
        filler = sorted(set(range(block.address, block.end)) - covered)
        longest = run = 0
        for at, address in enumerate(filler):
            run = run + 1 if at and filler[at - 1] == address - 1 else 1
            longest = max(longest, run)
        assert longest <= max_gap


@given(SPANS, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(wanted: list[Span], rand: Random) -> None:
    shuffled = wanted[:]
    rand.shuffle(shuffled)
    assert plan(wanted) == plan(shuffled)


def block_list(addresses: list[tuple[int, int]], **limits: int) -> list[tuple[int, int]]:
    found = plan([Span("input", a, w, i) for i, (a, w) in enumerate(addresses)], **limits)
    return [(block.address, block.width) for block in found]


def test_neighbours_merge_and_holes_split() -> None:
    assert block_list([(0, 2), (2, 2), (4, 2)]) == [(0, 6)]
    assert block_list([(0, 2), (3, 2)]) == [(0, 2), (3, 2)]
    assert block_list([(0, 2), (3, 2)], max_gap=1) == [(0, 5)]


def test_a_long_value_is_never_torn() -> None:
    assert block_list([(0, 2), (2, 2), (4, 2)], max_registers=5) == [(0, 4), (4, 2)]
    with pytest.raises(ValueError, match="4 registers does not fit in 2"):
        plan([Span("input", 0, 4, 0)], max_registers=2)


def test_the_same_register_may_serve_two_points() -> None:
    assert block_list([(10, 1), (10, 1), (10, 2)]) == [(10, 2)]


POINTS = st.lists(
    st.tuples(
        st.integers(0, 200), st.sampled_from(["u16", "s32", "f32", "s64"]), st.none() | st.integers(0, 200)
    ),
    min_size=1,
    max_size=30,
)


@given(POINTS, st.integers(0, 20))
def test_scale_registers_are_read_in_the_same_plan_once(
    points: list[tuple[int, str, int | None]], max_gap: int
) -> None:
    declared = [
        {"name": f"p{at}", "address": address, "type": kind}
        | ({} if register is None else {"scale_register": register})
        for at, (address, kind, register) in enumerate(points)
    ]
    profile = profile_of(declared, max_gap=max_gap)
    (group,) = profile.group
    spans = [span for block in profile.blocks(group) for span in block.spans]
    registers = {register for _, _, register in points if register is not None}
    assert sorted(span.slot for span in spans) == list(range(len(points) + len(registers)))
    assert {span.address for span in spans if span.slot >= len(points)} == registers
    assert profile.codings(group)[len(points) :] == [EXPONENT] * len(registers)


CODINGS = st.builds(
    Coding,
    kind=st.sampled_from(["bool", "u16", "s16", "u32", "s64", "f32", "f64"]),
    order=st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]),
    scale=st.sampled_from([1, 0.1]),
)


@given(
    st.lists(st.tuples(st.integers(0, 40), CODINGS), min_size=1, max_size=20),
    st.binary(min_size=90, max_size=90),
    st.integers(0, 40),
)
def test_a_whole_answer_decodes_as_its_values_one_by_one(
    points: list[tuple[int, Coding]], image: bytes, max_gap: int
) -> None:
    """The fast way and the plain one agree, also where values share registers."""
    registers = struct.unpack(">45H", image)
    codings = [coding for _, coding in points]
    width = {"bool": 1, "u16": 1, "s16": 1, "u32": 2, "f32": 2, "s64": 4, "f64": 4}
    spans = [Span("input", at, width[coding.kind], slot) for slot, (at, coding) in enumerate(points)]
    values = [math.nan] * len(points)
    for block in plan(spans, max_gap=max_gap):
        answer = struct.pack(f">BB{block.width}H", 4, 2 * block.width, *registers[block.address : block.end])
        layout(block, codings)(answer, values)
    one_by_one = [decoder(coding)(registers, at) for at, coding in points]
    assert list(map(repr, values)) == list(map(repr, one_by_one))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40, unique=True), st.randoms(use_true_random=False))
def test_bits_decode_from_where_they_lie(addresses: list[int], rand: Random) -> None:
    image = [rand.randrange(2) for _ in range(301)]
    spans = [Span("coil", address, 1, slot) for slot, address in enumerate(addresses)]
    values = [math.nan] * len(addresses)
    for block in plan(spans, max_gap=100):
        bits = image[block.address : block.end]
        packed = sum(bit << at for at, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")
        layout(block, [Coding("bool")] * len(addresses))(bytes((1, len(packed))) + packed, values)
    assert values == [float(image[address]) for address in addresses]
