"""The tables of rooms in the configuration."""

from typing import Any

import pytest
from pydantic import ValidationError

from agent.control.options import RoomOptions, room_of

UNIT: dict[str, Any] = {"id": "ac", "on_point": "ac.on", "setpoint_point": "ac.setpoint", "rated_w": 1200.0}
ROOM: dict[str, Any] = {"id": "room", "temperature_point": "room-101.temperature", "unit": [UNIT]}


def test_a_short_table_is_a_whole_room() -> None:
    room = room_of(RoomOptions(**ROOM))
    assert (room.band_c, room.safe_c, room.units[0].grid_k) == ((21.0, 25.0), 24.0, 1.0)
    assert RoomOptions(**ROOM).mode == "observe"


def test_hours_come_as_a_list() -> None:
    options = RoomOptions(**ROOM, saturday=["08:00-12:00", "13:15-24:00"])
    assert options.saturday == ("08:00-12:00", "13:15-24:00")


def test_dry_needs_the_point_and_the_code() -> None:
    for more, dry in (
        ({}, False),
        ({"dry_code": 2.0}, False),
        ({"dry_code": 2.0, "mode_point": "ac.mode"}, True),
    ):
        assert room_of(RoomOptions(**ROOM | {"unit": [UNIT | more]})).units[0].dry is dry


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"comfort_min_c": 24.5}, "comfort_min_c"),
        ({"unit": [UNIT, UNIT]}, "each id once"),
        ({"unit": []}, "unit"),
        ({"unit": [UNIT | {"setpoint_min_c": 30.0}]}, "setpoint_min_c"),
        ({"workdays": ["8-18"]}, "workdays"),
        ({"workdays": ["08:07-18:00"]}, "workdays"),
        ({"temperature_point": "temperature"}, "temperature_point"),
    ],
)
def test_faults(changed: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        RoomOptions(**ROOM | changed)
