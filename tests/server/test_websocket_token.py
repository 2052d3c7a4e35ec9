"""Tokens on the WebSocket: how one comes in, who is turned away, how it is renewed in the socket."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import WSServerHandshakeError

from agent.client import Client
from tests.conftest import until
from tests.server.conftest import PASSWORD, START_MS, Site, StartSite, meter
from tests.server.sockets import closed, enter, refusal, said, token_of


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
