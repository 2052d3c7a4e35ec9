"""One at a time, the urgent first, nobody forgotten."""

import asyncio
import contextlib
import random

import pytest

from agent.drivers.modbus.turns import URGENT_MAX, BusyError, Turns


async def started(turns: Turns, name: str, order: list[str], *, urgent: bool = False) -> asyncio.Task[None]:
    async def use() -> None:
        await turns.take(urgent=urgent)
        order.append(name)
        await asyncio.sleep(0)
        turns.give()

    task = asyncio.create_task(use())
    await asyncio.sleep(0)
    return task


async def test_the_urgent_go_first_each_kind_in_its_order() -> None:
    turns, order = Turns(), []
    await turns.take()
    tasks = [
        await started(turns, name, order, urgent=name.startswith("w")) for name in ("r1", "w1", "r2", "w2")
    ]
    turns.give()
    await asyncio.gather(*tasks)
    assert order == ["w1", "w2", "r1", "r2"]


async def test_a_turn_handed_to_a_cancelled_waiter_goes_on() -> None:
    turns, order = Turns(), []
    await turns.take()
    first = await started(turns, "first", order)
    second = await started(turns, "second", order)
    turns.give()
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert order == ["second"]
    await asyncio.wait_for(turns.take(), 1)


async def test_who_waits_on_a_lost_line_is_told() -> None:
    turns = Turns()
    await turns.take()
    waiting = await started(turns, "x", [])
    turns.fail(ConnectionError("gone"))
    with pytest.raises(ConnectionError, match="gone"):
        await waiting


async def test_the_urgent_queue_is_bounded() -> None:
    turns = Turns()
    await turns.take()
    waiting = [await started(turns, "w", [], urgent=True) for _ in range(URGENT_MAX)]
    with pytest.raises(BusyError):
        await turns.take(urgent=True)
    turns.give()
    await asyncio.gather(*waiting)


async def test_whatever_is_cancelled_when_only_one_has_the_turn() -> None:
    turns, rand, users = Turns(), random.Random(2), 0

    async def use() -> None:
        nonlocal users
        await turns.take(urgent=rand.random() < 0.5)
        try:
            users += 1
            assert users == 1
            await asyncio.sleep(0)
        finally:
            users -= 1
            turns.give()

    for _ in range(200):
        tasks = [asyncio.create_task(use()) for _ in range(6)]
        for task in rand.sample(tasks, 3):
            for _ in range(rand.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, 1)
    await asyncio.wait_for(turns.take(), 1)
