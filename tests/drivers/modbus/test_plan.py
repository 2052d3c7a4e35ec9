import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.modbus.plan import Span, plan

spans = st.lists(
    st.tuples(st.sampled_from(["holding", "input"]), st.integers(0, 400), st.sampled_from([1, 2, 4])),
    max_size=60,
).map(lambda items: [Span(table, address, width, slot) for slot, (table, address, width) in enumerate(items)])


@given(spans, st.integers(4, 125), st.integers(0, 20), st.randoms())
def test_every_value_is_read_whole_and_once_within_the_limits(
    wanted: list[Span], max_registers: int, max_gap: int, rand: object
) -> None:
    blocks = plan(wanted, max_registers=max_registers, max_gap=max_gap)
    assert sorted(span for block in blocks for span in block.spans) == sorted(wanted)
    for block in blocks:
        assert 1 <= block.width <= max_registers
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


@given(spans, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(wanted: list[Span], rand: object) -> None:
    shuffled = wanted[:]
    rand.shuffle(shuffled)  # type: ignore[attr-defined]
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
