from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.modbus.plan import Block, Span, plan
from agent.drivers.modbus.split import halves, joined

SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([1, 2, 4])), min_size=1, max_size=30, unique=True
).map(lambda items: [Span("holding", address, width, slot) for slot, (address, width) in enumerate(items)])


def bisected(block: Block, bad: set[int], most: int) -> Iterator[tuple[Block, bool]]:
    """Every piece that is left, and whether the device answers it."""
    if block.width <= most and not bad & set(range(block.address, block.end)):
        yield block, True
    elif parts := halves(block):
        for part in parts:
            yield from bisected(part, bad, most)
    else:
        yield block, False


@given(SPANS, st.sets(st.integers(0, 63), max_size=5), st.integers(4, 70))
def test_only_values_that_share_a_bad_register_are_lost(spans: list[Span], bad: set[int], most: int) -> None:
    for block in plan(spans, max_gap=20):
        pieces = list(bisected(block, bad, most))
        assert sorted(span for piece, _ in pieces for span in piece.spans) == sorted(block.spans)
        for piece, answered in pieces:
            if not answered:
                touched = set(range(piece.address, piece.end))
                assert touched & bad or piece.width > most
                assert halves(piece) is None


@given(SPANS)
def test_a_cut_goes_through_no_value(spans: list[Span]) -> None:
    for block in plan(spans, max_gap=20):
        if parts := halves(block):
            low, high = parts
            assert low.end <= high.address
            assert low.spans + high.spans == block.spans


@given(SPANS, st.integers(4, 125))
def test_joining_loses_nothing_and_bridges_no_hole(spans: list[Span], most: int) -> None:
    blocks = plan(spans, max_registers=4)
    together = joined(reversed(blocks), max_registers=most, max_bits=2000)
    assert [span for block in together for span in block.spans] == [s for b in blocks for s in b.spans]
    assert all(block.width <= max(most, 4) for block in together)
    covered = {address for span in spans for address in range(span.address, span.end)}
    assert {address for block in together for address in range(block.address, block.end)} == covered


def test_forty_values_and_one_bad_are_two_requests_in_the_end() -> None:
    (block,) = plan([Span("input", 2 * at, 2, at) for at in range(40)])
    pieces = list(bisected(block, {26, 27}, 125))
    good = joined((piece for piece, answered in pieces if answered), max_registers=125, max_bits=2000)
    assert [(each.address, each.width) for each in good] == [(0, 26), (28, 52)]
    assert [(piece.address, piece.width) for piece, answered in pieces if not answered] == [(26, 2)]


def test_bits_join_up_to_their_own_limit() -> None:
    blocks = plan([Span("coil", at, 1, at) for at in range(400)], max_bits=16)
    (block,) = joined(blocks, max_registers=125, max_bits=2000)
    assert block.width == 400
