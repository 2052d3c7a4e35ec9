from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from agent.server import Role
from tests.server.conftest import PASSWORD, Site, StartSite, basic

GUARDED = ["/api/v1/status", "/api/v1/points", "/api/v1/latest", "/api/v1/export.csv"]


async def refused(reply: aiohttp.ClientResponse, status: int, error: str, text: str) -> None:
    body: Mapping[str, Any] = await reply.json()
    assert (reply.status, body["error"]) == (status, error), body
    assert text in body["error_description"]
    assert body.keys() == {"error", "error_description"}


async def test_a_name_and_password_give_a_pair(site: Site) -> None:
    async with site.http.post("/token", headers=basic("ANA", PASSWORD)) as reply:
        body = await reply.json()
        assert reply.status == 200
        assert reply.headers["Cache-Control"] == "no-store"
    assert body.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
    said = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert (said["sub"], said["role"], said["typ"]) == ("ana", "viewer", "access")


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "expected name and password as HTTP Basic"),
        ({"Authorization": "Bearer x"}, "expected name and password as HTTP Basic"),
        ({"Authorization": "Basic"}, "the Basic header is not valid"),
        ({"Authorization": "Basic !!!"}, "the Basic header is not valid"),
        ({"Authorization": "Basic /////w=="}, "the Basic header is not valid"),
        ({"Authorization": "Basic YW5h"}, "the Basic header is not valid"),
        (basic("ana", "wrong password"), "the name or the password is wrong"),
        (basic("bea", PASSWORD), "the name or the password is wrong"),
        (basic("", ""), "the name or the password is wrong"),
    ],
)
async def test_what_is_no_login_is_401(site: Site, headers: dict[str, str], text: str) -> None:
    async with site.http.post("/token", headers=headers) as reply:
        await refused(reply, 401, "invalid_client", text)
        assert reply.headers["WWW-Authenticate"] == 'Basic realm="uicps-agent", charset="UTF-8"'


async def test_failures_of_an_account_make_it_wait(site: Site) -> None:
    for _ in range(5):
        async with site.http.post("/token", headers=basic("Ana", "wrong password")) as reply:
            assert reply.status == 401
    async with site.http.post("/token", headers=basic("ana", PASSWORD)) as reply:
        await refused(reply, 429, "too_many_attempts", "try again in 1 s")
        assert reply.headers["Retry-After"] == "1"
    site.monotonic.now_s += 1
    await site.login()


async def test_failures_of_a_peer_make_it_wait_whatever_the_name(site: Site) -> None:
    for at in range(7):
        async with site.http.post("/token", headers=basic(f"user{at}", "wrong password")) as reply:
            assert reply.status == (401 if at < 5 else 429)
    site.monotonic.now_s += 1
    async with site.http.post("/token", headers=basic("other", "wrong password")) as reply:
        assert reply.status == 401
    async with site.http.post("/token", headers=basic("ana", PASSWORD)) as reply:
        await refused(reply, 429, "too_many_attempts", "try again in 2 s")


async def test_guesses_at_the_same_time_are_counted_too(site: Site) -> None:
    async def guess() -> int:
        async with site.http.post("/token", headers=basic("ana", "wrong password")) as reply:
            return reply.status

    statuses = await asyncio.gather(*(guess() for _ in range(40)))
    assert statuses.count(401) == 5
    assert set(statuses) <= {401, 429, 503}


async def test_a_refresh_token_gives_a_new_pair(site: Site) -> None:
    first = await site.login()
    site.clock.now_s += 3600
    async with site.http.post("/token/refresh", json={"refresh_token": first["refresh_token"]}) as reply:
        second = await reply.json()
        assert reply.status == 200
        assert reply.headers["Cache-Control"] == "no-store"
    headers = {"Authorization": f"Bearer {second['access_token']}"}
    async with site.http.get("/api/v1/points", headers=headers) as reply:
        assert reply.status == 200


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (b"", "invalid_request", "expected a JSON body"),
        (b"[]", "invalid_request", "expected a JSON body"),
        (b"{", "invalid_request", "expected a JSON body"),
        (b'{"refresh_token":7}', "invalid_request", "expected a JSON body"),
        (b'{"refresh_token":"x.y.z"}', "invalid_grant", "the token is not valid"),
    ],
)
async def test_what_is_no_refresh_is_400(site: Site, body: bytes, error: str, text: str) -> None:
    async with site.http.post("/token/refresh", data=body) as reply:
        await refused(reply, 400, error, text)


async def test_a_refresh_token_ends_with_time_kind_and_password(site: Site) -> None:
    pair = await site.login()
    async with site.http.post("/token/refresh", json={"refresh_token": pair["access_token"]}) as reply:
        await refused(reply, 400, "invalid_grant", "expected a refresh token, found an access token")
    await site.server.users.set_password("ana", PASSWORD + "!")
    async with site.http.post("/token/refresh", json={"refresh_token": pair["refresh_token"]}) as reply:
        await refused(reply, 400, "invalid_grant", "his password or his role was changed")
    pair = await site.login(password=PASSWORD + "!")
    site.clock.now_s += 7 * 86400
    async with site.http.post("/token/refresh", json={"refresh_token": pair["refresh_token"]}) as reply:
        await refused(reply, 400, "invalid_grant", "has expired: log in again")


async def test_a_large_body_is_refused(site: Site) -> None:
    async with site.http.post("/token/refresh", data=b"x" * 20_000) as reply:
        await refused(reply, 413, "too_large", "larger than this server takes")


@pytest.mark.parametrize("path", GUARDED)
async def test_every_route_of_the_api_wants_an_access_token(site: Site, path: str) -> None:
    pair = await site.login()
    access, refresh = pair["access_token"], pair["refresh_token"]
    async with site.http.get(path) as reply:
        await refused(reply, 401, "token_required", "get one with POST /token")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="uicps-agent"'
    for header in (f"Bearer {refresh}", f"Bearer {access[:-9]}", "Bearer", "Basic x", f"Bearer {access}x"):
        async with site.http.get(path, headers={"Authorization": header}) as reply:
            await refused(reply, 401, "invalid_token", "")
            assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
    async with site.http.get(path, headers={"Authorization": f"bearer {access}"}) as reply:
        assert reply.status == 200
    site.clock.now_s += 900
    async with site.http.get(path, headers={"Authorization": f"Bearer {access}"}) as reply:
        await refused(reply, 401, "invalid_token", "has expired: renew it")


async def test_tokens_outlive_a_restart(start: StartSite, tmp_path: Path) -> None:
    site = await start()
    headers = await site.bearer()
    second = await start()
    async with second.http.get("/api/v1/points", headers=headers) as reply:
        assert reply.status == 200


async def test_no_secret_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pair = await site.login()
    async with site.http.post("/token", headers=basic("ana", "wrong password")):
        pass
    async with site.http.get("/api/v1/points", headers={"Authorization": f"Bearer {pair['access_token']}x"}):
        pass
    async with site.http.post("/token/refresh", json={"refresh_token": pair["refresh_token"] + "x"}):
        pass
    for secret in (PASSWORD, "wrong password", pair["access_token"], pair["refresh_token"]):
        assert secret not in caplog.text


async def test_a_user_added_by_another_process_may_log_in_at_once(site: Site, tmp_path: Path) -> None:
    from agent.server import IDENTITY_FILE, Users

    async with Users(tmp_path / IDENTITY_FILE) as users:
        await users.add("tec", PASSWORD, Role.TECHNICIAN)
    await site.login("tec")
