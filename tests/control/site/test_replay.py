"""History run again, bit for bit, over restarts, learning, late solvers and holes in the record."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import pytest

from agent.apart import Apart
from agent.control.outline import planned, planner
from agent.control.planner import Planner
from agent.control.room import Rung
from agent.control.site.aside import Aside
from agent.control.site.record import Cycle, Record, packed, read_only, unpacked
from agent.control.site.replay import Difference, Replayed, replay
from tests.control.site.places import HOUR_S, MONDAY_S, Place, dispatching, room_options

FOREVER_MS = 2**53


def replayed(place: Place, from_ms: int = 0, tell: list[Difference] | None = None) -> Replayed:
    record = read_only(place.folder / "control.db")
    try:
        return replay(record, from_ms, FOREVER_MS, planned, ([] if tell is None else tell).append)
    finally:
        record.close()


async def day(place: Place, minutes: int = 180) -> None:
    async with place.control() as control, dispatching(place):
        await place.minutes(control, minutes)


async def test_history_comes_out_the_same_over_a_restart(tmp_path: Path) -> None:
    first = Place(tmp_path, [room_options()], planner=planned)
    await day(first)
    second = Place(tmp_path, [room_options()], planner=planned, now_s=first.now_s + 600, temp_c=26.0)
    await day(second, 60)
    found = replayed(second)
    assert (found.cycles, found.differing, found.skipped) == (240, 0, 0)
    assert replayed(second, round((first.now_s + 600) * 1000)).cycles == 60


async def test_a_changed_decision_is_found(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options()])
    await day(place, 30)
    db = sqlite3.connect(tmp_path / "control.db")
    ((number, data),) = db.execute("SELECT id, data FROM cycle ORDER BY id LIMIT 1 OFFSET 10").fetchall()
    cycle = unpacked(data)
    cycle["decisions"][0]["setpoint_c"] += 0.5
    db.execute("UPDATE cycle SET data = ? WHERE id = ?", (packed(cycle), number))
    db.commit()
    db.close()
    told: list[Difference] = []
    assert replayed(place, tell=told).differing == 1
    assert told[0].recorded["setpoint_c"] == told[0].replayed["setpoint_c"] + 0.5


@pytest.mark.parametrize(
    "late",
    [planner(lambda _: None), Aside(Apart(20.0, program="agent.there_is_none")).plan],
    ids=["solver", "no child"],
)
async def test_a_late_plan_is_late_again(tmp_path: Path, late: Planner) -> None:
    from agent.control.grey_box import PRIOR
    from agent.control.model import Model
    from agent.control.state import Parameters

    place = Place(tmp_path, [room_options()], planner=late)
    async with place.control() as control, dispatching(place):
        model = Model(tuple(PRIOR.tolist()), 1200.0, 0.0, 0.3, 0)
        control._loop.parameters = Parameters({"office-101": model})
        decisions = await place.minutes(control, 90)
    assert any("late twice" in decision.reason for decision in decisions)
    assert decisions[-1].rung == Rung.OPTIMUM_START
    assert decisions[-1].on
    assert replayed(place).differing == 0


async def test_a_hole_in_the_record_begins_anew(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options()])
    async with place.control() as control, dispatching(place):
        await place.minutes(control, 20)
        control._keeper._record.close()
        await place.minutes(control, 40)
    found = replayed(place)
    assert (found.differing, found.skipped) == (0, 0)
    assert found.cycles == 59


async def test_old_cycles_go_and_what_is_left_can_be_run_again(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options()], now_s=MONDAY_S + 8 * HOUR_S)
    await day(place, 60)
    later = Place(tmp_path, [room_options()], now_s=place.now_s + 5 * 86400)
    await day(later, 30)
    record = Record(tmp_path / "control.db", days_max=2).open()
    record.trim(round(later.now_s * 1000))
    record.close()
    found = replayed(later)
    assert (found.cycles, found.differing, found.skipped) == (30, 0, 0)


def test_an_outlook_that_was_rolled_back_is_written_again(tmp_path: Path) -> None:
    def cycle(time_ms: int, price: float) -> Cycle:
        return Cycle(time_ms, begin, {}, {"room": {"price": price}}, [])

    record = Record(tmp_path / "control.db").open()
    begin = record.begin(0, {})
    torn = struct.pack("<d", 25.0)
    with pytest.raises(sqlite3.Error):
        record.add(cycle(1, 0.5), {}, [("room", 1, torn), ("room", object(), torn)])  # type: ignore[list-item]
    record.add(cycle(2, 0.5), {}, ())
    record.add(cycle(3, 0.7), {}, ())
    kept = [(each.time_ms, each.outlook["room"]["price"]) for each in record.cycles(0, FOREVER_MS)]
    record.close()
    assert kept == [(2, 0.5), (3, 0.7)]


def test_a_record_that_grows_too_big_loses_its_oldest(tmp_path: Path) -> None:
    import os

    record = Record(tmp_path / "control.db", mb_max=1).open()
    begin = record.begin(0, {})
    for at in range(60):
        noise = os.urandom(20_000).hex()
        record.add(Cycle(at, begin, {"noise": noise}, {}, []), {}, ())
    record.trim(60)
    kept = [cycle.time_ms for cycle in record.cycles(0, FOREVER_MS)]
    assert kept[-1] == 59
    assert kept[0] > 0
    assert len(kept) > 50
    record.close()


@pytest.mark.parametrize("language", ["pt", "en"])
async def test_the_last_decision_is_explained(tmp_path: Path, language: str) -> None:
    from zoneinfo import ZoneInfo

    from agent.control.site.words import explained

    place = Place(tmp_path, [room_options()])
    await day(place, 5)
    record = read_only(tmp_path / "control.db")
    cycle = record.last("office-101", FOREVER_MS)
    assert cycle is not None
    lines = explained(cycle, "office-101", ZoneInfo("America/Sao_Paulo"), language)  # type: ignore[arg-type]
    record.close()
    words = "\n".join(lines)
    assert "10:04" in lines[0]
    assert ("ocupada" in words) == (language == "pt")
    assert ("occupied" in words) == (language == "en")
    assert record.last("elsewhere", 0) is None if record.is_open else True
