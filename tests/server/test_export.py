from __future__ import annotations

import asyncio
import csv
import gzip
import io
import math
import resource
import sqlite3
import struct
import time
from pathlib import Path

import aiohttp
import pytest

from agent.model import Device, Group, Kind, Point, Quality, Reading
from tests.server.conftest import METER, START_MS, Site, StartSite, meter, sensor

ODD = Group(Device("odd", "odd"), "all", tuple(Point(f"p{at}", 'a "b", c', Kind.GAUGE) for at in range(3)), 0)
ODD_FLOATS = [
    0.1,
    -0.0,
    1e-310,
    5e-324,
    1.7976931348623157e308,
    2**53 + 0.0,
    1 / 3,
    229.99999999999997,
    123456789.12345679,
    1e16,
    1e22,
    -1.5e-7,
]


async def export(site: Site, **query: str) -> list[dict[str, str]]:
    async with site.http.get("/api/v1/export.csv", params=query, headers=await site.bearer()) as reply:
        assert reply.status == 200, await reply.text()
        return list(csv.DictReader(io.StringIO(await reply.text())))


async def test_the_file_is_exactly_this(site: Site) -> None:
    await site.store.register(site.hub.groups)
    site.publish(meter(START_MS - 2000), sensor(START_MS - 1, 21.25))
    site.publish(METER.bad(START_MS - 1000))
    query = {"points": "meter.voltage,sensor.temperature"}
    async with site.http.get("/api/v1/export.csv", params=query, headers=await site.bearer()) as reply:
        assert reply.content_type == "text/csv"
        assert reply.charset == "utf-8"
        assert reply.headers["Content-Disposition"] == (
            'attachment; filename="uicps_20260102T020304Z_20260102T030304Z.csv"'
        )
        assert (await reply.read()).decode() == (
            "time,device,point,value,unit,quality,time_ms\r\n"
            "2026-01-02T03:03:02.678Z,meter,voltage,230.0,V,good,1767322982678\r\n"
            "2026-01-02T03:03:03.678Z,meter,voltage,,V,bad,1767322983678\r\n"
            "2026-01-02T03:03:04.677Z,sensor,temperature,21.25,°C,uncertain,1767322984677\r\n"
        )


@pytest.mark.parametrize("committed", [True, False])
async def test_every_float_comes_back_as_it_was(start: StartSite, *, committed: bool) -> None:
    site = await start(ODD)
    readings = [
        Reading(ODD, START_MS - 1 - at, (value, -value, math.nan)) for at, value in enumerate(ODD_FLOATS)
    ]
    site.publish(*readings)
    if committed:
        await site.store.commit()
    rows = await export(site)
    values = [row["value"] for row in rows]
    last_first = ODD_FLOATS[::-1]
    assert values[2::3] == [""] * len(ODD_FLOATS)
    for found, value in zip(values[::3], last_first, strict=True):
        assert struct.pack("<d", float(found)) == struct.pack("<d", value)
    assert [float(found) for found in values[1::3]] == [-value for value in last_first]
    assert {row["unit"] for row in rows} == {'a "b", c'}
    assert values[-3:-1] == ["0.1", "-0.1"]


async def test_patterns_and_periods_choose(site: Site) -> None:
    site.publish(*(meter(START_MS + at, float(at)) for at in range(5)), sensor(START_MS))
    at = {"from": str(START_MS + 1), "to": str(START_MS + 3)}
    rows = await export(site, points="meter.v*", **at)
    assert [(row["point"], row["value"]) for row in rows] == [("voltage", "1.0"), ("voltage", "2.0")]
    assert [int(row["time_ms"]) - START_MS for row in rows] == [1, 2]
    rows = await export(site, points="*.temperature , meter.mode", to="2026-01-02T00:03:05-03:00")
    assert {row["point"] for row in rows} == {"temperature", "mode"}
    assert len(await export(site, to="2026-01-02T03:03:05Z")) == 16
    assert len(await export(site, to="2026-01-02T03:03:05%2B00:00".replace("%2B", " "))) == 16
    assert await export(site) == []  # `to` is now, and these are not before it


@pytest.mark.parametrize(
    ("query", "error", "texts"),
    [
        ("points=meter.voltge", "unknown_point", ['"meter.voltge"', "did you mean meter.voltage"]),
        ("points=meter.voltage,zzz.*", "unknown_point", ['"zzz.*"', "GET /api/v1/points"]),
        ("points=", "unknown_point", ["expected 1-200 points"]),
        ("points=" + "x" * 200, "unknown_point", ["at most 130 characters"]),
        ("from=yesterday", "invalid_time", ["from: expected Unix milliseconds", 'found "yesterday"']),
        ("to=2026-01-02T03:04:05", "invalid_time", ["to: ", "with Z or an offset"]),
        ("to=9999999999999999", "invalid_time", ["to: "]),
        ("to=-5", "invalid_time", ["to: "]),
        ("from=1000&to=1000", "invalid_period", ["expected from < to, found 1970-01-01T00:00:01.000Z"]),
        ("point=meter.voltage", "invalid_request", ['unknown parameter "point", did you mean "points"']),
    ],
)
async def test_what_cannot_be_meant_is_400(site: Site, query: str, error: str, texts: list[str]) -> None:
    async with site.http.get(f"/api/v1/export.csv?{query}", headers=await site.bearer()) as reply:
        body = await reply.json()
        assert (reply.status, body["error"]) == (400, error)
    for text in texts:
        assert text in body["error_description"]


def large_history(site: Site, readings: int, back: int = 0) -> Group:
    group = site.hub.groups[0]
    values = tuple(at + 0.123456 for at in range(len(group.points)))
    site.publish(*(Reading(group, START_MS - 1 - back - at, values) for at in range(readings)))
    return group


WIDE = Group(Device("wide", "wide"), "all", tuple(Point(f"p{at}") for at in range(50)), 0)


async def test_a_large_export_is_whole_in_bounded_memory(start: StartSite) -> None:
    site = await start(WIDE)
    for at in range(20):
        large_history(site, 1000, 1000 * at)
        await site.store.commit()
    await export(site, to="1")
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    length = rows = 0
    async with site.http.get("/api/v1/export.csv", headers=await site.bearer()) as reply:
        async for chunk in reply.content.iter_any():
            length += len(chunk)
            rows += chunk.count(b"\n")
    # The log that is not sealed yet is read at once, 20 000 readings of 50 values here.
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert rows == 1 + 20 * 1000 * 50
    assert grown_kb * 1024 < length * 0.8


async def test_a_client_that_goes_or_stalls_ends_the_work(start: StartSite) -> None:
    site = await start(WIDE, exports_max=1, stall_s_max=2.0)
    for at in range(30):  # 97 MB: more than the kernel's buffers hold
        large_history(site, 1000, 1000 * at)
        await site.store.commit()
    headers = await site.bearer()

    async def free() -> bool:
        async with site.http.get("/api/v1/export.csv?to=1", headers=headers) as reply:
            if reply.status == 429:
                assert reply.headers["Retry-After"] == "5"
                assert "1 exports are running" in (await reply.json())["error_description"]
            await reply.read()  # or it is itself still running
            return reply.status == 200

    async def soon_free() -> None:
        async with asyncio.timeout(10):
            while not await free():
                await asyncio.sleep(0.02)

    gone = await site.http.get("/api/v1/export.csv", headers=headers)
    assert not await free()
    gone.close()
    await soon_free()

    stalled = await site.http.get("/api/v1/export.csv", headers=headers)
    assert not await free()
    await soon_free()
    with pytest.raises(aiohttp.ClientError):  # and it must not look whole
        await stalled.read()
    (entry,) = await site.audited("client.slow")
    assert entry.peer == "127.0.0.1"


async def test_a_disk_that_cannot_be_read_is_a_refusal(site: Site, tmp_path: Path) -> None:
    site.publish(*(meter(START_MS - 1 - at) for at in range(5000)))  # more than memory keeps
    await site.store.commit()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("DROP TABLE chunk")
    db.close()
    async with site.http.get("/api/v1/export.csv", headers=await site.bearer()) as reply:
        assert (reply.status, (await reply.json())["error"]) == (503, "storage_unavailable")


async def test_damage_that_an_export_finds_is_the_stores_business(site: Site, tmp_path: Path) -> None:
    site.publish(*(meter(START_MS - 1 - at) for at in range(5000)))
    await site.store.commit()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("UPDATE reading SET packed = x'40'")
    db.close()
    headers = await site.bearer()
    reply = await site.http.get("/api/v1/export.csv", headers=headers)
    assert reply.status == 200  # the header was on its way
    with pytest.raises(aiohttp.ClientError):  # and it must not look whole
        await reply.read()
    await site.store.commit()
    assert site.store.state.moved_aside


async def test_a_point_of_an_older_layout_keeps_its_own_place(start: StartSite) -> None:
    turned = Group(METER.device, METER.name, tuple(reversed(METER.points)), METER.interval_ms)
    site = await start()
    site.publish(Reading(turned, START_MS - 2, (1.0, 7.5, 231.0), Quality.GOOD))
    site.publish(meter(START_MS - 1, 232.0))
    rows = await export(site, points="meter.voltage")
    assert sorted((row["value"], row["unit"]) for row in rows) == [("231.0", "V"), ("232.0", "V")]


async def text(site: Site, **query: str) -> str:
    async with site.http.get("/api/v1/export.csv", params=query, headers=await site.bearer()) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.text()


SECOND_MS = START_MS // 1000 * 1000
AT = {"from": str(SECOND_MS), "to": str(SECOND_MS + 60_000)}


async def test_wide_has_a_column_for_each_point_and_a_row_for_each_time(site: Site) -> None:
    site.publish(meter(SECOND_MS, 1.5), sensor(SECOND_MS, 21.5), meter(SECOND_MS + 1000, 2.5))
    site.publish(sensor(SECOND_MS + 500, 22.0), METER.bad(SECOND_MS + 2000))
    query = {"points": "meter.voltage,sensor.*,meter.mode", "layout": "wide", **AT}
    assert (await text(site, **query)).splitlines() == [
        "time,meter.voltage [V],meter.mode,sensor.temperature [°C]",
        "2026-01-02T03:03:04.000Z,1.5,1.0,21.5",
        "2026-01-02T03:03:04.500Z,,,22.0",
        "2026-01-02T03:03:05.000Z,2.5,1.0,",
        "2026-01-02T03:03:06.000Z,,,",
    ]


async def test_steps_zones_and_decimal_commas(site: Site) -> None:
    for at in range(4):
        site.publish(meter(SECOND_MS + 700 * at, 1.25 + at))
    query = {"points": "meter.voltage", "step": "2", "tz": "America/Sao_Paulo", "decimal": "comma", **AT}
    assert (await text(site, **query)).splitlines() == [
        "time;device;point;value;unit;aggregate;time_ms",
        f"2026-01-02T00:03:04.000-03:00;meter;voltage;2,25;V;mean;{SECOND_MS}",
        f"2026-01-02T00:03:06.000-03:00;meter;voltage;4,25;V;mean;{SECOND_MS + 2000}",
    ]
    wide = await text(site, **query, layout="wide", aggregate="max")
    assert wide.splitlines() == [
        "time;meter.voltage [V]",
        "2026-01-02T00:03:04.000-03:00;3,25",
        "2026-01-02T00:03:06.000-03:00;4,25",
    ]


async def test_the_offset_is_that_of_each_time(site: Site) -> None:
    change_ms = 1_762_063_200_000  # New York, 2025-11-02 06:00 UTC: 02:00 becomes 01:00 again
    site.publish(meter(change_ms - 1), meter(change_ms))
    rows = await export(
        site,
        points="meter.voltage",
        tz="America/New_York",
        **{"from": str(change_ms - 9), "to": str(change_ms + 9)},
    )
    assert [row["time"] for row in rows] == ["2025-11-02T01:59:59.999-04:00", "2025-11-02T01:00:00.000-05:00"]


async def test_gzip_is_the_same_file(site: Site) -> None:
    site.publish(*(meter(SECOND_MS + at) for at in range(1000)))
    query = {"points": "meter.*", **AT}
    plain = await text(site, **query)
    headers = await site.bearer()
    async with site.http.get(
        "/api/v1/export.csv", params={**query, "gzip": "true"}, headers=headers
    ) as reply:
        assert reply.content_type == "application/gzip"
        assert reply.headers["Content-Disposition"].endswith('.csv.gz"')
        packed = await reply.read()
    assert gzip.decompress(packed).decode() == plain
    assert len(packed) < len(plain) / 5


async def test_the_estimate_is_about_right(site: Site) -> None:
    site.publish(*(meter(SECOND_MS + 10 * at) for at in range(1000)), sensor(SECOND_MS))
    await site.store.commit()
    hour_ms = SECOND_MS // 3_600_000 * 3_600_000
    at = {"from": str(hour_ms), "to": str(hour_ms + 3_600_000)}
    headers = await site.bearer()
    for more in ({}, {"layout": "wide"}, {"step": "1"}, {"layout": "wide", "step": "1"}):
        query = {"points": "meter.*", **at, **more}
        whole = await text(site, **query)
        async with site.http.get("/api/v1/export/estimate", params=query, headers=headers) as reply:
            about = await reply.json()
        assert about["points"] == 3
        assert about["rows"] >= whole.count("\r\n") - 1
        if "step" not in more:
            assert about["rows"] == whole.count("\r\n") - 1
            assert 0.7 < about["bytes"] / len(whole) < 1.5


async def test_gaps_of_years_cost_a_wide_export_nothing(site: Site) -> None:
    site.publish(meter(SECOND_MS - 300 * 86_400_000, 1.0), meter(SECOND_MS, 2.0))
    begun = time.monotonic()
    whole = await text(site, points="meter.voltage", layout="wide", **{"from": "0", "to": AT["to"]})
    assert [line.split(",")[1] for line in whole.splitlines()[1:]] == ["1.0", "2.0"]
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("layout=tall", "layout: Input should be 'long' or 'wide'"),
        ("step=0.1", "step: Input should be greater than or equal to 1"),
        ("aggregate=median&step=5", "aggregate: "),
        ("tz=Mars/Base", 'tz: expected a time zone like "America/Sao_Paulo", found "Mars/Base"'),
        ("decimal=,", "decimal: "),
    ],
)
async def test_a_wrong_choice_is_said(site: Site, query: str, part: str) -> None:
    async with site.http.get(f"/api/v1/export.csv?{query}", headers=await site.bearer()) as reply:
        body = await reply.json()
        assert (reply.status, body["error"]) == (400, "invalid_request")
    assert part in body["error_description"]
