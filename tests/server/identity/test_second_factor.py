from __future__ import annotations

from typing import Any

import pyotp
import pytest

from agent.server import Role
from agent.server.identity.second_factor import FAILURES_MAX
from tests.server.conftest import PASSWORD, Site, StartSite, basic


async def login(site: Site, **second: str) -> tuple[int, dict[str, Any]]:
    async with site.http.post("/token", headers=basic("ana", PASSWORD), json=second) as reply:
        return reply.status, await reply.json()


def bearer(pair: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair['access_token']}"}


async def enrol(site: Site) -> tuple[pyotp.TOTP, list[str], dict[str, Any]]:
    """Switch the second factor of ana on as the page does."""
    headers = bearer((await login(site))[1])
    async with site.http.post("/api/v1/me/totp", json={"password": PASSWORD}, headers=headers) as reply:
        begun = await reply.json()
        assert reply.status == 200, begun
    assert begun["svg"].startswith("<svg")
    assert "viewBox" in begun["svg"]  # or the page would cut it
    assert "style" not in begun["svg"]
    totp = pyotp.parse_uri(begun["uri"])
    assert isinstance(totp, pyotp.TOTP)
    async with site.http.post("/api/v1/me/totp/confirm", json={"totp": "000000"}, headers=headers) as reply:
        assert (reply.status, (await reply.json())["error"]) == (400, "invalid_totp")
    code = {"totp": totp.at(int(site.clock()))}
    async with site.http.post("/api/v1/me/totp/confirm", json=code, headers=headers) as reply:
        confirmed = await reply.json()
        assert reply.status == 200, confirmed
    return totp, confirmed["recovery_codes"], confirmed


async def test_with_it_on_a_login_wants_a_code_that_works_once(site: Site) -> None:
    totp, _, pair = await enrol(site)
    async with site.http.get("/api/v1/me", headers=bearer(pair)) as reply:
        me = await reply.json()
        assert (me["second_factor"], me["recovery_codes_left"]) == (True, 10)
    status, body = await login(site)
    assert (status, body["error"]) == (401, "totp_required")
    status, body = await login(site, totp=totp.at(int(site.clock())))
    assert (status, body["error"]) == (401, "totp_replayed")  # it was used to switch it on
    site.clock.now_s += 30
    assert (await login(site, totp=totp.at(int(site.clock()))))[0] == 200
    assert (await login(site, totp=totp.at(int(site.clock()))))[1]["error"] == "totp_replayed"
    assert (await login(site, totp=totp.at(int(site.clock()) - 30)))[1]["error"] == "totp_replayed"
    site.clock.now_s += 30
    ahead = totp.at(int(site.clock()) + 30)
    assert (await login(site, totp=f"{ahead[:3]} {ahead[3:]}"))[0] == 200  # a phone a little ahead
    assert await site.audited("login.refused")


async def test_what_was_issued_without_it_is_over(site: Site) -> None:
    old = await site.login()
    await enrol(site)
    async with site.http.get("/api/v1/points", headers=bearer(old)) as reply:
        assert reply.status == 401


async def test_a_recovery_code_works_once(site: Site) -> None:
    _, codes, _ = await enrol(site)
    assert (await login(site, recovery_code=codes[0].lower().replace("-", " ")))[0] == 200
    assert (await login(site, recovery_code=codes[0]))[1]["error"] == "invalid_totp"
    assert (await login(site, recovery_code=codes[1]))[0] == 200
    assert [entry.what["left"] for entry in await site.audited("login.recovery_code")] == [8, 9]
    rows = await site.server.users.database.rows("SELECT hash FROM recovery_code")
    assert not any(code.replace("-", "").encode() in row[0] for row in rows for code in codes)


async def test_guessing_codes_with_the_right_password_locks(site: Site) -> None:
    totp, codes, _ = await enrol(site)
    site.clock.now_s += 30
    wrong = f"{(int(totp.at(int(site.clock()))) + 500) % 1_000_000:06}"
    for _ in range(FAILURES_MAX):
        assert (await login(site, totp=wrong))[1]["error"] == "invalid_totp"
        site.monotonic.now_s += 700
    status, body = await login(site, totp=totp.at(int(site.clock())))
    assert (status, body["error"]) == (401, "totp_locked")
    site.monotonic.now_s += 700
    assert (await login(site, recovery_code=codes[0]))[0] == 200
    assert (await login(site, totp=totp.at(int(site.clock()))))[0] == 200


async def test_a_right_password_alone_forgives_no_wrong_codes(site: Site) -> None:
    await enrol(site)
    statuses = []
    for _ in range(7):
        statuses.append((await login(site, totp="000000"))[0])
        if statuses[-1] == 401:
            await login(site)
    assert 429 in statuses


async def test_while_the_clock_is_not_trusted_it_is_said_and_there_is_a_way_in(site: Site) -> None:
    totp, codes, _ = await enrol(site)
    right = totp.at(int(site.clock()) + 86400)  # the phone knows the day
    site.trusted = False
    proxied = basic("ana", PASSWORD) | {"X-Forwarded-For": "192.0.2.1"}
    for _ in range(3):
        async with site.http.post("/token", headers=proxied, json={"totp": right}) as reply:
            body = await reply.json()
            assert (reply.status, body["error"]) == (401, "clock_untrusted")
            assert "recovery_code" in body["error_description"]
    assert (await site.server.users.known("ana")).totp_failures == 0  # it was not his fault
    async with site.http.post("/token", headers=proxied, json={"recovery_code": codes[0]}) as reply:
        assert reply.status == 200
    assert (await login(site))[0] == 200  # at the box itself
    assert len(await site.audited("login.clock_waiver")) == 1
    async with site.http.post("/token", headers=basic("ana", "wrong")) as reply:
        assert reply.status == 401


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_role_that_needs_it_can_only_set_it_up(start: StartSite, trusted: bool) -> None:
    site = await start(totp_required=[Role.VIEWER])
    site.trusted = trusted
    status, pair = await login(site)
    assert (status, pair.get("totp_enrolment_required")) == (200, True if trusted else None)
    async with site.http.get("/api/v1/points", headers=bearer(pair)) as reply:
        assert reply.status == (403 if trusted else 200)
    async with site.http.get("/ws", headers=bearer(pair)) as reply:
        assert reply.status == (403 if trusted else 400)
    site.trusted = True
    _, _, after = await enrol(site)
    assert "totp_enrolment_required" not in after
    async with site.http.get("/api/v1/points", headers=bearer(after)) as reply:
        assert reply.status == 200


async def test_removing_it_wants_password_and_code(site: Site) -> None:
    totp, codes, pair = await enrol(site)
    site.clock.now_s += 30
    code = totp.at(int(site.clock()))
    for body, status in (
        ({"password": PASSWORD}, 401),
        ({"password": "wrong", "totp": code}, 401),
        ({"password": PASSWORD, "totp": code}, 200),
    ):
        async with site.http.delete("/api/v1/me/totp", json=body, headers=bearer(pair)) as reply:
            assert reply.status == status, await reply.text()
    assert (await login(site))[0] == 200
    assert codes


async def test_a_new_password_wants_the_old_and_keeps_this_session_only(site: Site) -> None:
    here, elsewhere = await site.login(), await site.login()
    body = {"password": PASSWORD, "new_password": "another one"}
    for given, status in (
        (body | {"password": "wrong"}, 401),
        (body | {"new_password": "x"}, 400),
        (body, 200),
    ):
        async with site.http.post("/api/v1/me/password", json=given, headers=bearer(here)) as reply:
            assert reply.status == status
            fresh = await reply.json()
    for pair, status in ((here, 401), (elsewhere, 401), (fresh, 200)):
        async with site.http.get("/api/v1/points", headers=bearer(pair)) as reply:
            assert reply.status == status
