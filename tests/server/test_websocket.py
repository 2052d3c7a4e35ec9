"""The WebSocket: who is welcome, what may be chosen, what is not understood."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.conftest import until
from tests.server.conftest import START_MS, Site, StartSite, meter, sensor
from tests.server.sockets import closed, enter, refusal, said, subscribe


async def test_a_client_is_welcomed_and_gets_readings_as_they_come(site: Site) -> None:
    site.publish(meter(START_MS), sensor(START_MS))
    async with site.http.ws_connect("/ws", headers=await site.bearer()) as socket:
        assert await said(socket) == {
            "type": "welcome",
            "version": 1,
            "time_ms": START_MS,
            "user": "ana",
            "permissions": ["account", "export", "read"],
            "expires_in": 899,
        }
        image = await subscribe(socket, mode="every", id=7)
        assert [reading["device"] for reading in image] == ["meter", "sensor"]
        site.publish(meter(START_MS + 1, 229.99999999999997))
        assert await said(socket) == {
            "type": "readings",
            "id": 7,
            "readings": [
                {
                    "device": "meter",
                    "group": "fast",
                    "time_ms": START_MS + 1,
                    "quality": "good",
                    "values": {"voltage": 229.99999999999997, "energy": 1.5, "mode": 1.0},
                }
            ],
        }
        site.publish(sensor(START_MS + 2))
        reading = (await said(socket))["readings"][0]
        assert (reading["quality"], reading["values"]) == ("uncertain", {"temperature": None})


async def test_a_client_chooses_points_more_than_once(site: Site) -> None:
    async with await enter(site) as socket:
        await socket.send_json(
            {"type": "subscribe", "points": ["meter.volt*", "meter.mode"], "mode": "every"}
        )
        assert await said(socket) == {
            "type": "subscribed",
            "id": "live",
            "points": ["meter.mode", "meter.volt*"],
            "mode": "every",
            "per_s": None,
            "count": 2,
        }
        assert (await said(socket))["readings"] == []
        await subscribe(socket, id="all", mode="every")
        site.publish(sensor(START_MS, 1.0), meter(START_MS))
        both = {each["id"]: each["readings"] for each in (await said(socket), await said(socket))}
        assert [each["values"] for each in both["live"]] == [{"voltage": 230.0, "mode": 1.0}]
        assert [each["device"] for each in both["all"]] == ["sensor", "meter"]
        await socket.send_json({"type": "unsubscribe", "id": "all"})
        assert await said(socket) == {"type": "unsubscribed", "id": "all"}
        await subscribe(socket, points=["sensor.*"], mode="every")  # in place of the first
        site.publish(meter(START_MS + 1), sensor(START_MS + 1, 1.0))
        found = await said(socket)
        assert (found["id"], [each["device"] for each in found["readings"]]) == ("live", ["sensor"])
        await socket.send_json({"type": "unsubscribe", "id": "all"})
        assert (await said(socket))["code"] == "unknown_id"


async def test_latest_is_as_often_as_wished_and_holds_the_newest(site: Site) -> None:
    site.publish(meter(START_MS, 1.0))
    async with await enter(site) as socket:
        began_s = asyncio.get_running_loop().time()
        (image,) = await subscribe(socket, per_s=2, points=["meter.voltage", "sensor.*"])
        assert image["values"] == {"voltage": 1.0}
        messages = 0
        for n in range(2, 40):
            site.publish(meter(START_MS + n, float(n)))
            await asyncio.sleep(0.03)
        site.publish(sensor(START_MS + 40, 7.0))
        newest: dict[str, float] = {}
        while newest.get("temperature") is None:
            for each in (await said(socket))["readings"]:
                newest |= each["values"]
            messages += 1
        took_s = asyncio.get_running_loop().time() - began_s
    assert newest == {"voltage": 39.0, "temperature": 7.0}
    assert 3 <= messages <= 2 * took_s + 2
    await until(lambda: site.server.sockets.watching == 0)


async def test_so_many_subscriptions_and_no_more(site: Site) -> None:
    async with await enter(site) as socket:
        for at in range(16):
            await subscribe(socket, id=at)
        await socket.send_json({"type": "subscribe", "id": 16})
        found = await said(socket)
        assert (found["id"], found["code"]) == (16, "too_many")
        await subscribe(socket, id=15)


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("", "invalid_message", "expected a JSON object"),
        ("[" * 2000, "invalid_message", "expected a JSON object"),
        ("[]", "invalid_message", "expected a JSON object"),
        ('{"type":7}', "invalid_message", "expected a JSON object"),
        ('{"type":"hstory"}', "unknown_type", 'found "hstory"'),
        ('{"type":"history"}', "invalid_message", "id: Field required"),
        ('{"type":"subscribe","points":"*"}', "invalid_message", "points: Input should be a valid list"),
        ('{"type":"subscribe","points":[1]}', "invalid_message", "points.0: "),
        ('{"type":"subscribe","points":[]}', "invalid_message", "points: "),
        ('{"type":"subscribe","per_s":1e9}', "invalid_message", "per_s: "),
        ('{"type":"subscribe","point":"x"}', "invalid_message", "point: Extra"),
        ('{"type":"subscribe","points":["meter.voltge"]}', "unknown_point", "did you mean meter.voltage"),
        ('{"type":"auth","token":"a.b.c"}', "invalid_message", "renew it with token.refresh"),
        ('{"type":"token.refresh"}', "invalid_message", "expected either"),
        ('{"type":"token.refresh","token":"a.b.c"}', "invalid_token", "the token is not valid"),
        ('{"type":"token.refresh","refresh_token":"a.b.c"}', "invalid_grant", "the token is not valid"),
        ('{"type":"cancel","id":1}', "unknown_id", "no history"),
        ('{"type":"command","id":1,"point":"x.y","value":1,"lease_s":9}', "insufficient_scope", "command"),
        ('{"type":"release","point":"x.y"}', "insufficient_scope", "command"),
        ('{"type":"follow","stream":"x"}', "invalid_message", "stream: "),
        ('{"type":"history","id":1,"points":["*"],"from":2,"to":1}', "invalid_period", "from < to"),
        ('{"type":"history","id":1,"points":["*"],"from":"x","to":1}', "invalid_time", "ISO 8601"),
    ],
)
async def test_what_is_not_understood_is_said_and_nothing_else_suffers(
    site: Site, text: str, code: str, part: str
) -> None:
    async with await enter(site) as socket:
        await socket.send_str(text)
        found = await said(socket)
        assert (found["type"], found["code"]) == ("error", code)
        assert part in found["message"]
        await socket.send_json({"type": "ping"})
        assert await said(socket) == {"type": "pong", "id": None, "time_ms": START_MS}


async def test_binary_is_not_understood(site: Site) -> None:
    async with await enter(site) as socket:
        await socket.send_bytes(b"{}")
        assert (await said(socket))["code"] == "invalid_message"


async def test_too_large_a_message_closes(site: Site) -> None:
    async with await enter(site) as socket:
        await socket.send_str("x" * 40_000)
        assert (await closed(socket))[0] == 1009


async def test_clients_are_counted(start: StartSite) -> None:
    site = await start(clients_max=2)
    first, second = await enter(site), await enter(site)
    found = await refusal(site, headers=await site.bearer())
    assert (found["status"], found["error"]) == (503, "busy")
    await first.close()
    third = await enter(site)
    await second.close()
    await third.close()


async def test_newcomers_do_not_take_the_seats(site: Site) -> None:
    newcomers = [await site.http.ws_connect("/ws") for _ in range(32)]
    assert (await refusal(site))["status"] == 503
    async with await enter(site):
        pass
    for each in newcomers:
        await each.close()


async def test_the_end_of_the_agent_is_said(site: Site) -> None:
    inside, outside = await enter(site), await site.http.ws_connect("/ws")
    ended = asyncio.create_task(site.server.__aexit__(None, None, None))
    assert await closed(inside) == (1001, "the agent is stopping")
    assert await closed(outside) == (1001, "the agent is stopping")
    async with asyncio.timeout(5):
        await ended
    with pytest.raises(aiohttp.ClientConnectionError):
        await site.http.get("/healthz")
