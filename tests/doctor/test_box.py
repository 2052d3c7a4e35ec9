"""Disk, card, clock, serial ports: what is found becomes a finding."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.doctor import Level
from agent.doctor.box import FREE_MB_MIN, Written, clock, disk, serial_port, wear, written


@pytest.mark.parametrize(
    ("free_mb", "level"),
    [(FREE_MB_MIN - 1, Level.FAULT), (FREE_MB_MIN + 900, Level.WARNING), (FREE_MB_MIN + 1000, Level.WELL)],
)
def test_room_for_what_may_still_come(tmp_path: Path, free_mb: float, level: Level) -> None:
    with (tmp_path / "readings.db").open("wb") as file:
        file.truncate(24_000_000)
    finding = disk(tmp_path, 1024, lambda _: round(free_mb * 1e6))
    assert finding.level is level
    assert bool(finding.way_out) == (level is not Level.WELL)


@pytest.mark.parametrize(
    ("gb_a_day", "level"), [(1.0, Level.WELL), (20.0, Level.WARNING), (100.0, Level.FAULT)]
)
def test_a_card_lasts_as_long_as_it_is_rated_for(gb_a_day: float, level: Level) -> None:
    found = Written("mmcblk0", round(gb_a_day * 1e9 * 2), 2 * 86400.0)
    finding = wear(found, 30.0)
    assert finding.level is level
    years = min(30_000 / gb_a_day / 365, 100)
    assert f"{years:.1f} years" in finding.text


def test_without_a_rating_only_the_pace_is_said() -> None:
    finding = wear(Written("mmcblk0", 5_000_000, 86400.0), None)
    assert finding.level is Level.UNKNOWN
    assert "5 MB a day" in finding.text
    assert "card_endurance_tb" in finding.text
    assert wear(None, 30.0).level is Level.UNKNOWN


def test_a_partition_is_asked_through_its_disk(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    disk_folder, sys = tmp_path / "devices/sda", tmp_path / "block"
    (disk_folder / "sda1").mkdir(parents=True)
    (disk_folder / "sda1/partition").write_text("1\n")
    (disk_folder / "stat").write_text("0 0 0 0 0 0 2000 0\n")
    sys.mkdir()
    (sys / f"{os.major(number)}:{os.minor(number)}").symlink_to(disk_folder / "sda1")
    found = written(tmp_path, 0.01, sys)
    assert found
    assert found.device == "sda"
    assert found.of_bytes in (0, 2000 * 512)  # just booted: measured; else since boot


def test_a_place_without_a_device_of_its_own(tmp_path: Path) -> None:
    assert written(tmp_path, 0.01, tmp_path) is None


@pytest.mark.parametrize(
    ("synchronised", "trust", "level"),
    [
        (True, "synchronised", Level.WELL),
        (False, "synchronised", Level.FAULT),
        (False, "always", Level.WARNING),
    ],
)
def test_the_clock(synchronised: bool, trust: str, level: Level) -> None:
    assert clock(trust, lambda: synchronised).level is level


def test_serial_ports(tmp_path: Path) -> None:
    (there,) = serial_port("line a", "/dev/null")
    assert there.level is Level.WELL
    (tmp_path / "usb-FTDI").touch()
    (gone,) = serial_port("line a", "/dev/ttyUSB77", tmp_path)
    assert gone.level is Level.FAULT
    assert "usb-FTDI" in gone.way_out
    (file,) = serial_port("line a", str(tmp_path / "usb-FTDI"), tmp_path)
    assert "not a serial port" in file.text
