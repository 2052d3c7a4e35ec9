"""The ledger against what a fake ThingsBoard stores, over real sockets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.centre import reconcile as module
from agent.centre.client import Rest, RestError
from agent.centre.reconcile import HOUR_MS, Claim, Site, Verdict, claims_of, here_in, reconcile
from agent.model import Group, Point, Reading
from agent.store import Store
from tests.centre.conftest import AC, METER, TOTALS, Waits
from tests.thingsboard_http.server import FakeThingsBoard

H0 = 480_000 * HOUR_MS
NAN = math.nan


class Box:
    """This box: what is in its log, what was asked to be sent again."""

    def __init__(self, fake: FakeThingsBoard) -> None:
        self.fake = fake
        self.readings: list[Reading] = []
        self.requeued: list[tuple[str, str, int, int]] = []
        self.delivered: dict[tuple[str, int], int] = {}
        for name in ("acme", "main-meter", "ac-101"):
            fake.centre.save("DEVICE", {"name": name})

    def deliver(self, *readings: Reading, stored: bool = True, kept: bool = True) -> None:
        for reading in readings:
            device = reading.group.device.name
            key = (device, reading.time_ms - reading.time_ms % HOUR_MS)
            self.delivered[key] = self.delivered.get(key, 0) + 1
            if kept:
                self.readings.append(reading)
            if stored:
                self.store(reading)

    def store(self, reading: Reading) -> None:
        names = [point.name for point in reading.group.points]
        values = {k: v for k, v in zip(names, reading.values, strict=True) if not math.isnan(v)}
        name = reading.group.device.name
        self.fake.centre.telemetry("acme" if name == "agent" else name, reading.time_ms, values)

    async def here(self, device: str, from_ms: int, to_ms: int) -> Mapping[Group, set[int]]:
        times: dict[Group, set[int]] = {}
        for group, time_ms, values, _ in self.readings:
            if group.device.name == device and from_ms <= time_ms < to_ms:
                times.setdefault(group, set())
                if not all(map(math.isnan, values)):
                    times[group].add(time_ms)
        return times

    async def requeue(self, uplink: str, device: str, from_ms: int, to_ms: int) -> None:
        self.requeued.append((uplink, device, from_ms, to_ms))

    def site(self) -> Site:
        groups = {"main-meter": (METER, TOTALS), "ac-101": (AC,)}
        return Site("center", "acme", groups, self.here, self.requeue)

    def claims(self) -> Iterable[Claim]:
        return [Claim(device, hour, count) for (device, hour), count in self.delivered.items()]


@pytest.fixture
def box(fake: FakeThingsBoard) -> Box:
    return Box(fake)


def fast(at_ms: int, *values: float) -> Reading:
    return Reading(METER, at_ms, values or (230.0, 1000.0, 60.0))


async def verdicts(rest: Rest, box: Box, **more: Any) -> list[Verdict]:
    return await reconcile(rest, box.site(), box.claims(), **{"sleep": Waits(), **more})


async def test_all_stored_is_well_and_nothing_waits(rest: Rest, box: Box) -> None:
    box.deliver(*(fast(H0 + at * 1000) for at in range(3600)), Reading(TOTALS, H0 + 1000, (1.0,)))
    waits = Waits()
    assert await verdicts(rest, box, sleep=waits) == [Verdict("main-meter", H0, 3601, 3601, 0, "well")]
    assert not box.requeued
    assert not waits


async def test_what_is_missing_is_handed_over_as_narrow_as_it_is(rest: Rest, box: Box) -> None:
    box.deliver(*(fast(H0 + at * 1000) for at in range(100)))
    box.deliver(*(fast(H0 + at * 1000) for at in range(100, 120)), stored=False)
    box.deliver(*(fast(H0 + at * 1000) for at in range(120, 200)))
    box.deliver(*(fast(H0 + HOUR_MS + at * 1000) for at in range(10)))
    waits = Waits()
    assert await verdicts(rest, box, sleep=waits) == [
        Verdict("main-meter", H0, 200, 180, 20, "missing"),
        Verdict("main-meter", H0 + HOUR_MS, 10, 10, 0, "well"),
    ]
    assert box.requeued == [("center", "main-meter", H0 + 100_000, H0 + 119_001)]
    assert waits == [module.SETTLE_S]


async def test_requeued_and_delivered_it_is_well(rest: Rest, box: Box) -> None:
    lost = [fast(H0 + at) for at in range(5)]
    box.deliver(*lost, stored=False)
    assert (await verdicts(rest, box))[0].status == "missing"
    for reading in lost:
        box.store(reading)
    assert (await verdicts(rest, box))[0].status == "well"


async def test_points_that_are_not_available_are_not_missing(rest: Rest, box: Box) -> None:
    box.deliver(fast(H0, NAN, 1.0, NAN), fast(H0 + 1, NAN, NAN, 60.0), fast(H0 + 2, NAN, NAN, NAN))
    assert await verdicts(rest, box) == [Verdict("main-meter", H0, 3, 2, 0, "well")]
    box.deliver(fast(H0 + 3, NAN, NAN, 60.0), stored=False)
    assert await verdicts(rest, box) == [Verdict("main-meter", H0, 4, 2, 1, "missing")]


async def test_two_groups_at_one_time_are_two_readings(rest: Rest, box: Box) -> None:
    box.deliver(fast(H0))
    box.deliver(Reading(TOTALS, H0, (1.0,)), stored=False)
    assert await verdicts(rest, box) == [Verdict("main-meter", H0, 2, 1, 1, "missing")]


async def test_the_edges_of_an_hour(rest: Rest, box: Box) -> None:
    box.deliver(fast(H0), fast(H0 + HOUR_MS - 1), fast(H0 + HOUR_MS))
    box.deliver(fast(H0 + 2 * HOUR_MS - 1), stored=False)
    assert [(each.hour_ms, each.stored, each.status) for each in await verdicts(rest, box)] == [
        (H0, 2, "well"),
        (H0 + HOUR_MS, 1, "missing"),
    ]
    assert box.requeued == [("center", "main-meter", H0 + 2 * HOUR_MS - 1, H0 + 2 * HOUR_MS)]


async def test_pages_of_a_long_range(rest: Rest, box: Box, fake: FakeThingsBoard) -> None:
    box.deliver(*(fast(H0 + at * 500) for at in range(3 * module.PAGE_ROWS)))
    found = await verdicts(rest, box)
    assert sum(each.stored for each in found) == 3 * module.PAGE_ROWS
    queries = [query for _, path, query in fake.requests if path.endswith("/values/timeseries")]
    assert len(queries) == 4 + 1  # the last page is empty; and one for the slow group
    assert all(int(query["limit"]) == module.PAGE_ROWS for query in queries)


async def test_hours_apart_are_not_asked_between(rest: Rest, box: Box, fake: FakeThingsBoard) -> None:
    box.deliver(fast(H0), fast(H0 + 500 * HOUR_MS))
    await verdicts(rest, box)
    spans = [
        int(query["endTs"]) - int(query["startTs"])
        for _, path, query in fake.requests
        if path.endswith("/values/timeseries")
    ]
    assert set(spans) == {HOUR_MS}


async def test_what_the_centre_no_longer_keeps_is_not_missing(rest: Rest, box: Box) -> None:
    box.deliver(fast(H0), fast(H0 + HOUR_MS), stored=False)
    found = await verdicts(rest, box, kept_from_ms=H0 + 1)
    assert [each.status for each in found] == ["expired", "missing"]
    assert [each[2] for each in box.requeued] == [H0 + HOUR_MS]


async def test_what_is_no_longer_here_is_gone(rest: Rest, box: Box) -> None:
    box.deliver(fast(H0), fast(H0 + 1))
    box.deliver(fast(H0 + 2), stored=False)
    box.readings.clear()
    assert await verdicts(rest, box) == [Verdict("main-meter", H0, 3, 2, 1, "gone")]
    assert not box.requeued


async def test_what_waits_is_not_missing(rest: Rest, box: Box) -> None:
    box.deliver(fast(H0), fast(H0 + 1, NAN, NAN, NAN))
    box.readings.append(fast(H0 + 2))
    claim = Claim("main-meter", H0, 2, waiting=1)
    found = await reconcile(rest, box.site(), [claim], sleep=Waits())
    assert [each.status for each in found] == ["well"]
    assert not box.requeued


async def test_what_is_stored_a_moment_later_is_well(rest: Rest, box: Box) -> None:
    late = fast(H0)
    box.deliver(late, stored=False)

    async def sleep(_: float) -> None:
        box.store(late)

    assert [each.status for each in await verdicts(rest, box, sleep=sleep)] == ["well"]


async def test_a_device_that_the_centre_does_not_know(rest: Rest, box: Box, fake: FakeThingsBoard) -> None:
    box.deliver(Reading(AC, H0, (1.0, 22.0)))
    fake.centre.delete(fake.centre.named("DEVICE", "ac-101")["id"]["id"])
    assert await verdicts(rest, box) == [Verdict("ac-101", H0, 1, 0, 1, "missing")]


async def test_the_agents_own_points_are_the_gateways(rest: Rest, box: Box) -> None:
    health = Group(type(METER.device)("agent", "uicps-agent"), "health", (Point("memory", "MB"),), 10_000)
    box.deliver(Reading(health, H0, (50.0,)))
    assert [each.status for each in await verdicts(rest, box)] == ["well"]


async def test_a_device_that_left_the_config_is_compared_all_the_same(rest: Rest, box: Box) -> None:
    old = Group(type(METER.device)("main-meter", "old"), "gone", (Point("x"), Point("y")), 1000)
    box.deliver(Reading(old, H0, (1.0, 2.0)))
    site = box.site()._replace(groups={})
    found = await reconcile(rest, site, box.claims(), sleep=Waits())
    assert found == [Verdict("main-meter", H0, 1, 1, 0, "well")]


async def test_a_device_that_nobody_here_knows_is_not_judged(rest: Rest, box: Box) -> None:
    found = await reconcile(rest, box.site(), [Claim("sold", H0, 5)], sleep=Waits())
    assert found == [Verdict("sold", H0, 5, 0, 0, "unknown")]


async def test_a_centre_that_answers_another_range_is_not_believed(
    rest: Rest, box: Box, fake: FakeThingsBoard
) -> None:
    box.deliver(fast(H0))
    rows = '{"voltage_l1": [{"ts": 1, "value": "2"}]}'
    fake.surprise(path=r".*/values/timeseries", status=200, plain=True, text=rows, times=9)
    with pytest.raises(RestError, match="expected rows of the range"):
        await verdicts(rest, box)


async def test_a_centre_that_fails_midway_is_said(rest: Rest, box: Box, fake: FakeThingsBoard) -> None:
    box.deliver(fast(H0))
    fake.surprise(path=r".*/values/timeseries", status=503, times=99)
    with pytest.raises(RestError, match="503"):
        await verdicts(rest, box)


class Row(NamedTuple):
    hour_ms: int
    device: str
    acquired: int
    delivered: Mapping[str, int]

    def waiting(self, uplink: str) -> int:
        return max(0, self.acquired - self.delivered.get(uplink, 0))


def test_claims_of_the_ledger() -> None:
    rows = [Row(H0, "a", 10, {"center": 7}), Row(H0, "b", 10, {"center": 14}), Row(H0, "c", 5, {"x": 5})]
    assert claims_of(rows, "center") == [Claim("a", H0, 7, 3), Claim("b", H0, 10, 0)]


async def test_against_a_real_store(rest: Rest, box: Box, tmp_path: Path) -> None:
    box.deliver(fast(H0), fast(H0 + 1, NAN, NAN, NAN))
    box.deliver(fast(H0 + 2), stored=False)
    async with Store(tmp_path / "readings.db") as store:
        store.append([*box.readings, Reading(AC, H0, (1.0, 22.0))])
        groups = box.site().groups
        site = box.site()._replace(here=here_in(store.history, groups))
        found = await reconcile(rest, site, box.claims(), sleep=Waits())
    assert found == [Verdict("main-meter", H0, 3, 1, 1, "missing")]
    assert box.requeued == [("center", "main-meter", H0 + 2, H0 + 3)]


@given(st.lists(st.integers(0, 50), unique=True))
def test_spans_cover_each_hour_once(hours: list[int]) -> None:
    spans = list(module._spans(hour * HOUR_MS for hour in sorted(hours)))
    covered = [at for from_ms, to_ms in spans for at in range(from_ms, to_ms, HOUR_MS)]
    assert covered == sorted(hour * HOUR_MS for hour in hours)
    assert all(first[1] < second[0] for first, second in pairwise(spans))
