"""The registry on a real file: people, floods, restarts, a disk that refuses."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.alarms import Alarm, AlarmRefused, Alarms, AlarmsOptions, Change, Priority, State
from agent.alarms.journal import ALARMS_FILE
from agent.alarms.registry import LEFT_OUT_MAX
from tests.alarms.site import START_MS, Clock, alarm
from tests.conftest import until


class Box:
    """Alarms that can be closed and opened again, as by a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.wall = folder, Clock(), Clock(START_MS / 1000)
        self.heard: list[tuple[Change, Alarm]] = []
        self._stack = AsyncExitStack()

    async def open(self, **options: Any) -> Alarms:
        await self.close()
        self.alarms = Alarms(self.folder, AlarmsOptions(**options), now_s=self.wall, clock=self.clock)
        await self._stack.enter_async_context(self.alarms)
        self.alarms.listen(lambda change, alarm: self.heard.append((change, alarm)))
        return self.alarms

    async def close(self) -> None:
        await self._stack.aclose()

    def pass_(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.wall.now_s += seconds
        self.alarms.tick()

    async def history(self) -> list[tuple[Change, str]]:
        """All that is written, oldest first."""
        await self.alarms._commit()
        events = await self.alarms.history(0, 2**60)
        return [(event.change, event.alarm.id) for event in reversed(events)]


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(tmp_path)
    yield box
    await box.close()


async def test_from_raised_to_over(box: Box) -> None:
    alarms = await box.open()
    alarms.raise_alarm(alarm(), value=231.0, detail="phase 1")
    alarms.raise_alarm(alarm(), value=299.0)  # it holds already
    (one,) = alarms.active()
    assert (one.state, one.value, one.detail, one.raised_ms) == (
        State.UNACKNOWLEDGED,
        231.0,
        "phase 1",
        START_MS,
    )
    box.pass_(5)
    assert alarms.acknowledge("a", "ana").state is State.ACKNOWLEDGED
    alarms.clear("a")
    assert alarms.active() == []
    assert await box.history() == [
        (Change.RAISED, "a"),
        (Change.ACKNOWLEDGED, "a"),
        (Change.CLEARED, "a"),
    ]
    assert [change for change, _ in box.heard] == [Change.RAISED, Change.ACKNOWLEDGED, Change.CLEARED]
    (event, *_) = [each for each in await alarms.history(0, 2**60) if each.who]
    assert (event.who, event.time_ms) == ("ana", START_MS + 5000)


async def test_the_log_says_so_but_not_of_what_is_put_away(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    alarms = await box.open(events_per_minute_max=5)
    alarms.declare(alarm("shelved"))
    alarms.shelve("shelved", 3600, "ana")
    alarms.say("shelved", raised=True)
    for at in range(50):
        alarms.raise_alarm(alarm(f"a{at}"), detail="phase 1")
    alarms.clear("a0")
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "alarm a0 raised: en a0 (phase 1)"
    assert not any("shelved" in each for each in said)
    assert len(said) < 10  # a flood of alarms is none in the log


async def test_what_returned_waits_for_somebody(box: Box) -> None:
    alarms = await box.open()
    alarms.raise_alarm(alarm())
    alarms.clear("a")
    assert [each.state for each in alarms.active()] == [State.RETURNED]
    alarms.acknowledge("a", "ana")
    assert alarms.active() == []


async def test_an_old_page_does_not_acknowledge_what_it_has_not_shown(box: Box) -> None:
    alarms = await box.open()
    alarms.raise_alarm(alarm())
    shown_ms = alarms.active()[0].raised_ms
    alarms.clear("a")
    box.pass_(1)
    alarms.raise_alarm(alarm())
    with pytest.raises(AlarmRefused, match="raised again"):
        alarms.acknowledge("a", "ana", raised_ms=shown_ms)
    assert alarms.acknowledge("a", "ana", raised_ms=alarms.active()[0].raised_ms).unseen is False


async def test_what_cannot_be_done_is_refused_with_words(box: Box) -> None:
    alarms = await box.open()
    for ask in (
        lambda: alarms.acknowledge("nothing", "ana"),
        lambda: alarms.unshelve("nothing", "ana"),
        lambda: alarms.shelve("nothing", 3600, "ana"),
    ):
        with pytest.raises(AlarmRefused, match="nothing: there is no such alarm"):
            ask()
    alarms.raise_alarm(alarm())
    with pytest.raises(AlarmRefused, match="expected 60 to 86400 s, found 5"):
        alarms.shelve("a", 5, "ana")
    with pytest.raises(AlarmRefused, match="not shelved"):
        alarms.unshelve("a", "ana")
    alarms.shelve("a", 60, "ana")
    with pytest.raises(AlarmRefused, match="it is shelved"):
        alarms.acknowledge("a", "ana")
    with pytest.raises(ValueError, match="1 to 160 characters"):
        alarms.raise_alarm(alarm("x" * 161))


async def test_shelving_ends_by_itself_and_what_is_still_there_is_raised_anew(box: Box) -> None:
    alarms = await box.open()
    alarms.raise_alarm(alarm())
    alarms.shelve("a", 3600, "ana", "being repaired")
    alarms.clear("a")
    alarms.raise_alarm(alarm())
    box.pass_(3599)
    assert [each.state for each in alarms.active()] == [State.SHELVED]
    box.pass_(1)
    assert [each.state for each in alarms.active()] == [State.UNACKNOWLEDGED]
    alarms.shelve("a", 3600, "ana")
    alarms.clear("a")
    box.pass_(3600)
    assert alarms.active() == []


async def test_a_rule_can_be_shelved_before_it_comes(box: Box) -> None:
    alarms = await box.open()
    alarms.declare(alarm())
    alarms.shelve("a", 3600, "ana")
    alarms.say("a", raised=True)
    assert [each.state for each in alarms.active()] == [State.SHELVED]
    assert alarms.unshelve("a", "ana").state is State.UNACKNOWLEDGED


async def test_a_cause_suppresses_what_it_explains(box: Box) -> None:
    alarms = await box.open()
    alarms.declare(alarm("effect"), ["cause", "other"])
    alarms.raise_alarm(alarm("effect"))
    alarms.raise_alarm(alarm("cause"))
    alarms.raise_alarm(alarm("other"))
    assert alarms.get("effect").state is State.SUPPRESSED  # type: ignore[union-attr]
    alarms.clear("cause")
    assert alarms.get("effect").state is State.SUPPRESSED  # type: ignore[union-attr]
    alarms.clear("other")
    assert alarms.get("effect").state is State.UNACKNOWLEDGED  # type: ignore[union-attr]
    alarms.raise_alarm(alarm("cause"))
    alarms.clear("effect")
    assert alarms.get("effect").state is State.NORMAL  # type: ignore[union-attr]
    alarms.raise_alarm(alarm("effect"))  # the cause holds: nobody is called
    assert box.heard[-1][1].state is State.SUPPRESSED
    alarms.clear("effect")
    alarms.acknowledge("cause", "ana")
    alarms.clear("cause")
    assert {each.id for each in alarms.active()} == {"other"}


async def test_causes_in_a_circle_come_to_rest(box: Box) -> None:
    alarms = await box.open()
    alarms.declare(alarm("a"), ["b"])
    alarms.declare(alarm("b"), ["a"])
    for _ in range(3):
        alarms.raise_alarm(alarm("a"))
        alarms.raise_alarm(alarm("b"))
        alarms.clear("a")
        alarms.clear("b")
    assert all(not each.raised for each in alarms.active())


async def test_something_that_happened_is_over_by_itself(box: Box) -> None:
    alarms = await box.open()
    alarms.happened(alarm(), detail="from 10.0.0.5", lasts_s=60)
    box.pass_(50)
    alarms.happened(alarm(), lasts_s=60)
    box.pass_(50)
    assert alarms.is_raised("a")
    box.pass_(10)
    assert [each.state for each in alarms.active()] == [State.RETURNED]


async def test_it_is_as_it_was_after_a_restart(box: Box) -> None:
    alarms = await box.open()
    alarms.raise_alarm(alarm("seen", Priority.HIGH), value=5.0)
    alarms.acknowledge("seen", "ana")
    alarms.raise_alarm(alarm("unseen"))
    alarms.raise_alarm(alarm("returned"))
    alarms.clear("returned")
    alarms.raise_alarm(alarm("shelved"))
    alarms.shelve("shelved", 3600, "ana")
    alarms.declare(alarm("suppressed"), ["unseen"])
    alarms.raise_alarm(alarm("suppressed"))
    alarms.raise_alarm(alarm("over"))
    alarms.acknowledge("over", "ana")
    alarms.clear("over")
    before, told = alarms.active(), await box.history()
    again = await box.open()
    assert again.active() == before
    assert await box.history() == told
    again.raise_alarm(alarm("new"))
    await again._commit()
    assert (await again.history(0, 2**60))[0].number == len(told) + 1


async def test_a_text_that_was_changed_is_the_new_one_after_a_restart(box: Box) -> None:
    alarms = await box.open()
    alarms.raise_alarm(alarm())
    again = await box.open()
    again.declare(Alarm("a", ("novo", "new"), Priority.LOW, "elsewhere"))  # type: ignore[arg-type]
    assert (again.active()[0].words[1], again.active()[0].priority) == ("new", Priority.LOW)


async def test_what_nobody_watches_any_more_is_cleared_but_still_shown(box: Box) -> None:
    alarms = await box.open()
    alarms.raise_alarm(alarm("gone"))
    alarms.raise_alarm(alarm("kept"))
    again = await box.open()
    again.abandon_all_but({"kept"})
    assert {each.id: each.state for each in again.active()} == {
        "gone": State.RETURNED,
        "kept": State.UNACKNOWLEDGED,
    }


async def test_a_kill_leaves_what_was_committed(tmp_path: Path) -> None:
    """Another process raises, says that it is on disk, and is killed in the middle of more."""
    script = (
        "import asyncio, sys, pathlib\n"
        "from agent.alarms import Alarms, own_alarm\n"
        "async def main():\n"
        "    async with Alarms(pathlib.Path(sys.argv[1])) as alarms:\n"
        "        task = asyncio.create_task(alarms.run())\n"
        "        alarms.raise_alarm(own_alarm('disk'))\n"
        "        await alarms.settled()\n"
        "        print('kept', flush=True)\n"
        "        while True:\n"
        "            alarms.raise_alarm(own_alarm('line', 'x')); alarms.clear('agent.line.x')\n"
        "            await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
    )
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"kept\n"
    await asyncio.sleep(0.1)
    process.kill()
    await process.wait()
    async with Alarms(tmp_path) as alarms:
        assert alarms.is_raised("agent.disk")
        assert (await alarms.history(0, 2**60))[-1].alarm.id == "agent.disk"


# -------------------------------------------------------------------- floods


async def test_a_chattering_alarm_is_held_until_it_is_quiet(box: Box) -> None:
    alarms = await box.open(chatter_raises_max=3, chatter_window_s=60, chatter_hold_s=100)
    for _ in range(50):
        alarms.raise_alarm(alarm())
        alarms.clear("a")
        box.pass_(0.1)
    changes = [change for change, _ in box.heard]
    assert changes == [Change.RAISED, Change.CLEARED] * 3 + [Change.HELD]
    assert alarms.active()[0].as_json()["chattering"] is True
    box.pass_(100)
    assert box.heard[-1][0] is Change.CLEARED
    assert not alarms.is_raised("a")


async def test_a_chattering_alarm_is_still_held_after_a_restart_and_gets_quiet(box: Box) -> None:
    alarms = await box.open(chatter_raises_max=1, chatter_hold_s=100)
    for _ in range(5):
        alarms.raise_alarm(alarm())
        alarms.clear("a")
    alarms = await box.open(chatter_raises_max=1, chatter_hold_s=100)
    alarms.clear("a")
    box.pass_(99)
    assert alarms.is_raised("a")
    box.pass_(1)
    assert not alarms.is_raised("a")


async def test_more_than_may_be_active_wait_and_come_in_when_there_is_room(box: Box) -> None:
    alarms = await box.open(active_max=10, events_per_minute_max=10_000)
    for at in range(15):
        alarms.raise_alarm(alarm(f"a{at}"))
    assert alarms.left_out == 5
    assert alarms.is_raised("agent.flood")
    assert alarms.is_raised("a14")
    alarms.clear("a14")
    for at in range(3):
        alarms.acknowledge(f"a{at}", "ana")
        alarms.clear(f"a{at}")
    box.pass_(1)
    assert alarms.left_out == 2
    assert alarms.get("a10") is not None
    assert len(alarms.active()) == 10
    alarms.raise_alarm(alarm("fire", Priority.CRITICAL))  # always finds room
    assert alarms.active()[0].id == "fire"


async def test_a_flood_of_low_alarms_does_not_hide_a_critical_one(box: Box) -> None:
    alarms = await box.open(events_per_minute_max=20)
    for at in range(200):
        alarms.raise_alarm(alarm(f"a{at}", Priority.LOW))
    alarms.raise_alarm(alarm("fire", Priority.CRITICAL))
    alarms.acknowledge("a199", "ana")
    told = await box.history()
    assert (Change.RAISED, "fire") in told
    assert (Change.ACKNOWLEDGED, "a199") in told
    assert sum(name.startswith("a") and change is Change.RAISED for change, name in told) == 20 + 1
    assert (Change.RAISED, "agent.flood") in told
    assert told[-1] == (Change.LOST, "agent.flood")
    assert (await alarms.history(0, 2**60))[0].note == "180"
    box.pass_(61)
    assert not alarms.is_raised("agent.flood")


async def test_a_million_transitions_stay_small(box: Box) -> None:
    alarms = await box.open(journal_events_max=1000)
    writing = asyncio.create_task(alarms.run())
    begun_s = time.perf_counter()
    names = [alarm(f"a{at}") for at in range(600)]
    for at in range(500_000):
        one = names[at % 600]
        alarms.raise_alarm(one)
        alarms.clear(one.id)
        if at % 10_000 == 0:
            box.pass_(1.0)
            await asyncio.sleep(0)
    took_s = time.perf_counter() - begun_s
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    told = await box.history()
    assert len(told) <= 1000
    assert len(alarms.active()) <= 501
    assert len(alarms._events) == 0
    assert alarms.left_out <= 100
    assert len(box.heard) < 20_000
    assert alarms.lost_events > 0
    assert (box.folder / ALARMS_FILE).stat().st_size < 5e6
    assert took_s < 60  # 3 s as a rule


async def test_a_million_names_stay_small(box: Box) -> None:
    alarms = await box.open(active_max=100)
    for at in range(20_000):
        alarms.happened(alarm(f"n{at}"))
    assert len(alarms.active()) <= 101
    assert alarms.left_out == LEFT_OUT_MAX
    assert len(alarms._ends_s) <= LEFT_OUT_MAX + 101


async def test_while_the_disk_refuses_alarms_go_on_in_memory(box: Box) -> None:
    alarms = await box.open()
    locked = sqlite3.connect(box.folder / ALARMS_FILE)
    await alarms.journal._database._db.execute("PRAGMA busy_timeout = 50")
    locked.execute("BEGIN EXCLUSIVE")
    writing = asyncio.create_task(alarms.run())
    alarms.raise_alarm(alarm())
    await until(lambda: alarms._episode.failures > 0)
    assert alarms.acknowledge("a", "ana").state is State.ACKNOWLEDGED
    locked.rollback()
    locked.close()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert await box.history() == [(Change.RAISED, "a"), (Change.ACKNOWLEDGED, "a")]
    assert (await box.open()).active()[0].state is State.ACKNOWLEDGED


async def test_a_broken_file_is_moved_aside(box: Box) -> None:
    (box.folder / ALARMS_FILE).write_bytes(b"no database" * 1000)
    alarms = await box.open()
    alarms.raise_alarm(alarm())
    assert await box.history() == [(Change.RAISED, "a")]
    assert list(box.folder.glob("alarms.broken-*.db"))


async def test_history_is_cut_by_time_name_and_number(box: Box) -> None:
    alarms = await box.open()
    for at in range(6):
        alarms.raise_alarm(alarm(f"a{at % 2}x{at}"))
        box.pass_(1)
    await alarms._commit()
    found = await alarms.history(START_MS + 1000, START_MS + 4000)
    assert [event.alarm.id for event in found] == ["a1x3", "a0x2", "a1x1"]
    assert [each.number for each in await alarms.history(0, 2**60, limit=2)] == [6, 5]
    assert [each.number for each in await alarms.history(0, 2**60, before=3)] == [2, 1]
    assert [each.number for each in await alarms.history(0, 2**60, name="a0x2")] == [3]
