"""A box in one file: whole or not at all, nothing of the moment in it, and back with what was there kept."""

from __future__ import annotations

import io
import shutil
import sqlite3
import tarfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.deploy.keep import MANIFEST, back_up, default_name, drop, manifest_of, swap, unpack
from agent.deploy.layout import Layout
from agent.model import Device, Group, Point, Reading
from agent.store import Store

NOW = datetime(2026, 11, 28, 14, 5, 1, tzinfo=UTC)
METER = Group(Device("meter", "counter"), "all", (Point("count"),), 1000)


def box(root: Path) -> Layout:
    layout = Layout(root)
    for folder in (layout.credentials, layout.state / "tls", layout.state / "uplinks"):
        folder.mkdir(parents=True)
    (layout.config_dir / "profiles").mkdir(mode=0o755)
    (layout.config_dir / "profiles/mine.toml").write_text("")
    layout.config.write_text('[agent]\nsite = "escola-12"\n')
    (layout.credentials / "center.token").write_text("T0KEN")
    (layout.credentials / "center.token").chmod(0o600)
    (layout.state / "tls/ca.key").write_text("the authority's key")
    (layout.state / "uplinks/center.json").write_text("{}")
    for passing in ("agent.lock", "readings.journal", "readings.broken-20260101T000000Z.db"):
        (layout.state / passing).write_text("of the moment")
    return layout


def made(layout: Layout, name: str = "box.uicps") -> Path:
    target = layout.opt.parent / name
    target.parent.mkdir(parents=True, exist_ok=True)
    back_up(layout, target, "0.1.0", NOW)
    return target


async def test_it_is_taken_from_a_working_agent_and_makes_another_box_the_same(tmp_path: Path) -> None:
    old = box(tmp_path / "old")
    async with Store(old.state / "readings.db") as store:
        await store.register([METER])
        store.append([Reading(METER, 1_700_000_000_000 + at, (float(at),)) for at in range(50)])
        await store.commit()
        archive = made(old)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert manifest_of(archive) == {"form": 1, "version": "0.1.0", "at": NOW.isoformat()}
    new, owned = Layout(tmp_path / "new"), list[Path]()
    new.config_dir.mkdir(parents=True)
    new.config.write_text("of a fresh install")
    unpack(archive, new, owned.append)
    assert new.config.read_text() == "of a fresh install"
    swap(new)
    assert new.config.read_text() == old.config.read_text()
    assert new.config_dir.with_name("uicps-agent.before-restore").joinpath("config.toml").exists()
    assert (new.credentials / "center.token").stat().st_mode & 0o777 == 0o600
    assert (new.config_dir / "profiles").stat().st_mode & 0o777 == 0o755
    assert (new.config_dir / "profiles/mine.toml").exists()
    assert owned == []  # nothing here is of the service's account
    assert (new.state / "tls/ca.key").read_text() == "the authority's key"
    found = {file.name for file in new.state.iterdir()}
    assert found == {"readings.db", "tls", "uplinks"}
    with closing(sqlite3.connect(new.state / "readings.db")) as db:
        assert db.execute("SELECT count(*) FROM reading").fetchone() == (50,)


def test_again_keeps_only_the_last(tmp_path: Path) -> None:
    layout = box(tmp_path)
    archive, owned = made(layout), list[Path]()
    for text in ("first", "second"):
        layout.config.write_text(text)
        unpack(archive, layout, owned.append)
        swap(layout)
    beside = [each for each in layout.state.parent.iterdir() if "before" in each.name]
    assert len(beside) == 1
    assert (
        layout.config_dir.with_name("uicps-agent.before-restore").joinpath("config.toml").read_text()
        == "second"
    )


def test_a_damaged_or_foreign_file_changes_nothing(tmp_path: Path) -> None:
    layout = box(tmp_path)
    archive = made(layout)
    body = archive.read_bytes()
    archive.write_bytes(body[: len(body) // 2])
    with pytest.raises(OSError, match="is not whole"):
        manifest_of(archive)
    archive.write_bytes(body[:200] + bytes([body[200] ^ 255]) + body[201:])
    with pytest.raises(OSError, match=r"is not whole|expected a backup"):
        manifest_of(archive)
    archive.write_bytes(b"no archive")
    with pytest.raises(OSError, match="is not whole"):
        manifest_of(archive)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "state", "elsewhere/file"])
def test_an_archive_that_reaches_out_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "bad.uicps"
    with tarfile.open(archive, "w:gz") as tar:
        for each, body in ((MANIFEST, b'{"form": 1}'), (name, b"x")):
            member = tarfile.TarInfo(each)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    with pytest.raises(OSError, match="no such thing belongs into a backup"):
        manifest_of(archive)


def test_nothing_is_left_of_one_that_cannot_be_made(tmp_path: Path) -> None:
    layout = box(tmp_path)
    (layout.state / "users.db").write_bytes(b"no database" * 1000)
    target = tmp_path / "box.uicps"
    with pytest.raises(OSError, match="cannot be made"):
        back_up(layout, target, "0.1.0", NOW)
    assert not list(tmp_path.glob("box.uicps*"))
    target.write_text("there")
    with pytest.raises(OSError, match="is there already"):
        back_up(layout, target, "0.1.0", NOW)


def test_a_swap_that_fails_half_way_is_undone(tmp_path: Path) -> None:
    layout = box(tmp_path)
    unpack(made(layout), layout, print)
    shutil.rmtree(layout.state.with_name("uicps-agent.restored"))
    before = sorted(file.name for file in layout.state.iterdir())
    with pytest.raises(OSError, match="No such file"):
        swap(layout)
    assert layout.config.exists()
    assert sorted(file.name for file in layout.state.iterdir()) == before
    drop(layout)
    assert not list(layout.config_dir.parent.glob("*.restored"))


def test_names_sort_by_time() -> None:
    assert default_name("escola-12", NOW) == "escola-12-20261128T140501Z.uicps"
