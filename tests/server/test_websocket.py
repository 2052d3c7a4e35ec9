from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from agent.model import Device, Group, Point, Reading
from tests.conftest import until
from tests.server.conftest import START_MS, Site, StartSite, meter, sensor


async def said(socket: ClientWebSocketResponse) -> dict[str, Any]:
    """The next message."""
    message = await socket.receive(timeout=10)
    assert message.type is WSMsgType.TEXT, message
    found: dict[str, Any] = orjson.loads(message.data)
    return found


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


async def test_a_client_is_welcomed_and_gets_readings_as_they_come(site: Site) -> None:
    site.publish(meter(START_MS), sensor(START_MS))
    async with site.http.ws_connect("/ws", headers=await site.bearer()) as socket:
        welcome = await said(socket)
        assert (welcome["type"], welcome["version"], welcome["time_ms"]) == ("welcome", 1, START_MS)
        assert [reading["device"] for reading in welcome["readings"]] == ["meter", "sensor"]
        site.publish(meter(START_MS + 1, 229.99999999999997))
        assert await said(socket) == {
            "type": "readings",
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
        assert await closed(socket) == (4401, "expected a token within 0.1 s")


@pytest.mark.parametrize("text", ['{"type":"ping"}', "nonsense", '{"type":"subscribe","points":["*"]}'])
async def test_who_speaks_before_the_token_is_closed(site: Site, text: str) -> None:
    async with site.http.ws_connect("/ws") as socket:
        await socket.send_str(text)
        code, reason = await closed(socket)
    assert code == 4401
    assert "first" in reason


async def test_a_client_narrows_to_some_points(site: Site) -> None:
    async with await enter(site) as socket:
        await socket.send_json({"type": "subscribe", "points": ["meter.volt*", "meter.mode"]})
        assert await said(socket) == {"type": "subscribed", "points": ["meter.mode", "meter.volt*"]}
        site.publish(sensor(START_MS, 1.0), meter(START_MS))
        (reading,) = (await said(socket))["readings"]
        assert reading["values"] == {"voltage": 230.0, "mode": 1.0}
        await socket.send_json({"type": "subscribe"})
        assert (await said(socket))["points"] == ["*"]
        site.publish(sensor(START_MS, 1.0))
        assert (await said(socket))["readings"][0]["device"] == "sensor"


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("", "invalid_message", "expected a JSON object"),
        ("[" * 2000, "invalid_message", "expected a JSON object"),
        ("[]", "invalid_message", "expected a JSON object"),
        ('{"type":7}', "invalid_message", "expected a JSON object"),
        ('{"type":"history"}', "unknown_type", 'found "history"'),
        ('{"type":"subscribe","points":"*"}', "invalid_message", "expected a list"),
        ('{"type":"subscribe","points":[1]}', "invalid_message", "expected a list"),
        ('{"type":"subscribe","points":[]}', "unknown_point", "expected 1-200 points"),
        ('{"type":"subscribe","points":["meter.voltge"]}', "unknown_point", "did you mean meter.voltage"),
        ('{"type":"auth"}', "invalid_token", "the token is not valid"),
        ('{"type":"auth","token":"a.b.c"}', "invalid_token", "the token is not valid"),
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
        assert await said(socket) == {"type": "pong", "time_ms": START_MS}


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
    site.clock.now_s = START_MS // 1000 + 900 - 0.4
    second = await token_of(site)
    headers = {"Authorization": f"Bearer {first}"}
    lazy = await site.http.ws_connect("/ws", headers=headers)
    keen = await site.http.ws_connect("/ws", headers=headers)
    assert (await said(keen))["type"] == "welcome"
    await keen.send_json({"type": "auth", "token": second})
    assert (await said(keen))["type"] == "authenticated"
    code, reason = await closed(lazy)
    assert (code, reason) == (4401, "the access token has expired: renew it and connect again")
    await asyncio.sleep(0.2)
    await keen.send_json({"type": "ping"})
    assert (await said(keen))["type"] == "pong"
    await keen.close()


async def test_another_users_token_renews_nothing(site: Site) -> None:
    await site.server.users.add("bea", "another password")
    other = (await site.login("bea", "another password"))["access_token"]
    async with await enter(site) as socket:
        await socket.send_json({"type": "auth", "token": other})
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

    watching = asyncio.create_task(watch())
    live = site.server._live
    await until(lambda: live.watching == 2)
    sent: list[int] = []
    while live.watching == 2 and len(sent) < 20_000:
        for _ in range(100):
            sent.append(START_MS + len(sent))
            site.publish(Reading(WIDE, sent[-1], (len(sent) + 0.1,) * 100))
        await until(lambda: len(got) == len(sent))  # the pace of the quick one
    assert live.watching == 1
    code, reason = await closed(slow)
    assert code == 4408
    assert reason.startswith("too slow")
    assert got == sent
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await quick.close()


async def test_a_client_that_vanishes_leaves_nothing_behind(site: Site) -> None:
    socket = await enter(site)
    live = site.server._live
    assert live.watching == 1
    assert socket._response.connection is not None
    assert socket._response.connection.transport is not None
    socket._response.connection.transport.abort()
    for at in range(5):
        site.publish(meter(START_MS + at))
        await asyncio.sleep(0.02)
    await until(lambda: live.watching == 0)
    await socket.close()
