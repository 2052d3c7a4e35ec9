"""Settings of the centre: taken or refused, kept, told."""

# ruff: noqa: ASYNC240 - files of the test, a few bytes

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.uplink.settings import Setting, Settings
from agent.uplink.wishes import SETTINGS, ComfortBand

BAND = {"room-101": {"low_c": 21.0, "high_c": 25}}
SCHEDULE = [{"days": ["mon", "fri"], "start": "07:30", "end": "24:00"}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


async def test_what_fits_is_taken_kept_and_told(file: Path) -> None:
    settings = Settings(file, SETTINGS)
    await settings.take({"comfort": BAND, "tariff": "verde-a4", "unknown": 1})
    assert settings.value("comfort") == {"room-101": ComfortBand(low_c=21.0, high_c=25)}
    assert settings.value("limits") is None
    report = settings.report()
    assert (report["comfort_applied"], report["comfort_version"], report["comfort_error"]) == (BAND, 1, "")
    assert (report["limits_applied"], report["limits_version"]) == ("", 0)
    assert "unknown_error" not in report
    again = Settings(file, SETTINGS)
    await again.load()
    assert again.report() == report
    assert again.value("tariff") == "verde-a4"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("comfort", {"r": {"low_c": 25.0, "high_c": 21.0}}, "high_c at least 1 above low_c"),
        ("comfort", {"r": {"low_c": "21", "high_c": 25.0}}, "r.low_c"),
        ("comfort", {"r": {"low_c": 21.0, "high_c": 25.0, "mid": 1}}, "r.mid"),
        ("comfort", 7, "dictionary"), ("comfort", "{}", "dictionary"),
        ("schedule", [{"days": ["mon"], "start": "18:00", "end": "08:00"}], "start before end"),
        ("schedule", [{"days": [], "start": "08:00", "end": "18:00"}], "0.days"),
        ("schedule", [{"days": ["mon"], "start": "8h", "end": "18:00"}], "0.start"),
        ("tariff", "../etc", "pattern"), ("tariff", 3, "string"),
        ("limits", {"demand_w": -1}, "demand_w"), ("limits", {"demand": 1}, "demand"),
        ("limits", {"demand_w": 1, "x": "y" * 20_000}, "at most 16384 bytes"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_refused_and_the_old_value_stays(
    file: Path, name: str, value: Any, words: str
) -> None:
    good: dict[str, Any] = {
        "comfort": BAND,
        "schedule": SCHEDULE,
        "tariff": "branca",
        "limits": {"demand_w": 5000},
    }
    settings = Settings(file, SETTINGS)
    await settings.take(good)
    before = settings.value(name)
    await settings.take({name: value})
    report = settings.report()
    assert words in report[f"{name}_error"]
    assert report[f"{name}_applied"] == good[name]
    assert report[f"{name}_version"] == 1
    assert settings.value(name) == before
    assert "Value error" not in report[f"{name}_error"]
    assert "input_value" not in report[f"{name}_error"]
    await settings.take({name: good[name]})
    assert settings.report()[f"{name}_error"] == ""


async def test_a_version_grows_with_each_change_and_only_with_one(file: Path) -> None:
    settings = Settings(file, SETTINGS)
    for tariff in ("a", "a", "b", "a"):
        await settings.take({"tariff": tariff})
    assert settings.report()["tariff_version"] == 3
    written = file.stat().st_mtime_ns
    await settings.take_all({"tariff": "a"})
    assert file.stat().st_mtime_ns == written  # nothing new: the card is spared


async def test_what_is_deleted_is_no_longer_set(file: Path) -> None:
    applied: list[Any] = []
    settings = Settings(file, {"limit": Setting(int, applied.append)})
    await settings.take({"limit": 1})
    await settings.take({"deleted": ["limit", "other"]})
    await settings.take({"limit": 2})
    await settings.take_all({})
    assert applied == [1, None, 2, None]
    assert settings.report() == {"limit_applied": "", "limit_version": 4, "limit_error": ""}
    assert json.loads(file.read_text()) == {"limit": {"value": None, "version": 4}}


async def test_whoever_applies_may_refuse(file: Path) -> None:
    def apply(value: Any) -> None:
        if value == 13:
            raise ValueError("no room 13 here")

    settings = Settings(file, {"room": Setting(int, apply)})
    await settings.take({"room": 12})
    await settings.take({"room": 13})
    assert settings.value("room") == 12
    assert settings.report()["room_error"] == "no room 13 here"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tariff": 7}', '{"tariff": {"value": 1}}'])
async def test_a_broken_file_is_as_good_as_none(file: Path, text: str) -> None:
    file.write_text(text)
    settings = Settings(file, SETTINGS)
    await settings.load()
    assert settings.value("tariff") is None


async def test_a_kept_value_that_no_longer_fits_is_left_out(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(json.dumps({"tariff": {"value": 7, "version": 3}, "gone": {"value": 1, "version": 1}}))
    settings = Settings(file, SETTINGS)
    await settings.load()
    assert settings.value("tariff") is None
    assert "tariff" in caplog.text
    await settings.take({"tariff": "b"})
    assert settings.report()["tariff_version"] == 4


async def test_a_disk_that_refuses_is_told_and_the_value_holds(file: Path) -> None:
    file.mkdir()
    settings = Settings(file, SETTINGS)
    await settings.load()
    await settings.take({"tariff": "b"})
    assert settings.value("tariff") == "b"
    assert "could not be kept" in settings.report()["tariff_error"]
