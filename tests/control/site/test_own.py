"""A site's own controller: obeyed behind the guards; what it does wrong costs only itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.control.room import Outlook, RoomSeen, Rung
from agent.control.site.own import OwnController
from tests.control.site.places import HOUR_S, MONDAY_S, Place, dispatching, room_options
from tests.control.site.test_replay import replayed

DOCS = Path(__file__).parents[3] / "docs" / "control.md"

WARM = """
import calendar

calendar.monthrange(2026, 1)  # the standard library's, not a file of ours


class Controller:
    def wish(self, now_ms, seen, outlook):
        print("it may print")
        return True, 24.5, "as the manager likes it"
"""
OFF = WARM.replace("True, 24.5", "False, 24.5")
RAISES = "class Controller:\n    def wish(self, *_):\n        return 1 / 0\n"
HANGS = "class Controller:\n    def wish(self, *_):\n        while True:\n            pass\n"
NONSENSE = WARM.replace("24.5", "500")
PAST_PRINT = "import os\nclass Controller:\n    def wish(self, *_):\n        os.write(1, b'5\\n')\n"
HALF = PAST_PRINT.replace("b'5", """b'{"on": true, "setpoint_c": null, "reason": ""}""")
BROKEN = "this is no Python"


def place_with(folder: Path, text: str, *, hour: float = 10) -> Place:
    (folder / "mine.py").write_text(text)
    return Place(folder, [room_options(controller_file=folder / "mine.py")], now_s=MONDAY_S + hour * HOUR_S)


async def test_its_wish_is_done_recorded_and_run_again(tmp_path: Path) -> None:
    place = place_with(tmp_path, WARM)
    place.temp_c = 24.8
    async with place.control() as control, dispatching(place):
        decisions = await place.minutes(control, 12)
    assert decisions[0].reason.startswith("own controller: as the manager likes it")
    assert place.values["on"] == 1
    assert place.values["setpoint"] == 24.5
    assert replayed(place).differing == 0


async def test_the_one_of_the_documentation_works(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (text,) = (block for block in blocks if "class Controller" in block)
    place = place_with(tmp_path, text)
    async with place.control() as control, dispatching(place):
        (decision,) = await place.minutes(control, 1)
    assert decision.reason.startswith("own controller: occupied")
    assert place.values["setpoint"] == 23.5


async def test_it_cannot_leave_an_occupied_room_off(tmp_path: Path) -> None:
    place = place_with(tmp_path, OFF)
    async with place.control() as control, dispatching(place):
        decisions = await place.minutes(control, 3)
    assert decisions[-1].on
    assert "never off" in decisions[-1].reason


async def test_it_may_turn_off_an_empty_room(tmp_path: Path) -> None:
    place = place_with(tmp_path, OFF, hour=22)
    async with place.control() as control, dispatching(place):
        decisions = await place.minutes(control, 3)
    assert decisions[-1].on is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RAISES, "has ended"),
        (NONSENSE, "setpoint_c: expected 5 to 45"),
        (BROKEN, "has ended"),
        (PAST_PRINT, "expected an answer, found '5'"),
        (HALF, "float()"),
    ],
)
async def test_what_it_does_wrong_costs_only_itself(tmp_path: Path, text: str, words: str) -> None:
    place = place_with(tmp_path, text)
    async with place.control() as control, dispatching(place):
        first, *_, last = await place.minutes(control, 3)
    assert words in first.reason
    assert first.reason.startswith("start rule: occupied")
    assert last.rung == Rung.OPTIMUM_START
    assert place.values["on"] == 1


async def test_one_that_hangs_is_killed_and_waits_for_its_next_start(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HANGS)
    own = OwnController("room", tmp_path / "mine.py", "Controller", start_s=0.3)
    outlook = Outlook(0, (True,) * 96, (0.9,) * 96)
    assert (await own.wish(0, RoomSeen(), outlook)).fault == "no answer in 0.3 s"
    assert (await own.wish(0, RoomSeen(), outlook)).fault == "waits for its next start"
    await own.close()
