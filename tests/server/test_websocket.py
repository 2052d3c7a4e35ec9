from __future__ import annotations

import asyncio
import logging
import socket as socketlib
from typing import Any, Union

import aiohttp
import orjson
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from pydantic import TypeAdapter

from agent.client import Client
from agent.model import Device, Group, Point, Reading
from agent.server.messages import ANSWERS
from tests.conftest import until
from tests.server.conftest import PASSWORD, START_MS, Site, StartSite, meter, sensor


async def said(socket: ClientWebSocketResponse) -> dict[str, Any]:
    """The next message."""
    message = await socket.receive(timeout=10)
    assert message.type is WSMsgType.TEXT, message
    found: dict[str, Any] = orjson.loads(message.data)
    ANSWERS_ADAPTER.validate_python(found)  # nothing is said that is not described
    return found


ANSWERS_ADAPTER: TypeAdapter[Any] = TypeAdapter(Union[ANSWERS])  # noqa: UP007 - a union of a tuple


async def closed(socket: ClientWebSocketResponse) -> tuple[int | None, str]:
    """How it was closed; messages before that are skipped."""
    while True:
        message = await socket.receive(timeout=10)
        if message.type is WSMsgType.CLOSE:
            return message.data, message.extra or ""
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return socket.close_code, ""


async def token_of(site: Site) -> str:
    token: str = (await site.login())["access_token"]
    return token


async def enter(site: Site) -> ClientWebSocketResponse:
    """A client that has been welcomed."""
    socket = await site.http.ws_connect("/ws", headers=await site.bearer())
    assert (await said(socket))["type"] == "welcome"
    return socket


async def subscribe(socket: ClientWebSocketResponse, **how: Any) -> list[dict[str, Any]]:
    """The image that a subscription begins with."""
    await socket.send_json({"type": "subscribe", **how})
    assert (await said(socket))["type"] == "subscribed"
    image = await said(socket)
    assert image["image"] is True
    return list(image["readings"])


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


async def test_the_three_ways_to_bring_a_token(site: Site) -> None:
    token = await token_of(site)
    async with site.http.ws_connect("/ws", headers={"Authorization": f"Bearer {token}"}) as socket:
        assert (await said(socket))["type"] == "welcome"
    async with site.http.ws_connect("/ws", protocols=["uicps.v1", f"bearer.{token}"]) as socket:
        assert socket.protocol == "uicps.v1"
        assert (await said(socket))["type"] == "welcome"
    async with site.http.ws_connect("/ws") as socket:
        await socket.send_json({"type": "auth", "token": token})
        assert (await said(socket))["type"] == "welcome"


async def refusal(site: Site, path: str = "/ws", **given: Any) -> dict[str, Any]:
    """Status and body of a handshake that fails."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    headers.update(given.get("headers", {}))
    async with site.http.get(path, headers=headers) as reply:
        return {"status": reply.status, **await reply.json()}


async def test_a_bad_token_is_refused_whichever_way_it_comes(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pair = await site.login()
    cut, refresh = pair["access_token"][:-7], pair["refresh_token"]
    for token, text in ((cut, "the token is not valid"), (refresh, "expected an access token")):
        for headers in (
            {"Authorization": f"Bearer {token}"},
            {"Sec-WebSocket-Protocol": f"uicps.v1, bearer.{token}"},
        ):
            found = await refusal(site, headers=headers)
            assert (found["status"], found["error"]) == (401, "invalid_token")
            assert text in found["error_description"]
        async with site.http.ws_connect("/ws") as socket:
            await socket.send_json({"type": "auth", "token": token})
            code, reason = await closed(socket)
            assert code == 4401
            assert text in reason
        with pytest.raises(WSServerHandshakeError):
            await site.http.ws_connect("/ws", protocols=[f"bearer.{token}"])
        assert token not in caplog.text


@pytest.mark.parametrize("name", ["token", "access_token"])
async def test_a_token_in_the_url_is_refused(site: Site, name: str) -> None:
    found = await refusal(site, f"/ws?{name}={await token_of(site)}")
    assert (found["status"], found["error"]) == (400, "invalid_request")
    assert "a token in a URL ends up in logs" in found["error_description"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil"]
)
async def test_a_page_of_another_site_is_refused(site: Site, origin: str) -> None:
    found = await refusal(site, headers={**await site.bearer(), "Origin": origin})
    assert (found["status"], found["error"]) == (403, "forbidden_origin")


async def test_the_agents_own_page_is_let_in(site: Site) -> None:
    headers = {**await site.bearer(), "Origin": site.server.url}
    async with site.http.ws_connect("/ws", headers=headers) as socket:
        assert (await said(socket))["type"] == "welcome"
    headers["Origin"] = site.server.url.replace("http:", "https:")  # a TLS proxy on this box
    async with site.http.ws_connect("/ws", headers=headers) as socket:
        assert (await said(socket))["type"] == "welcome"


async def test_who_brings_no_token_in_time_is_closed(start: StartSite) -> None:
    site = await start(auth_wait_s=0.1)
    async with site.http.ws_connect("/ws") as socket:
        site.monotonic.now_s += 0.2
        assert await closed(socket) == (4401, "expected a token within 0.1 s")


@pytest.mark.parametrize("text", ['{"type":"ping"}', "nonsense", '{"type":"subscribe","points":["*"]}'])
async def test_who_speaks_before_the_token_is_closed(site: Site, text: str) -> None:
    async with site.http.ws_connect("/ws") as socket:
        await socket.send_str(text)
        code, reason = await closed(socket)
    assert code == 4401
    assert "first" in reason


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
        (image,) = await subscribe(socket, per_s=2, points=["meter.voltage", "sensor.*"])
        assert image["values"] == {"voltage": 1.0}
        at_s = []
        for n in range(2, 40):
            site.publish(meter(START_MS + n, float(n)))
            await asyncio.sleep(0.03)
        site.publish(sensor(START_MS + 40, 7.0))
        newest: dict[str, float] = {}
        while newest.get("temperature") is None:
            for each in (await said(socket))["readings"]:
                newest |= each["values"]
            at_s.append(asyncio.get_running_loop().time())
    assert newest == {"voltage": 39.0, "temperature": 7.0}
    assert 3 <= len(at_s) <= 5
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


async def test_the_end_of_the_token_closes_unless_it_is_renewed(site: Site) -> None:
    first = await token_of(site)
    headers = {"Authorization": f"Bearer {first}"}
    lazy = await site.http.ws_connect("/ws", headers=headers)
    keen = await site.http.ws_connect("/ws", headers=headers)
    for each in (lazy, keen):
        assert (await said(each))["type"] == "welcome"
    site.clock.now_s = START_MS // 1000 + 900 - 30
    for each in (lazy, keen):
        assert await said(each) == {"type": "token.expiring", "expires_in": 30}
    second = await token_of(site)
    await keen.send_json({"type": "token.refresh", "id": 1, "token": second})
    assert await said(keen) == {"type": "token.refreshed", "id": 1, "expires_in": 900}
    site.clock.now_s += 60
    assert await said(lazy) == {"type": "token.expiring", "expires_in": 0}
    await lazy.send_json({"type": "history", "id": 1, "points": ["*"], "from": 1, "to": 2})
    assert (await said(lazy))["code"] == "token_expired"
    site.monotonic.now_s += 10
    code, reason = await closed(lazy)
    assert (code, reason) == (4401, "the access token has expired: renew it and connect again")
    await keen.send_json({"type": "ping"})
    assert (await said(keen))["type"] == "pong"
    await keen.close()


async def test_a_stream_outlives_its_tokens_without_a_gap(site: Site) -> None:
    """Five times the token ends during a thousand readings; each time it is renewed in the socket."""
    got: list[int] = []
    async with Client(site.server.url, "ana", PASSWORD) as client, client.talk() as talk:
        await talk.subscribe(["meter.*"], mode="every")

        async def watch() -> None:
            async for message in talk:
                got.extend(each["time_ms"] - START_MS for each in message.get("readings", ()))

        watching = asyncio.create_task(watch())
        sent = 0
        for renewals in range(1, 6):
            for _ in range(200):
                site.publish(meter(START_MS + sent))
                sent += 1
                if sent % 200 == 100:  # in the middle of it
                    site.clock.now_s += 901
                await asyncio.sleep(0.004)
            await until(lambda wanted=renewals: talk.renewals == wanted)  # type: ignore[misc]
        await until(lambda: len(got) >= 1000)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert got == list(range(1000))


async def test_a_refresh_token_works_once_in_the_socket_too(site: Site) -> None:
    pair = await site.login()
    async with await enter(site) as socket:
        await socket.send_json({"type": "token.refresh", "refresh_token": pair["refresh_token"]})
        fresh = await said(socket)
        assert fresh["type"] == "token.refreshed"
        assert fresh["expires_in"] == 899
        await socket.send_json({"type": "token.refresh", "refresh_token": pair["refresh_token"]})
        assert (await closed(socket))[0] == 4401  # the session is over: it may be stolen
    (noted,) = await site.audited("token.replayed")
    assert (noted.who, noted.what["asked"]) == ("ana", "GET /ws")


async def test_forged_refresh_tokens_in_the_socket_are_noted_too(site: Site) -> None:
    async with await enter(site) as socket:
        for _ in range(3):
            await socket.send_json({"type": "token.refresh", "refresh_token": "a.b.c"})
            assert (await said(socket))["code"] == "invalid_grant"
    assert len(await site.audited("token.forged")) == 3


async def test_another_users_token_renews_nothing(site: Site) -> None:
    await site.server.users.add("bea", "another password")
    other = (await site.login("bea", "another password"))["access_token"]
    async with await enter(site) as socket:
        await socket.send_json({"type": "token.refresh", "token": other})
        found = await said(socket)
        assert (found["code"], found["message"]) == ("invalid_token", "expected a token of the same user")


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
    connection = slow._response.connection
    assert connection is not None
    transport = connection.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    for each in (transport, watcher._transport):
        assert each is not None
        pipe = each.get_extra_info("socket")
        pipe.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_SNDBUF, 16384)
        pipe.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 16384)
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
