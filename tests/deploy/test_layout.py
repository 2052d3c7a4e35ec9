"""Paths, links that change in one step, and which releases may go."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.deploy.layout import COMPLETE, Layout, point_at, release_name, spare_releases, write_whole


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.releases.mkdir(parents=True)
    return layout


def release(layout: Layout, name: str, *, whole: bool = True) -> Path:
    folder = layout.releases / name
    folder.mkdir()
    if whole:
        (folder / COMPLETE).touch()
    return folder


def test_a_release_is_named_by_version_and_time() -> None:
    assert release_name("0.2.0", datetime(2026, 11, 22, 14, 5, 1, tzinfo=UTC)) == "0.2.0-20261122T140501Z"


def test_a_link_changes_in_one_step(layout: Layout) -> None:
    first, second = release(layout, "1-20260101T000000Z"), release(layout, "2-20260102T000000Z")
    assert layout.release is None
    point_at(layout.current, first)
    point_at(layout.current, second)
    assert layout.release == second
    assert sorted(each.name for each in layout.opt.iterdir()) == ["current", "releases"]


def test_a_file_is_written_whole_and_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    write_whole(file, "new", 0o600)
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


def test_the_one_that_runs_and_the_one_before_it_stay(layout: Layout) -> None:
    old, middle = release(layout, "9.0-20260101T000000Z"), release(layout, "10.0-20260102T000000Z")
    half = release(layout, "11.0-20260103T000000Z", whole=False)
    new = release(layout, "2.0-20260104T000000Z")
    point_at(layout.current, new)
    assert set(spare_releases(layout)) == {old, half}
    point_at(layout.keeper, old)
    assert set(spare_releases(layout)) == {middle, half}


def test_nothing_installed_nothing_to_remove(tmp_path: Path) -> None:
    assert spare_releases(Layout(tmp_path)) == []
