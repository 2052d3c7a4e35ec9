"""Devices that are told of: taken whole or not at all, dated, silent after a while."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.drivers.profile import BUILT_IN
from agent.drivers.push import NotTaken, PushLine, PushOptions, PushProfile, Sample
from agent.model import Quality, Reading
from agent.schema import FaultyFile, read, validate
from tests.conftest import until

NOW_MS = 1_767_322_984_678
PROFILE = {
    "driver": "push",
    "title": "x",
    "source": ["y"],
    "group": [
        {"name": "weather", "point": [{"name": "temperature", "unit": "°C"}, {"name": "irradiance"}]},
        {"name": "sky", "point": [{"name": "rain", "kind": "state", "states": {"0": "no", "1": "yes"}}]},
    ],
}


class Rig:
    """A line with its clocks."""

    def __init__(self, **more: Any) -> None:
        table = {"driver": "push", "name": "outside", "device": [{"name": "roof", "profile": "p"}]} | more
        self.certain, self.monotonic_s = True, 100.0
        self.heard: list[Reading] = []
        self.line = PushLine(
            validate(PushOptions, table, "config.toml"),
            {"p": validate(PushProfile, PROFILE, "p.toml")},
            now_s=lambda: NOW_MS / 1000,
            certain=lambda: self.certain,
            monotonic_s=lambda: self.monotonic_s,
            tick_s=0.01,
        )

    def take(self, *samples: Sample) -> int:
        return self.line.take("roof", samples)

    def seen(self) -> list[tuple[str, int, list[float], Quality]]:
        return [(each.group.name, each.time_ms, list(each.values), each.quality) for each in self.heard]


@asynccontextmanager
async def running(**more: Any) -> AsyncIterator[Rig]:
    rig = Rig(**more)
    task = asyncio.create_task(rig.line.run(rig.heard.extend))
    await until(lambda: rig.line.statistics()["connected"])
    try:
        yield rig
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_batch_becomes_readings_in_the_order_of_time() -> None:
    async with running() as rig:
        late = Sample(NOW_MS - 60_000, {"temperature": 20.5, "irradiance": None})
        assert rig.take(Sample(None, {"temperature": 21.0, "rain": 1.0}, Quality.UNCERTAIN), late) == 3
        first, *others = rig.seen()
        assert first[:2] == ("weather", NOW_MS - 60_000)
        assert first[2][0] == 20.5
        assert math.isnan(first[2][1])
        assert first[3] is Quality.GOOD
        assert [(each[0], each[2][0], each[3]) for each in others] == [
            ("weather", 21.0, Quality.UNCERTAIN),
            ("sky", 1.0, Quality.UNCERTAIN),
        ]
        assert rig.take(Sample(None, {"rain": None})) == 1
        assert rig.heard[-1].quality is Quality.BAD
        assert rig.line.statistics()["devices"] == {"roof": {"readings": 4}}


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (
            Sample(None, {"temprature": 1.0}),
            "readings[1].values.temprature: expected a point of the device's",
        ),
        (Sample(None, {"temprature": 1.0}), "did you mean 'temperature'?"),
        (Sample(None, {"temperature": math.inf}), "values.temperature: expected a finite number or null"),
        (Sample(None, {"rain": 2.0}), "values.rain: expected one of 0 no, 1 yes, found 2"),
        (Sample(None, {}), "readings[1].values: expected at least one value"),
        (Sample(NOW_MS + 6000, {"rain": 1.0}), "readings[1].time: expected at most 5 s ahead"),
        (Sample(NOW_MS - 8 * 86_400_000, {"rain": 1.0}), "found 691200 s back"),
    ],
)
async def test_of_a_batch_with_a_fault_nothing_is_taken(sample: Sample, text: str) -> None:
    async with running() as rig:
        with pytest.raises(NotTaken) as refusal:
            rig.take(Sample(None, {"rain": 1.0}), sample)
        assert text in str(refusal.value)
        assert refusal.value.code == "invalid_readings"
        assert rig.heard == []
        assert rig.line.counters == {"invalid_readings": 1}


async def test_nobody_elses_time_is_judged_by_a_clock_that_is_not_right() -> None:
    async with running() as rig:
        rig.certain = False
        with pytest.raises(NotTaken) as refusal:
            rig.take(Sample(NOW_MS, {"rain": 1.0}))
        assert (refusal.value.code, refusal.value.wait_s > 0) == ("clock_untrusted", True)
        assert rig.take(Sample(None, {"rain": 1.0})) == 1


async def test_no_more_than_may_in_a_minute() -> None:
    async with running(readings_per_min_max=3) as rig:
        assert rig.take(*[Sample(None, {"rain": 1.0})] * 2) == 2
        with pytest.raises(NotTaken) as refusal:
            rig.take(*[Sample(None, {"rain": 1.0})] * 2)
        assert (refusal.value.code, refusal.value.wait_s) == ("too_many", 60.0)
        assert rig.take(Sample(None, {"rain": 1.0})) == 1
        rig.monotonic_s += 61
        assert rig.take(*[Sample(None, {"rain": 1.0})] * 3) == 3


async def test_silence_is_a_bad_reading() -> None:
    device = {"name": "roof", "profile": "p", "silence_s": 30.0}
    async with running(device=[device]) as rig:
        rig.take(Sample(None, {"rain": 1.0}))
        rig.monotonic_s += 20
        rig.take(Sample(None, {"temperature": 20.0}))
        rig.monotonic_s += 20
        await until(lambda: len(rig.heard) == 3)
        assert rig.seen()[-1][0] == "sky"
        assert rig.heard[-1].quality is Quality.BAD
        await asyncio.sleep(0.05)
        assert len(rig.heard) == 3  # and not again at once


async def test_a_line_that_does_not_run_takes_nothing() -> None:
    with pytest.raises(NotTaken) as refusal:
        Rig().take(Sample(None, {"rain": 1.0}))
    assert refusal.value.code == "not_available"


def test_a_point_twice_is_a_fault() -> None:
    twice = PROFILE | {"group": [*PROFILE["group"], {"name": "more", "point": [{"name": "rain"}]}]}  # type: ignore[misc]
    with pytest.raises(FaultyFile, match="expected each point once, found twice: rain"):
        validate(PushProfile, twice, "p.toml")


@pytest.mark.parametrize("name", ["weather-push", "price-push", "occupancy-push"])
async def test_the_built_in_ones_take_what_they_name(name: str) -> None:
    profile = read(PushProfile, BUILT_IN / f"{name}.toml")
    table = {"driver": "push", "name": "o", "device": [{"name": "d", "profile": name}]}
    line, heard = PushLine(validate(PushOptions, table, "c"), {name: profile}), list[Reading]()
    task = asyncio.create_task(line.run(heard.extend))
    await until(lambda: line.statistics()["connected"])
    points = [point.name for group in profile.group for point in group.point]
    assert line.take("d", [Sample(None, dict.fromkeys(points, 1.0))]) == len(profile.group)
    assert [list(each.values) for each in heard] == [[1.0] * len(points)]
    task.cancel()
    await asyncio.wait([task])
