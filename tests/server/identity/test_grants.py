"""The life of a session: begun, renewed, copied, ended; and what ends with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.server import IDENTITY_FILE, Role, Users
from agent.server.identity.keys import Keys
from agent.server.identity.signing import rotate
from agent.server.office import KEY_FILE
from tests.server.conftest import CHEAP, PASSWORD, Site, StartSite, basic
from tests.server.sockets import closed, said


async def refresh(site: Site, token: str) -> tuple[int, dict[str, str]]:
    async with site.http.post("/token/refresh", json={"refresh_token": token}) as reply:
        return reply.status, await reply.json()


async def get(site: Site, token: str, path: str = "/api/v1/points") -> int:
    async with site.http.get(path, headers={"Authorization": f"Bearer {token}"}) as reply:
        return reply.status


async def test_a_refresh_token_works_once_and_its_copy_ends_everything(site: Site) -> None:
    first = await site.login()
    status, second = await refresh(site, first["refresh_token"])
    assert status == 200
    status, third = await refresh(site, second["refresh_token"])
    assert status == 200
    assert await get(site, third["access_token"]) == 200
    status, body = await refresh(site, first["refresh_token"])
    assert (status, body["error"]) == (400, "invalid_grant")
    assert "used before" in body["error_description"]
    # The thief and the owner are both out, with whatever they had.
    assert await get(site, third["access_token"]) == 401
    assert (await refresh(site, third["refresh_token"]))[0] == 400
    assert site.alarms == ["server.token.replayed"]
    (entry,) = await site.audited("token.replayed")
    assert (entry.who, entry.peer) == ("ana", "127.0.0.1")
    assert await get(site, (await site.login())["access_token"]) == 200


async def test_two_renewals_at_once_are_one_too_many(site: Site) -> None:
    token = (await site.login())["refresh_token"]
    statuses = [status for status, _ in await asyncio.gather(refresh(site, token), refresh(site, token))]
    assert sorted(statuses) == [200, 400]


async def test_signing_out_ends_the_session_and_its_sockets(site: Site) -> None:
    pair, other = await site.login(), await site.login()
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    async with site.http.ws_connect("/ws", headers=headers) as socket:
        assert (await said(socket))["type"] == "welcome"
        async with site.http.post("/token/revoke", json={"token": pair["refresh_token"]}) as reply:
            assert (reply.status, await reply.json()) == (200, {})
        code, reason = await closed(socket)
        assert code == 4401
        assert "log in again" in reason
    assert await get(site, pair["access_token"]) == 401
    assert await get(site, other["access_token"]) == 200
    for token in (pair["refresh_token"], other["access_token"]):
        async with site.http.post("/token/revoke", json={"token": token}) as reply:
            assert reply.status == 200
    assert await get(site, other["access_token"]) == 401
    async with site.http.post("/token/revoke", json={"token": "a.b.c"}) as reply:
        assert reply.status == 401


async def test_who_logs_in_beside_many_others_is_in_at_once(site: Site) -> None:
    async def visit() -> int:
        return await get(site, (await site.login())["access_token"])

    assert await asyncio.gather(*(visit() for _ in range(15))) == [200] * 15


CHANGES: list[Callable[[Users], Awaitable[object]]] = [
    lambda users: users.set_password("ana", PASSWORD + "!"),
    lambda users: users.set_role("ana", Role.TECHNICIAN),
    lambda users: users.set_disabled("ana", True),
    lambda users: users.remove("ana"),
]


@pytest.mark.parametrize("change", CHANGES, ids=["password", "role", "disabled", "removed"])
async def test_a_change_by_another_process_ends_his_sockets_within_a_second(
    site: Site, tmp_path: Path, change: Callable[[Users], Awaitable[object]]
) -> None:
    await site.server.users.add("bea", PASSWORD)
    pair, bea = await site.login(), await site.login("bea")
    sockets = []
    for token in (pair["access_token"], bea["access_token"]):
        socket = await site.http.ws_connect("/ws", headers={"Authorization": f"Bearer {token}"})
        assert (await said(socket))["type"] == "welcome"
        sockets.append(socket)
    async with Users(tmp_path / IDENTITY_FILE, hasher=CHEAP) as users:
        begun = time.monotonic()
        await change(users)
    assert (await closed(sockets[0]))[0] == 4401
    assert time.monotonic() - begun < 1
    assert await get(site, pair["access_token"]) == 401
    assert (await refresh(site, pair["refresh_token"]))[0] == 400
    await sockets[1].send_json({"type": "ping"})
    assert (await said(sockets[1]))["type"] == "pong"
    for socket in sockets:
        await socket.close()


async def test_a_rotated_signing_key_logs_nobody_out(site: Site, tmp_path: Path) -> None:
    pair = await site.login()
    rotate(tmp_path / KEY_FILE, site.clock(), 3600)
    await site.server.office.tick()
    assert await get(site, pair["access_token"]) == 200
    status, fresh = await refresh(site, pair["refresh_token"])
    assert status == 200
    rotate(tmp_path / KEY_FILE, site.clock(), 0)
    await site.server.office.tick()
    assert await get(site, fresh["access_token"]) == 401


async def test_a_machine_comes_in_by_its_key_as_far_as_its_scopes(site: Site) -> None:
    keys = site.server.office.keys
    key, text = await keys.add("grafana", ["read"], "test")
    headers = {"Authorization": f"Bearer {text}"}
    await site.server.office.tick()
    assert await get(site, text) == 200
    assert await get(site, text, "/api/v1/export.csv") == 403
    assert await get(site, text, "/api/v1/me") == 403
    assert await get(site, text[:-1] + ("A" if text[-1] != "A" else "B")) == 401
    async with site.http.ws_connect("/ws", headers=headers) as socket:
        assert (await said(socket))["type"] == "welcome"
        await keys.revoke("grafana")
        assert (await closed(socket))[0] == 4401
    assert await get(site, text) == 401
    (refused, *_) = await site.audited("permission.refused")
    assert refused.who == "key:grafana"
    assert text not in str(await site.server.office.users.database.rows("SELECT * FROM api_key"))
    assert key.name == "grafana"


async def test_a_key_that_may_not_read_does_not_watch(site: Site) -> None:
    _, text = await Keys(site.server.users.database, site.clock).add("pusher", ["push"], "test", days=1)
    await site.server.office.tick()
    async with site.http.get("/ws", headers={"Authorization": f"Bearer {text}"}) as reply:
        assert (reply.status, (await reply.json())["error"]) == (403, "insufficient_scope")
    site.clock.now_s += 86400
    assert await get(site, text) == 401


async def test_the_log_is_for_admins_and_shows_who_did_what(site: Site) -> None:
    await site.server.users.add("root", PASSWORD, Role.ADMIN)
    assert await get(site, (await site.login())["access_token"], "/api/v1/audit") == 403
    headers = {"Authorization": f"Bearer {(await site.login('root'))['access_token']}"}
    async with site.http.post("/token", headers=basic("ana", "wrong")):
        pass
    async with site.http.get("/api/v1/export.csv?points=meter.*", headers=headers) as reply:
        await reply.read()
    async with site.http.get("/api/v1/audit", headers=headers) as reply:
        entries = (await reply.json())["entries"]
    assert [entry["kind"] for entry in entries[:4]] == [
        "export",
        "login.refused",
        "login",
        "permission.refused",
    ]
    assert entries[0]["who"] == "root"
    assert entries[0]["what"] == {"asked": {"points": ["meter.*"]}}
    assert entries[1]["who"] == "ana (password)"
    async with site.http.get("/api/v1/audit.csv?kind=login", headers=headers) as reply:
        rows = (await reply.text()).splitlines()
    assert rows[0] == "number,time,kind,who,peer,what"
    assert [row.split(",")[2] for row in rows[1:]] == ["login.refused", "login", "login"]
    for query in ("before=x", "limit=-1", "from=yesterday", "whom=ana"):
        async with site.http.get(f"/api/v1/audit?{query}", headers=headers) as reply:
            assert reply.status == 400, query


async def test_the_first_admin_is_made_with_the_code_once(start: StartSite) -> None:
    site = await start()
    await site.server.users.remove("ana")
    await site.server.office.tick()
    code = site.server.office.setup.code
    async with site.http.get("/setup") as reply:
        assert await reply.json() == {"open": True}
    body = {"code": code, "name": "root", "password": PASSWORD}
    for changed, status in (
        ({"code": "AAAA-AAAA-AAAA"}, 403),
        ({"password": "short"}, 400),
        ({}, 201),
        ({}, 409),
    ):
        async with site.http.post("/setup", json=body | changed) as reply:
            assert reply.status == status
    assert (await site.server.users.known("root")).role is Role.ADMIN
    assert [entry.what["after"]["name"] for entry in await site.audited("user.added")] == ["root"]
    assert len(await site.audited("setup.refused")) == 2
    await site.server.users.remove("root")  # and it stays used, should everybody go
    await site.server.office.tick()
    async with site.http.post("/setup", json=body) as reply:
        assert reply.status == 403


async def test_the_setup_code_is_in_the_log_but_in_no_answer(
    start: StartSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = await start()
    token = (await site.server.office.keys.add("screen", ["configure"], "ana"))[1]
    await site.server.users.remove("ana")
    await site.server.office.tick()
    site.server.announce()
    assert site.server.office.setup.code in caplog.text
    async with site.http.get("/api/v1/logs", headers={"Authorization": f"Bearer {token}"}) as reply:
        assert reply.status == 200
        assert site.server.office.setup.code not in await reply.text()


async def test_guessing_the_setup_code_is_slow(start: StartSite) -> None:
    site = await start()
    await site.server.users.remove("ana")
    await site.server.office.tick()
    statuses = []
    for _ in range(7):
        async with site.http.post("/setup", json={"code": "x"}) as reply:
            statuses.append(reply.status)
    assert statuses == [403] * 5 + [429] * 2


async def test_unlocking_forgets_the_failures(site: Site) -> None:
    for _ in range(9):
        async with site.http.post("/token", headers=basic("ana", "wrong")):
            site.monotonic.now_s += 30
    site.monotonic.now_s += 600  # the peer's wait, longer than the account's
    for _ in range(3):
        async with site.http.post("/token", headers=basic("ana", "wrong")):
            pass
    await site.server.users.unlock("ana")
    await site.server.office.tick()
    site.server.office.account._judge._peers.forgive("127.0.0.1")
    await site.login()
