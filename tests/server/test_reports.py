"""Reports by REST: who may, what is served under which policy, doors that close."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.reporting import WAITING_MAX, Reporting
from agent.reports.options import ReportsOptions
from agent.server import Parts, Role
from tests.server.conftest import PASSWORD, Site, StartSite

WEEK = "power-quality_main-meter_2026-11-09_2026-11-16_pt-BR"
FILES = {"html": b"<!doctype html><script>alert(1)</script>", "csv": b"a;b"}


@pytest.fixture
async def shown(start: StartSite, tmp_path: Path) -> Site:
    reports = Reporting(tmp_path / "config.toml", tmp_path, ReportsOptions())
    reports.shelf.put(WEEK, FILES)
    site = await start(parts=Parts(reports=reports))
    await site.server.users.add("tia", PASSWORD, Role.TECHNICIAN)
    return site


async def token(site: Site, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {(await site.login(name))['access_token']}"}


async def test_a_viewer_lists_and_fetches_and_may_not_make_or_remove(shown: Site) -> None:
    headers = await token(shown, "ana")
    async with shown.http.get("/api/v1/reports", headers=headers) as reply:
        listed = await reply.json()
    assert {each["name"] for each in listed["reports"]} == {f"{WEEK}.html", f"{WEEK}.csv"}
    async with shown.http.get(f"/api/v1/reports/{WEEK}.html", headers=headers) as reply:
        assert await reply.read() == FILES["html"]
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script" not in policy
        assert policy.endswith("sandbox")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert f'filename="{WEEK}.html"' in reply.headers["Content-Disposition"]
    async with shown.http.post("/api/v1/reports", headers=headers, json={"kind": "energy"}) as reply:
        assert reply.status == 403
    async with shown.http.delete(f"/api/v1/reports/{WEEK}.csv", headers=headers) as reply:
        assert reply.status == 403
    assert (await shown.audited("report.fetch"))[0].who.endswith("ana")


async def test_a_technician_has_one_made_and_too_many_are_refused(shown: Site) -> None:
    headers = await token(shown, "tia")
    order = {"kind": "power-quality", "meter": "m", "from": "2026-11-09", "to": "2026-11-16"}
    for number in range(WAITING_MAX):
        async with shown.http.post("/api/v1/reports", headers=headers, json=order) as reply:
            assert reply.status == 202
            assert (await reply.json())["number"] == number + 1
    async with shown.http.post("/api/v1/reports", headers=headers, json=order) as reply:
        assert reply.status == 429
    assert len(await shown.audited("report.make")) == WAITING_MAX
    async with shown.http.delete(f"/api/v1/reports/{WEEK}.csv", headers=headers) as reply:
        assert reply.status == 200
    assert len(await shown.audited("report.remove")) == 1


@pytest.mark.parametrize(
    "order",
    [{"kind": "energy", "from": "2026-11-09"}, {"kind": "power-quality", "month": "2026-11"},
     {"kind": "commissioning", "meter": "m"}, {"kind": "energy", "meter": "--out=/etc"},
     {"kind": "x"}, {"kind": "energy", "month": "2026-13"}, {"kind": "energy", "out": "/tmp"}],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused(shown: Site, order: dict[str, str]) -> None:
    headers = await token(shown, "tia")
    async with shown.http.post("/api/v1/reports", headers=headers, json=order) as reply:
        assert reply.status == 400


@pytest.mark.parametrize(
    "name",
    ["..%2freadings.db", "..%2f..%2fetc%2fpasswd", f"{WEEK}.html%00", "config.toml", ".draft-1", "%2e%2e"],
)
async def test_no_path_leads_out(shown: Site, name: str) -> None:
    from yarl import URL

    headers = await token(shown, "tia")
    url = URL(f"{shown.server.url}/api/v1/reports/{name}", encoded=True)
    async with shown.http.get(url, headers=headers) as reply:
        assert reply.status == 404


async def test_a_door_opens_one_file_for_a_while(shown: Site) -> None:
    headers = await token(shown, "ana")
    async with shown.http.post(f"/api/v1/reports/{WEEK}.html/open", headers=headers, json={}) as reply:
        url = (await reply.json())["url"]
    async with shown.http.get(url) as reply:  # no token
        assert reply.status == 200
        assert reply.headers["Content-Disposition"].startswith("inline")
        assert reply.headers["Content-Security-Policy"].endswith("sandbox")
        assert reply.headers["Cache-Control"] == "no-store"
    async with shown.http.get("/reports/guessed") as reply:
        assert reply.status == 404
    shown.monotonic.now_s += 301
    async with shown.http.get(url) as reply:
        assert reply.status == 404
