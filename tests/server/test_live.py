from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson

from agent.hub import Hub
from agent.model import Device, Group, Point, Reading
from agent.server.live import TOO_SLOW, Batch, Live, Seat
from agent.server.selection import Selection
from tests.server.conftest import METER, SENSOR, START_MS, meter, sensor

KB_64 = 65536


async def messages(seat: Seat) -> list[dict[str, Any]]:
    """What is filed for `seat` now."""
    return [orjson.loads(await seat.take()) for _ in range(len(seat._messages))]


def times(message: dict[str, Any]) -> list[int]:
    return [reading["time_ms"] - START_MS for reading in message["readings"]]


async def test_nothing_is_missed_and_nothing_comes_twice() -> None:
    hub = Hub([METER, SENSOR])
    live = Live(hub)
    live.open()
    early, late = Seat(KB_64), Seat(KB_64)
    hub.publish([meter(START_MS)])
    live.join(early, b'"type":"welcome",')
    hub.publish([meter(START_MS + 1)])
    hub.publish([meter(START_MS + 2), sensor(START_MS + 2, 21.5)])
    live.join(late, b'"type":"welcome",')
    hub.publish([meter(START_MS + 3)])
    live.close()
    hub.publish([meter(START_MS + 4)])
    assert [times(each) for each in await messages(early)] == [[0], [1, 2, 2], [3]]
    assert [times(each) for each in await messages(late)] == [[2, 2], [3]]


async def test_a_new_choice_holds_from_then_on() -> None:
    hub = Hub([METER, SENSOR])
    live = Live(hub)
    live.open()
    seat = Seat(KB_64)
    live.join(seat, b"")
    hub.publish([meter(START_MS)])
    live.choose(seat, Selection(["meter.v*", "other.*"]))
    hub.publish([sensor(START_MS + 1)])
    hub.publish([meter(START_MS + 2), sensor(START_MS + 2)])
    live.close()
    _, before, after = await messages(seat)
    assert before["readings"][0]["values"] == {"voltage": 230.0, "energy": 1.5, "mode": 1.0}
    assert after["readings"] == [
        {
            "device": "meter",
            "group": "fast",
            "time_ms": START_MS + 2,
            "quality": "good",
            "values": {"voltage": 230.0},
        }
    ]


async def test_nobody_watching_costs_nothing() -> None:
    hub = Hub([METER])
    live = Live(hub)
    live.open()
    seat = Seat(KB_64)
    live.join(seat, b"")
    live.leave(seat)
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
    first = batch.message(Selection())
    assert batch.message(Selection(["*"])) is first
    assert batch.message(Selection(["meter.*"])) == first
    assert batch.message(Selection(["sensor.*"])) is None
    assert values.reads == 3


async def test_a_full_backlog_ends_the_client_and_drops_what_it_held() -> None:
    seat = Seat(KB_64)
    seat.put(b"x" * 100_000)  # a lone message always fits
    assert not seat.ended.done()
    seat.put(b"x")
    assert seat.ended.result()[0] == TOO_SLOW
    seat.put(b"y")
    seat.end(1001, "late")
    assert seat.ended.result()[0] == TOO_SLOW
    assert not seat._messages


def test_values_are_the_same_float_in_json() -> None:
    values = (0.1, 229.99999999999997, 5e-324, 1.7976931348623157e308, -0.0, math.nan, math.inf, 1e22)
    group = Group(Device("odd", "odd"), "all", tuple(Point(f"p{at}") for at in range(8)), 0)
    message = Batch([Reading(group, START_MS, values)]).message(Selection())
    assert message
    found = list(orjson.loads(message)["readings"][0]["values"].values())
    assert found == [0.1, 229.99999999999997, 5e-324, 1.7976931348623157e308, -0.0, None, None, 1e22]
    assert math.copysign(1, found[4]) == -1
