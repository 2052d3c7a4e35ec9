"""Clients of the WebSocket that are slow, or vanish."""

from __future__ import annotations

import asyncio

from agent.model import Device, Group, Point, Reading
from tests.conftest import until
from tests.server.conftest import START_MS, Site, StartSite, meter
from tests.server.sockets import closed, enter, narrow, said, subscribe

WIDE = Group(Device("wide", "wide"), "all", tuple(Point(f"point_{at}") for at in range(100)), 0)


async def test_a_slow_client_is_closed_and_a_quick_one_gets_everything(start: StartSite) -> None:
    site = await start(WIDE, client_backlog_kb_max=64)
    quick = await enter(site)
    slow = await site.http.ws_connect("/ws", headers=await site.bearer(), max_msg_size=0)
    got: list[int] = []

    async def watch() -> None:
        while True:
            got.extend(reading["time_ms"] for reading in (await said(quick))["readings"])

    await subscribe(quick, mode="every")
    watching = asyncio.create_task(watch())
    await slow.send_json({"type": "subscribe", "mode": "every"})
    live = site.server._live
    await until(lambda: live.subscriptions == 2)
    sent: list[int] = []
    while live.subscriptions == 2 and len(sent) < 20_000:
        for _ in range(100):
            sent.append(START_MS + len(sent))
            site.publish(Reading(WIDE, sent[-1], (len(sent) + 0.1,) * 100))
        await until(lambda: len(got) == len(sent))  # the pace of the quick one
    assert live.subscriptions == 1
    code, reason = await closed(slow)
    assert code == 4408
    assert reason.startswith("too slow")
    assert await site.audited("client.slow")
    assert got == sent
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await quick.close()


async def test_a_slow_client_of_the_latest_gets_less_and_stays(start: StartSite) -> None:
    huge = Group(Device("huge", "huge"), "all", tuple(Point(f"point_{at}") for at in range(2000)), 0)
    site = await start(huge, client_backlog_kb_max=64)
    slow = await enter(site)
    await subscribe(slow, per_s=20)
    (watcher,) = site.server.sockets._watchers
    outbox = watcher.outbox
    transport = narrow(site, slow)
    transport.pause_reading()
    sent = 0

    async def publish() -> None:
        nonlocal sent
        sent += 1
        site.publish(Reading(huge, START_MS + sent, (sent + 0.1,) * 2000))
        await asyncio.sleep(0.06)

    async with asyncio.timeout(20):
        while not outbox.lagging:
            await publish()
    for _ in range(5):
        await publish()
    assert len(outbox._messages) == 1
    transport.resume_reading()
    newest = 0
    while newest < sent:
        for each in (await said(slow))["readings"]:
            assert each["time_ms"] - START_MS > newest
            newest = each["time_ms"] - START_MS
    await slow.close()


async def test_a_client_that_vanishes_leaves_nothing_behind(site: Site) -> None:
    socket = await enter(site)
    await subscribe(socket, mode="every")
    live = site.server._live
    assert live.subscriptions == 1
    assert socket._response.connection is not None
    assert socket._response.connection.transport is not None
    socket._response.connection.transport.abort()
    for at in range(5):
        site.publish(meter(START_MS + at))
        await asyncio.sleep(0.02)
    await until(lambda: live.subscriptions == 0)
    await socket.close()
