"""What was published can never be replayed, wherever the gateway is killed."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.drivers.udp.intake import HELD_MAX
from agent.drivers.udp.keys import Key
from agent.drivers.udp.ledger import Marks
from agent.drivers.udp.message import Now

from .lab import KEY, NOW_MS, Core, datagram, first_values, sender

KEY_ID = Key(KEY).id


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(["send", "begin", "end", "tick", "boot"]), st.integers(1, 60))))
@example([("send", 1), ("tick", 1), ("send", 1), ("begin", 1), ("end", 1), ("begin", 6), ("send", 13)])
def test_whenever_it_is_killed_the_disk_covers_all_that_was_published(steps: list[tuple[str, int]]) -> None:
    """Sends, writes that take their time, bursts and restarts in any order; a kill after each step.

    A write that is under way may or may not have reached the disk: both must do.
    """
    core, boot, seq, now_s = Core(), 1, 0, 1000.0
    module = sender(boot, repeat=1)
    disk, writing, published = Marks({}), None, set[tuple[int, int]]()
    for step, count in steps:
        now_s += count / 20
        core.now = Now(NOW_MS, now_s)
        if step == "boot":
            boot, seq, module = boot + 1, 0, sender(boot + 1, repeat=1)
        elif step == "tick":
            core.intake.tick(core.now)
        elif step == "begin" and writing is None:
            writing = Marks(core.intake.ask(now_s))
        elif step == "end" and writing is not None:
            disk, writing = writing, None
            core.intake.kept(disk)
        for _ in range(count if step == "send" else 0):
            seq += 1
            core.intake.take([(datagram(module, (boot, seq)), ("127.0.0.1", 1))], core.now)
        published |= {(int(each.values[0]), int(each.values[1])) for each in core.intake.readings()}
        for possible in (disk, writing or disk):
            mark = possible.by_key.get(KEY_ID)
            assert all(mark and each <= (mark.boot, mark.limit) for each in published)


def test_after_a_kill_nothing_that_was_published_can_be_replayed() -> None:
    core, module = Core(), sender(repeat=1)
    recorded, published = [], 0
    for number in range(200):
        recorded.append(datagram(module, (number, 0)))
        published += len(core.take(recorded[-1]))
        again = core.killed()  # at every possible moment, with what the disk then had
        assert again.take(*recorded) == []
        assert again.counters.get("repeated", 0) + again.counters.get("stale", 0) == len(recorded)
    assert published == 200


def test_nothing_is_published_before_the_disk_has_it() -> None:
    core, module = Core(), sender(repeat=1)
    assert core.take(datagram(module, (1, 0)), keep=False) == []
    assert core.intake.needs_keeping
    assert core.replies == []
    core.keep()
    assert first_values(core.intake.readings()) == [1]
    assert len(core.intake.replies()) == 1
    while not core.intake.needs_keeping:  # within the limit it needs no disk
        core.take(datagram(module), keep=False)
    assert core.disk.by_key[KEY_ID].limit >= 3


def test_a_write_that_began_before_a_new_boot_does_not_cover_it() -> None:
    core = Core()
    core.take(datagram(sender(1)))
    marks = Marks(core.intake.ask(core.now.s))
    assert core.take(datagram(sender(2)), keep=False) == []
    core.intake.kept(marks)
    assert core.intake.readings() == []
    core.keep()
    assert len(core.intake.readings()) == 1


def test_after_a_kill_a_module_goes_on_and_a_fresh_datagram_brings_what_was_refused() -> None:
    core, module = Core(), sender(repeat=8)
    for number in range(1, 21):  # one a second
        core.now = Now(NOW_MS, 1000 + number)
        core.take(datagram(module, (number, 0)))
    again = core.killed()
    limit = again.disk.by_key[KEY_ID].limit
    assert limit <= 20 + 6
    refused = [datagram(module, (at, 0)) for at in range(21, limit + 1)]
    assert again.take(*refused) == []
    fresh = first_values(again.take(datagram(module, (limit + 1, 0))))
    assert fresh[-1] == limit + 1
    assert set(range(21, limit + 2)) <= set(fresh)


def test_the_limit_runs_ahead_with_the_pace_of_the_module() -> None:
    core, module = Core(), sender(repeat=1)
    saves = 0
    for number in range(1000):  # 50 a second
        core.now = Now(NOW_MS, 1000 + number / 50)
        core.take(datagram(module), keep=False)
        saves += core.intake.needs_keeping
        core.keep()
    assert saves < 20  # of 20 seconds
    assert core.disk.by_key[KEY_ID].limit - 1000 <= 50 * 6


def test_a_module_that_sends_once_a_second_is_never_far_behind_its_limit() -> None:
    core, module, saves = Core(), sender(repeat=1), 0
    for quarter in range(4 * 120):
        core.now = Now(NOW_MS, 1000 + quarter / 4)
        if quarter % 4 == 0:
            core.take(datagram(module), keep=False)
        if quarter % 5 == 0:
            core.intake.tick(core.now)
        saves += core.intake.needs_keeping
        core.keep()
        assert core.disk.by_key[KEY_ID].limit - quarter // 4 <= 9
    assert saves < 120 / 2


def test_a_burst_does_not_run_the_limit_far_ahead() -> None:
    core, module = Core(), sender(repeat=1)
    core.take(*(datagram(module) for _ in range(20)))
    for tick in (1, 2):
        core.now = Now(NOW_MS, 1000 + 1.25 * tick)
        core.intake.tick(core.now)
        core.keep()
    assert core.disk.by_key[KEY_ID].limit <= 20 + 4


def test_what_waits_for_the_disk_is_bounded() -> None:
    core, module = Core(), sender(repeat=1)
    core.take(*(datagram(module) for _ in range(HELD_MAX + 10)), keep=False)
    assert core.counters == {"overrun": 10}
    core.keep()
    assert len(core.intake.readings()) == HELD_MAX
