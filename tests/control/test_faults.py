"""Rooms beside the devices they name: what is wrong is found before anything starts, with words."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import load
from agent.schema import FaultyFile

SITE = """
[agent]
site = "lab"
[[line]]
name = "ac"
driver = "modbus-tcp"
host = "127.0.0.1"
[[line.device]]
name = "ac-101"
profile = "intesis-ac"
{fallback}
[tariff]
id = "{tariff}"
[control]
outdoor_point = "{outdoor}"
[[room]]
id = "office-101"
temperature_point = "{temperature}"
mode = "control"
[[room.unit]]
id = "split"
on_point = "ac-101.on"
setpoint_point = "{setpoint}"
mode_point = "ac-101.mode"
cool_code = {cool}
fan_point = "ac-101.fan_speed"
fan_code = {fan}
setpoint_step_k = {step}
rated_w = 1200.0
"""
WELL = {
    "fallback": "",
    "tariff": "",
    "outdoor": "ac-101.temperature",
    "temperature": "ac-101.temperature",
    "setpoint": "ac-101.temperature_setpoint",
    "cool": "4.0",
    "fan": "0.0",
    "step": "0.5",
}


def site(folder: Path, **changed: str) -> Path:
    file = folder / "config.toml"
    file.write_text(SITE.format(**WELL | changed))
    return file


def test_a_good_room_is_taken(tmp_path: Path) -> None:
    config = load(site(tmp_path))
    assert config.options.room[0].unit[0].on_point == "ac-101.on"
    assert config.options.room[0].holidays == ()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"temperature": "ac-101.temprature"},
            "room[0].temperature_point: expected a point of a configured device, found 'ac-101.temprature',"
            " did you mean 'ac-101.temperature'?",
        ),
        (
            {"outdoor": "roof.t"},
            "control.outdoor_point: expected a point of a configured device, found 'roof.t'",
        ),
        (
            {"setpoint": "ac-101.temperature"},
            "room[0].unit[0].setpoint_point: ac-101.temperature: expected a point",
        ),
        ({"cool": "7.0"}, "room[0].unit[0].mode_point: ac-101.mode: expected one of 0 auto"),
        ({"fan": "9.0"}, "room[0].unit[0].fan_point: ac-101.fan_speed: expected one of 0 auto"),
        (
            {"step": "0.3"},
            "room[0].unit[0].setpoint_point: ac-101.temperature_setpoint: expected steps of 0.5",
        ),
        ({"fallback": "fallback = { on = 0.0 }"}, "room[0].unit[0].on_point: expected no fallback of 0"),
        ({"tariff": "no-such"}, "tariff.id: no-such: no tariff of this id"),
    ],
)
def test_each_fault_has_its_words(tmp_path: Path, changed: dict[str, str], expected: str) -> None:
    with pytest.raises(FaultyFile) as caught:
        load(site(tmp_path, **changed))
    texts = [str(fault).partition(": ")[2] for fault in caught.value.faults]
    assert [text for text in texts if text.startswith(expected)], texts
    assert len(texts) == 1


def test_a_unit_belongs_to_one_room_and_a_room_has_its_name_alone(tmp_path: Path) -> None:
    file = site(tmp_path)
    text = file.read_text()
    file.write_text(text + text[text.index("[[room]]") :])
    with pytest.raises(FaultyFile) as caught:
        load(file)
    words = str(caught.value)
    assert "room[1].id: expected each room once" in words
    assert "expected each point in one unit only, ac-101.on is also in room[0].unit[0]" in words


def test_hours_that_end_before_they_begin_are_said(tmp_path: Path) -> None:
    file = site(tmp_path)
    file.write_text(file.read_text().replace('mode = "control"', 'workdays = ["22:00-06:00"]'))
    with pytest.raises(FaultyFile, match="split at midnight"):
        load(file)
