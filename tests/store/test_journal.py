import mmap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import NAN, Quality, Reading
from agent.store import layout
from agent.store.journal import Journal, hand_on
from tests.conftest import group_of

GROUP = group_of()
IDS = {GROUP: 7}


def readings(count: int, start: int = 0) -> list[Reading]:
    return [
        Reading(GROUP, 1000 + at, (float(at), NAN), Quality.UNCERTAIN) for at in range(start, start + count)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "readings.journal"


def opened(file: Path, size_bytes: int = 8192) -> Journal:
    journal = Journal(file, (size_bytes,))
    journal.open()
    return journal


def test_what_was_added_is_found_by_the_next_run(file: Path) -> None:
    journal = opened(file)
    journal.restart(11, (), IDS)
    journal.add(11, readings(3), IDS)
    # Not closed: the process is gone.
    found = list(opened(file).records(10))
    assert [(r.seq, r.group_id, r.time_ms, r.quality) for r in found] == [
        (11, 7, 1000, 1), (12, 7, 1001, 1), (13, 7, 1002, 1)
    ]  # fmt: skip
    assert layout.unpack(found[2].packed)[0] == 2.0
    assert [r.seq for r in opened(file).records(12)] == [13]
    assert [r.seq for r in opened(file).records(5)] == [11, 12, 13]  # what lies between was given up
    journal.close()


def test_a_commit_starts_it_anew_with_what_is_pending(file: Path) -> None:
    journal = opened(file)
    journal.restart(1, readings(40), IDS)
    journal.restart(41, readings(2, 40), IDS)
    assert [r.seq for r in opened(file).records(40)] == [41, 42]
    assert [r.seq for r in opened(file).records(0)] == [41, 42]
    journal.restart(43, (), IDS)
    assert list(opened(file).records(42)) == []


def test_a_full_one_keeps_the_oldest_without_a_gap_and_knows_the_newest_number(file: Path) -> None:
    journal = opened(file, 1000)
    journal.restart(1, readings(5), IDS)
    assert opened(file, 1000).beyond == 0
    journal.add(6, readings(95, 5), IDS)
    assert opened(file, 1000).beyond == 100
    journal.add(101, readings(1), IDS)
    left = opened(file, 1000)
    found = [r.seq for r in left.records(0)]
    assert found == list(range(1, len(found) + 1))
    assert 5 < len(found) < 20
    assert left.beyond == 101
    journal.restart(102, readings(1), IDS)
    assert [r.seq for r in opened(file, 1000).records(0)] == [102]
    assert opened(file, 1000).beyond == 0


def test_readings_of_an_unknown_group_keep_their_numbers_only(file: Path) -> None:
    journal = opened(file)
    stranger = [Reading(group_of("x"), 1, (1.0, 2.0))]
    journal.restart(1, [*readings(1), *stranger, *readings(1)], IDS)
    assert [(r.seq, r.group_id) for r in opened(file).records(0)] == [(1, 7), (2, 0), (3, 7)]


def test_there_is_no_moment_in_which_a_kill_takes_what_waits(file: Path) -> None:
    """At each write into the file on the way from one commit to the next, what is not committed is there."""
    seen: list[list[int]] = []

    class Watched(mmap.mmap):
        """After each write, looks at what a process that was killed there would have left."""

        def __setitem__(self, at: Any, value: Any) -> None:
            super().__setitem__(at, value)
            seen.append([r.seq for r in opened(file).records(2)])

    journal = Journal(file, (8192,), Watched)
    journal.open()
    journal.restart(1, readings(4), IDS)
    seen.clear()
    journal.restart(3, readings(2, 2), IDS)
    assert len(seen) > 3
    assert seen == [[3, 4]] * len(seen)


def test_with_little_room_it_is_smaller(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", (1 << 60, 8192))
    journal.open()
    journal.restart(1, readings(3), IDS)
    assert (tmp_path / "j").stat().st_size == 8192
    for _ in range(2):  # whichever half it is in
        grown = opened(tmp_path / "j", 32_768)
        assert [r.seq for r in grown.records(0)] == [1, 2, 3]
        journal.restart(1, readings(3), IDS)


def test_without_room_it_does_nothing(file: Path) -> None:
    journal = Journal(file)
    journal.add(1, readings(1), IDS)
    journal.restart(2, readings(1), IDS)
    assert list(journal.records(0)) == []


@given(st.binary(max_size=600), st.integers(0, 1800))
def test_torn_or_foreign_bytes_are_not_taken_for_readings(noise: bytes, at: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "j"
        journal = opened(file, 2048)
        journal.restart(1, readings(10), IDS)
        whole = list(journal.records(0))
        journal.close()
        data = bytearray(file.read_bytes())
        data[at : at + len(noise)] = noise
        file.write_bytes(data[:2048].ljust(2048, b"\0"))
        torn = opened(file, 2048)
        found = list(torn.records(0))
        torn.close()
        assert found == whole[: len(found)]


def test_what_it_packed_is_there_for_the_commit(file: Path) -> None:
    journal = opened(file, 1000)
    journal.restart(1, readings(2), IDS)
    journal.add(3, readings(1, 2), IDS)
    assert [layout.unpack(each)[0] for each in journal.packed(2)] == [1.0, 2.0]
    assert list(journal.packed(0)) == []  # before what it knows: never the wrong reading's values
    journal.add(4, readings(100, 3), IDS)
    known = journal.packed(1)
    assert [layout.unpack(each)[0] for each in known] == [float(at) for at in range(len(known))]
    assert len(known) == len(list(opened(file, 1000).records(0))) < 20
    journal.restart(104, (), IDS)
    assert list(journal.packed(104)) == []
    journal.close()


def test_the_newest_time_outlives_the_database_and_a_mistake_of_a_day_does_not(file: Path) -> None:
    journal = opened(file)
    journal.restart(1, (), IDS)
    day_ms = 86_400_000
    for time_ms, newest_ms in ((100 * day_ms, 100 * day_ms), (100 * day_ms - 5, 100 * day_ms), (5, 5)):
        journal.stamped(time_ms)
        assert opened(file).newest_ms == journal.newest_ms == newest_ms
    journal.restart(2, readings(1), IDS)
    new = file.with_name("new.journal")
    hand_on(file, new)
    following = opened(new)
    assert following.newest_ms == 5
    assert list(following.records(0)) == []
    following.restart(1, readings(1), IDS)
    assert [r.seq for r in opened(new).records(0)] == [1]
    assert opened(new).newest_ms == 5
    hand_on(file.with_name("none"), file.with_name("other"))
    assert not file.with_name("other").exists()
