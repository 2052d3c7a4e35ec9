from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import orjson

from agent.hub import Hub
from agent.model import Device, Group, Point, Reading
from agent.server.live import FLUSH_S, Batch, Live, Subscription
from agent.server.outbox import Outbox
from agent.server.selection import Selection
from tests.server.conftest import METER, SENSOR, START_MS, meter, sensor

KB_64 = 65536
EVERYTHING = Selection()


def every(outbox: Outbox, selection: Selection = EVERYTHING) -> Subscription:
    return Subscription(outbox, "live", selection, "every")


async def messages(outbox: Outbox) -> list[dict[str, Any]]:
    """What is filed now."""
    return [orjson.loads(await outbox.take()) for _ in range(len(outbox._messages))]


def times(message: dict[str, Any]) -> list[int]:
    return [reading["time_ms"] - START_MS for reading in message["readings"]]


async def test_nothing_is_missed_and_nothing_comes_twice() -> None:
    hub = Hub([METER, SENSOR])
    live = Live(hub)
    live.open()
    early, late = Outbox(KB_64), Outbox(KB_64)
    hub.publish([meter(START_MS)])
    live.join(every(early))
    hub.publish([meter(START_MS + 1)])
    hub.publish([meter(START_MS + 2), sensor(START_MS + 2, 21.5)])
    live.join(every(late))
    hub.publish([meter(START_MS + 3)])
    live.close()
    hub.publish([meter(START_MS + 4)])
    assert [times(each) for each in await messages(early)] == [[0], [1, 2, 2], [3]]
    assert [times(each) for each in await messages(late)] == [[2, 2], [3]]


async def test_readings_after_a_pause_come_at_once_and_together() -> None:
    """uvloop's handle of what is due at once has no time of its own: the second reading ended the agent."""
    hub, outbox = Hub([METER]), Outbox(KB_64)
    live = Live(hub)
    live.open()
    live.join(every(outbox))
    for pause in range(2):
        await asyncio.sleep(2 * FLUSH_S)
        hub.publish([meter(START_MS + 2 * pause)])
        hub.publish([meter(START_MS + 2 * pause + 1)])
    await asyncio.sleep(2 * FLUSH_S)
    live.close()
    assert [times(each) for each in await messages(outbox)] == [[], [0, 1], [2, 3]]


async def test_every_does_not_wait_for_latest() -> None:
    hub = Hub([METER])
    live = Live(hub)
    live.open()
    seldom, often = Outbox(KB_64), Outbox(KB_64)
    live.join(Subscription(seldom, 1, EVERYTHING, "latest", 60.0))
    live.join(every(often))
    hub.publish([meter(START_MS)])
    await asyncio.sleep(0.1)
    hub.publish([meter(START_MS + 1)])  # the timer now waits for the minute to end
    await asyncio.sleep(0.1)
    assert [times(each) for each in await messages(often)] == [[], [0], [1]]
    assert [times(each) for each in await messages(seldom)] == [[], [0]]
    live.close()
    assert live._timer is None


async def test_what_comes_late_is_not_the_latest() -> None:
    hub = Hub([METER])
    live = Live(hub)
    live.open()
    latest, all_of_it = Outbox(KB_64), Outbox(KB_64)
    live.join(Subscription(latest, 1, EVERYTHING, "latest", 0.05))
    live.join(every(all_of_it))
    hub.publish([meter(START_MS + 5)])
    await asyncio.sleep(0.1)
    hub.publish([meter(START_MS + 1)])
    await asyncio.sleep(0.1)
    live.close()
    assert [times(each) for each in await messages(latest)] == [[], [5]]
    assert [times(each) for each in await messages(all_of_it)] == [[], [5], [1]]


async def test_who_lags_is_remembered_by_group_and_gets_the_newest() -> None:
    hub = Hub([METER, SENSOR])
    live = Live(hub)
    live.open()
    outbox = Outbox(KB_64)
    wanted = Subscription(outbox, 1, EVERYTHING, "latest", 0.01)
    live.join(wanted)
    for at in range(10):
        hub.publish([meter(START_MS + at), sensor(START_MS + at, 1.0)])
        await asyncio.sleep(0.06)
    assert wanted.missed == {METER, SENSOR}
    assert [len(times(each)) for each in await messages(outbox)] == [0, 2, 2, 2]
    await asyncio.sleep(0.1)
    assert [times(each) for each in await messages(outbox)] == [[9, 9]]
    live.leave(wanted)
    hub.publish([meter(START_MS + 99)])
    live.close()
    assert await messages(outbox) == []
    assert live.subscriptions == 0


async def test_nobody_watching_costs_nothing() -> None:
    hub = Hub([METER])
    live = Live(hub)
    live.open()
    for each in (every(Outbox(KB_64)), Subscription(Outbox(KB_64), 1, EVERYTHING)):
        live.join(each)
        live.leave(each)
    hub.publish([meter(START_MS)])
    assert live._came == []
    assert live._timer is None


class CountedValues(Sequence[float]):
    """Values that count how often they are read."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: Any) -> Any:
        self.reads += 1
        return 1.0


def test_a_reading_is_encoded_once_for_all() -> None:
    values = CountedValues()
    batch = Batch([Reading(METER, START_MS, values)])
    first = batch.message(b"", Selection())
    assert batch.message(b"", Selection(["*"])) is first
    assert batch.message(b"", Selection(["meter.*"])) == first
    assert batch.message(b"", Selection(["sensor.*"])) is None
    assert values.reads == 3


def test_values_are_the_same_float_in_json() -> None:
    values = (0.1, 229.99999999999997, 5e-324, 1.7976931348623157e308, -0.0, math.nan, math.inf, 1e22)
    group = Group(Device("odd", "odd"), "all", tuple(Point(f"p{at}") for at in range(8)), 0)
    message = Batch([Reading(group, START_MS, values)]).message(b"", Selection())
    assert message
    found = list(orjson.loads(message)["readings"][0]["values"].values())
    assert found == [0.1, 229.99999999999997, 5e-324, 1.7976931348623157e308, -0.0, None, None, 1e22]
    assert math.copysign(1, found[4]) == -1


async def test_what_comes_after_a_pause_is_sent_at_once() -> None:
    hub = Hub([METER])
    live = Live(hub)
    live.open()
    ours, theirs = Outbox(KB_64), Outbox(KB_64)
    live.join(every(ours))
    live.join(Subscription(theirs, 1, EVERYTHING, "latest", 60.0))
    await asyncio.sleep(0.06)
    hub.publish([meter(START_MS)])
    hub.publish([meter(START_MS + 1)])
    await asyncio.sleep(0)  # not FLUSH_S
    await asyncio.sleep(0)
    hub.publish([meter(START_MS + 2)])
    await asyncio.sleep(0)
    assert [times(each) for each in await messages(ours)] == [[], [0, 1]]
    assert [times(each) for each in await messages(theirs)] == [[], [1]]
    live.close()
    assert [times(each) for each in await messages(ours)] == [[2]]
