"""Each number is taken at most once, losses are counted rightly: against models that remember everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.udp.window import FULL, SPAN_SAMPLES_MAX, WINDOW, ReplayWindow, SampleRecord, Verdict

NEAR = st.lists(st.integers(1, 300), max_size=400)
ANY = st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 200), max_size=100)
USED = (Verdict.NEW, Verdict.LATE)


@given(NEAR | ANY)
def test_no_number_is_taken_twice_and_none_behind_the_window(numbers: list[int]) -> None:
    if not numbers:
        return
    window, taken = ReplayWindow.opened_by(numbers[0]), set[int]()
    for seq in numbers:
        highest = max(taken, default=seq - 1)
        verdict = window.take(seq)
        if verdict in USED:
            assert seq not in taken
            assert seq > highest - WINDOW
            assert (verdict is Verdict.NEW) == (seq > highest)
            taken.add(seq)
        elif verdict is Verdict.REPEATED:
            assert seq in taken or seq < numbers[0]
        else:
            assert seq <= highest - WINDOW
        assert 0 <= window.mask <= FULL


@given(NEAR)
def test_every_number_inside_the_window_that_did_not_come_is_taken(numbers: list[int]) -> None:
    window, taken = ReplayWindow(), set[int]()
    window.mask = 0
    for seq in numbers:
        inside = seq > window.highest - WINDOW
        assert (window.take(seq) in USED) == (inside and seq not in taken)
        if inside:
            taken.add(seq)


@given(st.lists(st.booleans(), min_size=1, max_size=500))
def test_lost_are_those_that_left_the_window_without_having_come(came: list[bool]) -> None:
    window = ReplayWindow.opened_by(1)
    window.take(1)
    for seq, arrived in enumerate(came, 2):
        if arrived:
            window.take(seq)
    end = len(came) + 2 + WINDOW
    window.take(end)  # all before has left the window
    assert window.lost == sum(not arrived for arrived in came) + (end - len(came) - 2) - (WINDOW - 1)


def test_a_window_that_is_restored_takes_nothing_up_to_its_limit() -> None:
    window = ReplayWindow(1000)
    assert {window.take(seq) for seq in range(937, 1001)} == {Verdict.REPEATED}
    assert window.take(936) is Verdict.STALE
    assert window.take(1001) is Verdict.NEW
    assert window.lost == 0


def test_before_the_first_of_a_long_boot_nothing_is_missed() -> None:
    window = ReplayWindow.opened_by(5000)
    assert window.take(5000) is Verdict.NEW
    assert window.take(4999) is Verdict.REPEATED
    window.take(5001)
    assert window.lost == 0


@given(NEAR)
def test_no_sample_is_taken_twice_and_all_are_that_were_not_given_up(numbers: list[int]) -> None:
    record, taken = SampleRecord(1), set[int]()
    for number in numbers:
        assert record.take(number) == (number not in taken)
        taken.add(number)
        assert record.newest == max(taken)
        assert record.base == next(n for n in range(1, 500) if n not in taken)
        bits = record.bits(40)
        beyond = {record.base + at for at in range(8 * len(bits)) if bits[at // 8] >> at % 8 & 1}
        assert beyond | set(range(1, record.base)) == taken


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**32 - 1) | st.integers(0, 300)), max_size=100))
def test_a_record_stays_small_whatever_it_is_told(steps: list[tuple[bool, int]]) -> None:
    record = SampleRecord(1)
    for gives_up, number in steps:
        base = record.base
        if gives_up:
            record.give_up_before(number)
        else:
            record.take(number)
        assert record.base >= base
        assert record.mask.bit_length() <= SPAN_SAMPLES_MAX
        assert len(record.bits(32)) <= 32
        assert record.lost >= 0


def test_what_is_given_up_is_lost_once() -> None:
    record = SampleRecord(1)
    for number in (1, 2, 5, 6, 9):
        record.take(number)
    record.give_up_before(8)
    assert (record.base, record.lost) == (8, 3)
    assert not record.take(7)
    assert record.take(8)
    assert (record.base, record.lost) == (10, 3)


def test_what_settled_after_the_last_write_is_no_loss() -> None:
    record = SampleRecord(10, resumed=True)
    record.give_up_before(20)
    assert (record.base, record.lost) == (20, 0)
