"""Commands are leases: the strongest holds the point, and when nobody does the fallback is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dispatch import (
    ENDED_KEPT_MAX,
    REFRESH_S,
    Command,
    Dispatch,
    Priority,
    Refused,
    State,
    winner,
)
from agent.drivers.command import WriteFailed
from agent.model import Device, Group, Kind, Point, Writable

SETPOINT = Point("setpoint", "°C", writable=Writable(16, 30, 0.5, "keeps it", fallback=24.0))
FAN = Point("fan", "", Kind.STATE, {0: "low", 1: "high"}, Writable(0, 1))
ROOM = Group(Device("ac", "unit"), "main", (Point("temperature", "°C"), SETPOINT, FAN), 1000)


class Unit:
    """The hardware edge: remembers what was written; fails as told; its clock can be moved ahead."""

    def __init__(self) -> None:
        self.written: list[tuple[str, float]] = []
        self.failure: WriteFailed | None = None
        self.hold_s = 0.0
        self.ahead_s = 0.0
        self.busy = 0

    async def write(self, device: str, point: str, value: float) -> None:
        assert device == "ac"
        self.busy += 1
        assert self.busy == 1, "two writes to one device at once"
        await asyncio.sleep(0)
        self.busy -= 1
        if self.failure:
            raise self.failure
        self.written.append((point, value))


@asynccontextmanager
async def dispatching(unit: Unit) -> AsyncIterator[Dispatch]:
    dispatch = Dispatch(
        [ROOM],
        unit.write,
        guard=lambda _point, _value: unit.hold_s,
        clock=lambda: time.monotonic() + unit.ahead_s,
    )
    task = asyncio.create_task(dispatch.run())
    try:
        yield dispatch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.002)


def a_while() -> asyncio.Future[None]:
    return asyncio.ensure_future(asyncio.sleep(0.05))


async def test_a_command_is_written_and_says_so() -> None:
    unit = Unit()
    async with dispatching(unit) as dispatch:
        command = dispatch.submit("ac.setpoint", 23.5, Priority.MANUAL, "ana", 60)
        assert command.state is State.ACCEPTED
        assert (await dispatch.settled(command, 5)).state is State.WRITTEN
        assert unit.written == [("setpoint", 23.5)]
        assert dispatch.winner("ac.setpoint") in dispatch.commands


@pytest.mark.parametrize(
    ("point", "value", "lease_s", "words"),
    [
        ("ac.setpoint", 35, 60, "expected 16 to 30, found 35"),
        ("ac.setpoint", 23.2, 60, "steps of 0.5"),
        ("ac.setpoint", float("nan"), 60, "expected a number"),
        ("ac.fan", 0.5, 60, "expected one of 0 low, 1 high"),
        ("ac.temperature", 20, 60, "not a point that can be written"),
        ("nothing", 20, 60, "not a point that can be written"),
        ("ac.setpoint", 20, 0, "lease: expected 1 to"),
        ("ac.setpoint", 20, float("inf"), "lease: expected"),
        ("ac.setpoint", 20, float("nan"), "lease: expected"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(
    point: str, value: float, lease_s: float, words: str
) -> None:
    unit = Unit()
    async with dispatching(unit) as dispatch:
        with pytest.raises(Refused, match=words):
            dispatch.submit(point, value, Priority.MANUAL, "ana", lease_s)
        await a_while()
        assert not unit.written
        assert not dispatch.commands


async def test_the_stronger_holds_the_point_and_the_weaker_has_it_back() -> None:
    unit = Unit()
    async with dispatching(unit) as dispatch:
        weak = dispatch.submit("ac.setpoint", 25, Priority.CONTROL, "room", 900)
        await dispatch.settled(weak, 5)
        strong = dispatch.submit("ac.setpoint", 20, Priority.MANUAL, "ana", 60)
        await dispatch.settled(strong, 5)
        await until(lambda: dispatch.commands[0].state is State.OUTRANKED)
        assert "ana holds the point" in dispatch.commands[0].reason
        renewed = dispatch.submit("ac.setpoint", 26, Priority.CONTROL, "room", 900)
        assert (await dispatch.settled(renewed, 5)).state is State.OUTRANKED
        assert dispatch.release("ac.setpoint", Priority.MANUAL)
        await until(lambda: unit.written[-1] == ("setpoint", 26))
        assert not dispatch.release("ac.setpoint", Priority.MANUAL)
        assert [command.state for command in dispatch.ended] == [State.REPLACED, State.RELEASED]


async def test_who_stops_renewing_stops_commanding() -> None:
    unit = Unit()
    async with dispatching(unit) as dispatch:
        command = dispatch.submit("ac.setpoint", 20, Priority.CONTROL, "room", 1.0)
        await dispatch.settled(command, 5)
        unit.ahead_s += 1.0
        dispatch.submit("ac.fan", 1, Priority.CONTROL, "room", 60)  # another point is not concerned
        await until(lambda: ("setpoint", 24.0) in unit.written)
        assert dispatch.ended[-1].state is State.EXPIRED
        await a_while()
        assert unit.written.count(("setpoint", 24.0)) == 1
        assert unit.written.count(("fan", 1)) == 1


async def test_a_point_without_fallback_keeps_what_it_has() -> None:
    unit = Unit()
    async with dispatching(unit) as dispatch:
        await dispatch.settled(dispatch.submit("ac.fan", 1, Priority.MANUAL, "ana", 60), 5)
        dispatch.release("ac.fan", Priority.MANUAL)
        await a_while()
        assert unit.written == [("fan", 1)]


async def test_renewing_does_not_wear_the_device_out_but_a_person_is_obeyed_again() -> None:
    unit = Unit()
    async with dispatching(unit) as dispatch:
        for _ in range(5):
            command = dispatch.submit("ac.setpoint", 25, Priority.CONTROL, "room", 900)
            assert (await dispatch.settled(command, 5)).state is State.WRITTEN
        assert unit.written == [("setpoint", 25)]
        unit.ahead_s += REFRESH_S
        await dispatch.settled(dispatch.submit("ac.setpoint", 25, Priority.CONTROL, "room", 900), 5)
        assert len(unit.written) == 2
        for _ in range(2):
            unit.ahead_s += 1
            await dispatch.settled(dispatch.submit("ac.setpoint", 25, Priority.MANUAL, "ana", 900), 5)
        assert len(unit.written) == 4


async def test_a_failed_write_says_why_and_is_tried_again() -> None:
    unit = Unit()
    unit.failure = WriteFailed("ac.setpoint: no answer")
    async with dispatching(unit) as dispatch:
        failed = await dispatch.settled(dispatch.submit("ac.setpoint", 25, Priority.MANUAL, "ana", 900), 5)
        assert (failed.state, failed.reason) == (State.FAILED, "ac.setpoint: no answer")
        unit.failure = None
        unit.ahead_s += 60
        await until(lambda: dispatch.commands[0].state is State.WRITTEN)


async def test_a_guard_delays_whoever_asks() -> None:
    unit = Unit()
    unit.hold_s = 300.0
    async with dispatching(unit) as dispatch:
        command = dispatch.submit("ac.setpoint", 25, Priority.MANUAL, "ana", 900)
        waiting = await dispatch.settled(command, 0.05)
        assert (waiting.state, waiting.reason) == (State.ACCEPTED, "waits 300 s")
        assert not unit.written
        unit.hold_s = 0.0
        dispatch.submit("ac.setpoint", 25, Priority.MANUAL, "ana", 900)
        await until(lambda: unit.written)


async def test_at_the_end_the_fallbacks_are_written() -> None:
    unit = Unit()
    async with dispatching(unit) as dispatch:
        await dispatch.settled(dispatch.submit("ac.setpoint", 20, Priority.CONTROL, "room", 900), 5)
    await dispatch.relinquish()
    assert unit.written[-1] == ("setpoint", 24.0)
    assert not dispatch.commands
    count = len(unit.written)
    unit.failure = WriteFailed("gone")
    await dispatch.relinquish()  # ends, whatever the device says
    assert len(unit.written) == count


async def test_everyone_who_listens_hears_the_whole_life_of_a_command() -> None:
    unit = Unit()
    heard: list[Command] = []
    async with dispatching(unit) as dispatch:
        stop = dispatch.listen(heard.append)
        await dispatch.settled(dispatch.submit("ac.setpoint", 20, Priority.MANUAL, "ana", 60), 5)
        dispatch.release("ac.setpoint", Priority.MANUAL)
        assert [each.state for each in heard] == [State.ACCEPTED, State.WRITTEN, State.RELEASED]
        stop()
        dispatch.submit("ac.setpoint", 20, Priority.MANUAL, "ana", 60)
        assert len(heard) == 3


async def test_what_is_over_is_remembered_up_to_a_limit() -> None:
    unit = Unit()
    async with dispatching(unit) as dispatch:
        for _ in range(ENDED_KEPT_MAX + 10):
            dispatch.submit("ac.setpoint", 20, Priority.MANUAL, "ana", 60)
        assert len(dispatch.ended) == ENDED_KEPT_MAX
        assert len(dispatch.commands) == 1
        await a_while()
        assert len(unit.written) < 5  # the newest, not a thousand


@given(st.lists(st.tuples(st.sampled_from(Priority), st.floats(0, 100)), max_size=8))
def test_the_winner_is_alive_and_strongest(entries: list[tuple[Priority, float]]) -> None:
    commands = [
        Command(number, "ac.setpoint", 20, priority, "x", expires_s, 0)
        for number, (priority, expires_s) in enumerate(entries)
    ]
    found = winner(commands, 50.0)
    live = [command for command in commands if command.expires_s > 50.0]
    if found is None:
        assert not live
    else:
        assert found in live
        assert all(found.priority <= each.priority for each in live)
        assert all(found.id >= each.id for each in live if each.priority == found.priority)
