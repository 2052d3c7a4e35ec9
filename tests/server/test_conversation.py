"""History, commands and streams on the WebSocket."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from aiohttp import ClientWebSocketResponse

from agent.model import Device, Group, Point, Reading
from agent.server import Role
from agent.server.live import FLUSH_S
from tests.conftest import until
from tests.server.conftest import HVAC, METER, START_MS, Site, StartSite, meter, sensor
from tests.server.sockets import enter, narrow, said, subscribe

WIDE = Group(Device("wide", "wide"), "all", tuple(Point(f"p{at}") for at in range(50)), 0)


async def technician(site: Site) -> ClientWebSocketResponse:
    await site.server.users.set_role("ana", Role.TECHNICIAN)
    await site.server.office.standing.refresh()
    return await enter(site)


async def past(socket: ClientWebSocketResponse, **asked: Any) -> list[dict[str, Any]]:
    """The chunks of a history; its end says how many values there were."""
    await socket.send_json({"type": "history", "id": "h", **asked})
    chunks: list[dict[str, Any]] = []
    while (found := await said(socket))["type"] == "history":
        chunks.append(found)
    assert found["type"] == "history.end", found
    assert found["count"] == sum(len(v) for each in chunks for v in each["values"].values())
    return chunks


async def test_every_reading_of_a_period(site: Site) -> None:
    site.publish(*(meter(START_MS + at, at + 0.1) for at in range(5)), sensor(START_MS + 1))
    site.publish(METER.bad(START_MS + 6))
    async with await enter(site) as socket:
        chunks = await past(
            socket, points=["meter.voltage", "sensor.*"], **{"from": START_MS + 1, "to": START_MS + 7}
        )
        assert sorted(chunks, key=lambda chunk: str(chunk["device"])) == [
            {
                "type": "history",
                "id": "h",
                "device": "meter",
                "group": "fast",
                "time_ms": [START_MS + at for at in (1, 2, 3, 4, 6)],
                "quality": [2, 2, 2, 2, 0],
                "values": {"voltage": [1.1, 2.1, 3.1, 4.1, None]},
            },
            {
                "type": "history",
                "id": "h",
                "device": "sensor",
                "group": "all",
                "time_ms": [START_MS + 1],
                "quality": [1],
                "values": {"temperature": [None]},
            },
        ]
        to = "2026-01-02T03:03:04.679Z"
        (chunk,) = await past(socket, points=["meter.mode"], **{"from": 0, "to": to})
        assert chunk["time_ms"] == [START_MS]


async def test_one_value_a_step(site: Site) -> None:
    second_ms = START_MS // 1000 * 1000
    for value, at_ms in ((5.0, 0), (1.0, 400), (3.0, 999), (8.0, 2000)):
        site.publish(meter(second_ms + at_ms, value))
    site.publish(METER.bad(second_ms + 3000))
    asked = {"points": ["meter.voltage"], "from": second_ms, "to": second_ms + 9000, "step_s": 1}
    wanted = {
        "mean": [3.0, 8.0, None],
        "min": [1.0, 8.0, None],
        "max": [5.0, 8.0, None],
        "last": [3.0, 8.0, None],
        "count": [3.0, 1.0, 0.0],
    }
    async with await enter(site) as socket:
        for aggregate, values in wanted.items():
            chunks = await past(socket, **asked, aggregate=aggregate)
            assert [each for chunk in chunks for each in chunk["values"]["voltage"]] == values, aggregate
            times = [each - second_ms for chunk in chunks for each in chunk["time_ms"]]
            assert times == [0, 2000, 3000]
            assert all("quality" not in chunk for chunk in chunks)


async def fill(site: Site, readings: int) -> None:
    for first in range(0, readings, 1000):
        site.publish(*(Reading(WIDE, START_MS + first + at, (0.1 + at,) * 50) for at in range(1000)))
        await site.store.commit()


async def test_history_does_not_delay_the_live_stream(start: StartSite) -> None:
    """What is published meanwhile comes between the chunks, not behind them; how soon is for the bench."""
    site = await start(WIDE, METER)
    await fill(site, 10_000)
    async with await enter(site) as socket:
        await subscribe(socket, points=["meter.*"], mode="every")
        narrow(site, socket)
        published: dict[int, int] = {}  # time_ms: after how many chunks
        passed: list[int] = []  # so many chunks came before it
        chunks = 0
        await socket.send_json(
            {"type": "history", "id": 1, "points": ["wide.*"], "from": 0, "to": START_MS * 2}
        )
        running = True
        while running:
            if chunks % 20 == 0 and START_MS + chunks not in published:
                published[START_MS + chunks] = chunks
                site.publish(meter(START_MS + chunks))
                await asyncio.sleep(2 * FLUSH_S)  # by then it is on its way, and history waits for the reader
            found = await said(socket)
            if found["type"] == "readings":
                passed += [chunks - published[each["time_ms"]] for each in found["readings"]]
            else:
                chunks += 1
                running = found["type"] == "history"
        assert found["count"] == 10_000 * 50
        assert chunks > 100
        assert passed
        assert max(passed) < chunks / 4


async def test_a_history_can_be_cancelled_and_few_run_at_a_time(start: StartSite) -> None:
    site = await start(WIDE)
    await fill(site, 10_000)
    async with await enter(site) as socket:
        for at in range(5):
            await socket.send_json(
                {"type": "history", "id": at, "points": ["*"], "from": 0, "to": START_MS * 2}
            )
        await socket.send_json({"type": "history", "id": 1, "points": ["*"], "from": 0, "to": 1})
        errors = []
        while len(errors) < 2:
            if (found := await said(socket))["type"] == "error":
                errors.append((found["id"], found["code"]))
        assert errors == [(4, "too_many"), (1, "id_in_use")]
        for at in range(4):
            await socket.send_json({"type": "cancel", "id": at})
        counts = []
        while len(counts) < 4:
            if (found := await said(socket))["type"] == "history.end":
                counts.append(found["count"])
        assert max(counts) < 500_000
        assert await past(socket, points=["*"], **{"from": 0, "to": 1}) == []


async def test_a_broken_disk_is_said(start: StartSite, tmp_path: Path) -> None:
    site = await start(WIDE)
    await fill(site, 5000)
    asked = {"type": "history", "id": 1, "points": ["*"], "from": 0, "to": START_MS * 2}
    async with await enter(site) as socket:
        with sqlite3.connect(tmp_path / "store.db") as db:
            db.execute("DROP TABLE chunk")
        db.close()
        await socket.send_json(asked)
        assert (await said(socket))["code"] == "storage_unavailable"
        await socket.send_json({"type": "ping"})
        assert (await said(socket))["type"] == "pong"


async def test_a_command_is_accepted_written_and_given_back(start: StartSite) -> None:
    site = await start(HVAC)
    async with await technician(site) as socket:
        order = {"type": "command", "id": "c1", "point": "hvac.setpoint", "value": 22.5, "lease_s": 60}
        await socket.send_json(order)
        states = [await said(socket), await said(socket)]
        assert [each["state"] for each in states] == ["accepted", "written"]
        assert {each["id"] for each in states} == {"c1"}
        assert (states[1]["source"], states[1]["priority"], states[1]["value"]) == ("ana", "manual", 22.5)
        assert 58 < states[1]["left_s"] <= 60
        assert site.written == [("hvac", "setpoint", 22.5)]
        await socket.send_json({"type": "release", "id": "r", "point": "hvac.setpoint"})
        found = [await said(socket), await said(socket)]
        assert [each["type"] for each in found] == ["command", "released"]
        assert (found[0]["state"], found[1]["released"]) == ("released", True)
        await until(lambda: site.written[-1] == ("hvac", "setpoint", 24.0))
        await socket.send_json({"type": "release", "point": "hvac.setpoint"})
        assert (await said(socket))["released"] is False
    (submitted,) = await site.audited("command.submit")
    assert (submitted.who, submitted.peer) == ("ana", "127.0.0.1")
    assert submitted.what == {"point": "hvac.setpoint", "value": 22.5, "lease_s": 60.0, "before": None}
    released = (await site.audited("command.release"))[-1]
    assert released.what["before"] == {"value": 22.5, "priority": "manual", "source": "ana"}


async def test_a_command_that_is_refused_or_fails_says_why(start: StartSite) -> None:
    site = await start(HVAC)
    async with await technician(site) as socket:
        order = {"type": "command", "id": 1, "point": "hvac.setpoint", "lease_s": 60}
        for change, reason in (
            ({"value": 40}, "expected 16 to 30, found 40"),
            ({"value": 22.3}, "expected steps of 0.5"),
            ({"value": 22, "lease_s": 1e9}, "lease: expected 1 to 604800 s"),
            ({"value": 22, "point": "hvac.room"}, "not a point that can be written"),
        ):
            await socket.send_json({**order, **change})
            found = await said(socket)
            assert (found["state"], reason in found["reason"]) == ("refused", True), found
        site.broken = "the unit does not answer"
        await socket.send_json({**order, "value": 22})
        assert (await said(socket))["state"] == "accepted"
        found = await said(socket)
        assert (found["state"], found["reason"]) == ("failed", "the unit does not answer")
        await socket.send_json({**order, "id": 2, "value": 23})
        news = [await said(socket)]
        while news[-1]["state"] != "failed":
            news.append(await said(socket))
        assert [(each["id"], each["state"]) for each in news[:2]] == [(1, "replaced"), (2, "accepted")]
        assert news[-1]["id"] == 2


async def test_a_viewer_commands_nothing(start: StartSite) -> None:
    site = await start(HVAC)
    async with await enter(site) as socket:
        await socket.send_json(
            {"type": "command", "id": 1, "point": "hvac.setpoint", "value": 22, "lease_s": 60}
        )
        found = await said(socket)
        assert (found["id"], found["code"]) == (1, "insufficient_scope")
    assert site.written == []
    (refused,) = await site.audited("permission.refused")
    assert refused.who == "ana"


async def test_the_commands_of_others_can_be_followed(start: StartSite) -> None:
    site = await start(HVAC)
    async with await technician(site) as giver, await enter(site) as follower:
        await follower.send_json({"type": "follow", "id": 1, "stream": "commands"})
        assert await said(follower) == {"type": "following", "id": 1, "streams": ["commands"]}
        assert (await said(follower))["commands"] == []
        await giver.send_json(
            {"type": "command", "id": 1, "point": "hvac.setpoint", "value": 22, "lease_s": 60}
        )
        states = [(await said(follower))["commands"][0]["state"] for _ in range(2)]
        assert states == ["accepted", "written"]
        await follower.send_json({"type": "follow", "stream": "commands"})
        assert (await said(follower))["streams"] == ["commands"]
        (image,) = (await said(follower))["commands"]
        assert (image["state"], image["source"]) == ("written", "ana")
        await follower.send_json({"type": "unfollow", "stream": "commands"})
        assert (await said(follower))["streams"] == []
        assert site.dispatch is not None
        assert len(site.dispatch._listeners) == 1


async def test_alarms_can_be_followed(site: Site) -> None:
    site.tell("line:bus")
    async with await enter(site) as socket:
        await socket.send_json({"type": "follow", "stream": "alarms"})
        assert (await said(socket))["streams"] == ["alarms"]
        image = await said(socket)
        assert image["image"] is True
        assert [(each["id"], each["state"]) for each in image["alarms"]] == [("line:bus", "unacknowledged")]
        site.told.acknowledge("line:bus", "ana")
        (news,) = (await said(socket))["alarms"]
        assert (news["state"], news["acknowledged_by"]) == ("acknowledged", "ana")
    await until(lambda: site.told._listeners == [])
