"""What the ledger saved is there after any interruption, or nobody relied on it yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.udp.ledger import Ledger, Mark, Marks

NUMBER = st.integers(0, 2**32 - 1)
MARKS = st.builds(
    Marks,
    st.dictionaries(NUMBER, st.builds(Mark, NUMBER, NUMBER, NUMBER), max_size=20),
    st.integers(0, 2**53),
)


@given(st.lists(MARKS, min_size=1, max_size=5))
def test_the_last_save_is_what_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, all_marks: list[Marks]
) -> None:
    folder = tmp_path_factory.mktemp("lines") / "new"
    for marks in all_marks:
        Ledger(folder, "wifi").load()
        ledger = Ledger(folder, "wifi")
        ledger.load()
        ledger.save(marks)
    assert Ledger(folder, "wifi").load() == all_marks[-1]


def marks(number: int) -> Marks:
    return Marks({7: Mark(1, number, number)}, number)


def test_a_write_cut_off_anywhere_costs_only_itself(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "wifi")
    for number in range(1, 5):
        ledger.save(marks(number))
    newest = tmp_path / "wifi.replay-0"  # they take turns
    whole = newest.read_bytes()
    for size in range(len(whole) - 1):
        newest.write_bytes(whole[:size])
        assert Ledger(tmp_path, "wifi").load() == marks(3)
    newest.write_bytes(whole)
    assert Ledger(tmp_path, "wifi").load() == marks(4)


def test_it_moves_with_what_it_saved_or_not_at_all(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "old", "wifi")
    ledger.save(marks(1))
    ledger.move(tmp_path / "new")
    assert Ledger(tmp_path / "new", "wifi").load() == marks(1)
    ledger.save(marks(2))
    assert Ledger(tmp_path / "new", "wifi").load() == marks(2)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        ledger.move(tmp_path / "file")
    ledger.save(marks(3))
    assert Ledger(tmp_path / "new", "wifi").load() == marks(3)


def test_damage_is_said_and_no_hindrance(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(tmp_path, "wifi")
    ledger.save(marks(1))
    ledger.save(marks(2))
    for file in tmp_path.iterdir():
        file.write_bytes(b"\x00garbage\n\n")
    again = Ledger(tmp_path, "wifi")
    assert again.load() == Marks({})
    assert "damaged, what it held is lost" in caplog.text
    again.save(marks(3))
    assert Ledger(tmp_path, "wifi").load() == marks(3)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "wifi.replay-0").write_bytes(data)
    assert Ledger(folder, "wifi").load() == Marks({})


def test_a_disk_that_refuses_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a file, not a folder")
    with pytest.raises(OSError, match="lines"):
        Ledger(tmp_path / "lines", "wifi").save(marks(1))


def test_it_is_for_its_owner_only(tmp_path: Path) -> None:
    Ledger(tmp_path, "wifi").save(marks(1))
    assert [file.stat().st_mode & 0o777 for file in tmp_path.iterdir()] == [0o600]


def test_what_was_saved_is_on_the_disk_before_save_returns(tmp_path: Path) -> None:
    """The file when all of it is written; and the folder, once a file, before anything is in it."""
    synced: list[tuple[str, bytes]] = []

    def fsync(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        synced.append((path.name, path.read_bytes() if path.is_file() else b""))

    ledger = Ledger(tmp_path / "lines", "wifi", fsync=fsync)
    for number in (1, 2, 3):
        ledger.save(marks(number))
    names = [name for name, _ in synced]
    assert names == ["lines", "wifi.replay-1", "lines", "wifi.replay-0", "wifi.replay-1"]
    kept = {name: (tmp_path / "lines" / name).read_bytes() for name in set(names) - {"lines"}}
    assert [data for _, data in synced[-2:]] == [kept["wifi.replay-0"], kept["wifi.replay-1"]]
