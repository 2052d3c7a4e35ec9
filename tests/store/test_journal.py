from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import NAN, Quality, Reading
from agent.store import layout
from agent.store.journal import Journal
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


def opened(file: Path, size_bytes: int = 4096) -> Journal:
    journal = Journal(file, size_bytes)
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
    assert list(opened(file).records(9)) == []  # a gap: these are of another time
    journal.close()


def test_a_commit_starts_it_anew_with_what_is_pending(file: Path) -> None:
    journal = opened(file)
    journal.restart(1, readings(40), IDS)
    journal.restart(41, readings(2, 40), IDS)
    assert [r.seq for r in opened(file).records(40)] == [41, 42]
    assert list(opened(file).records(0)) == []
    journal.restart(43, (), IDS)
    assert list(opened(file).records(42)) == []


def test_a_full_one_keeps_the_oldest_without_a_gap(file: Path) -> None:
    journal = opened(file, 500)
    journal.restart(1, readings(100), IDS)
    journal.add(101, readings(1), IDS)
    found = [r.seq for r in opened(file, 500).records(0)]
    assert found == list(range(1, len(found) + 1))
    assert 5 < len(found) < 20


def test_an_unknown_group_ends_it_until_the_next_commit(file: Path) -> None:
    journal = opened(file)
    stranger = [Reading(group_of("x"), 1, (1.0, 2.0))]
    journal.restart(1, [*readings(1), *stranger, *readings(1)], IDS)
    assert [r.seq for r in opened(file).records(0)] == [1]


def test_without_room_it_does_nothing(file: Path) -> None:
    journal = Journal(file)
    journal.add(1, readings(1), IDS)
    journal.restart(2, readings(1), IDS)
    assert list(journal.records(0)) == []


@given(st.binary(max_size=600), st.integers(0, 400))
def test_torn_or_foreign_bytes_are_not_taken_for_readings(noise: bytes, at: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "j"
        journal = opened(file, 1024)
        journal.restart(1, readings(10), IDS)
        whole = list(journal.records(0))
        journal.close()
        data = bytearray(file.read_bytes())
        data[at : at + len(noise)] = noise
        file.write_bytes(data[:1024].ljust(1024, b"\0"))
        torn = opened(file, 1024)
        found = list(torn.records(0))
        torn.close()
        assert found == whole[: len(found)]


def test_what_it_packed_is_there_for_the_commit(file: Path) -> None:
    journal = opened(file, 500)
    journal.restart(1, readings(2), IDS)
    journal.add(3, readings(1, 2), IDS)
    assert [layout.unpack(each)[0] for each in journal.packed(2)] == [1.0, 2.0]
    assert list(journal.packed(0)) == []  # before what it knows: never the wrong reading's values
    journal.add(4, readings(100, 3), IDS)
    known = journal.packed(1)
    assert [layout.unpack(each)[0] for each in known] == [float(at) for at in range(len(known))]
    assert len(known) == len(list(opened(file, 500).records(0))) < 20
    journal.restart(104, (), IDS)
    assert list(journal.packed(104)) == []
    journal.close()
