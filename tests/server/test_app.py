from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from agent.hub import Hub
from agent.server import Server, ServerOptions
from agent.store import Store
from tests.server.conftest import START_MS, Site, meter, sensor


async def test_a_probe_learns_whether_all_is_well_and_no_more(site: Site) -> None:
    async with site.http.get("/healthz") as reply:
        assert (reply.status, await reply.json()) == (200, {"status": "ok"})
    site.status.update(healthy=True, secret="x")
    async with site.http.get("/healthz") as reply:
        assert (reply.status, await reply.json()) == (200, {"status": "ok"})
    site.status.update(healthy=False, reasons=["the disk is full"])
    async with site.http.get("/healthz") as reply:
        body = await reply.json()
        assert (reply.status, body) == (503, {"status": "unhealthy", "reasons": ["the disk is full"]})


async def test_the_status_is_what_the_service_says(site: Site) -> None:
    site.status.update(healthy=True, readings_per_s=4.5, lines={"bus": {"age_s": math.nan}}, home=Path("/x"))
    async with site.http.get("/api/v1/status", headers=await site.bearer()) as reply:
        assert await reply.json() == {
            "healthy": True,
            "readings_per_s": 4.5,
            "lines": {"bus": {"age_s": None}},
            "home": "/x",
        }


async def test_the_points_are_described(site: Site) -> None:
    async with site.http.get("/api/v1/points", headers=await site.bearer()) as reply:
        points = (await reply.json())["points"]
    assert [point["id"] for point in points] == [
        "meter.voltage",
        "meter.energy",
        "meter.mode",
        "sensor.temperature",
    ]
    assert points[2] == {
        "id": "meter.mode",
        "device": "meter",
        "label": "Main board",
        "type": "sdm630",
        "group": "fast",
        "point": "mode",
        "unit": "",
        "kind": "state",
        "states": {"0": "off", "1": "on"},
        "interval_ms": 1000,
        "writable": None,
    }


async def test_the_latest_readings(site: Site) -> None:
    headers = await site.bearer()
    async with site.http.get("/api/v1/latest", headers=headers) as reply:
        assert await reply.json() == {"readings": []}
    site.publish(meter(START_MS), sensor(START_MS + 1))
    site.publish(meter(START_MS + 1000, 229.99999999999997))
    async with site.http.get("/api/v1/latest", headers=headers) as reply:
        assert reply.headers["Cache-Control"] == "no-store"
        assert (await reply.json())["readings"] == [
            {
                "device": "meter",
                "group": "fast",
                "time_ms": START_MS + 1000,
                "quality": "good",
                "values": {"voltage": 229.99999999999997, "energy": 1.5, "mode": 1.0},
            },
            {
                "device": "sensor",
                "group": "all",
                "time_ms": START_MS + 1,
                "quality": "uncertain",
                "values": {"temperature": None},
            },
        ]


def guarded(reply: aiohttp.ClientResponse) -> None:
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["X-Frame-Options"] == "DENY"
    assert "Server" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/page/../app.py", 404, "not_found"),
        ("GET", "/page/%2e%2e/app.py", 404, "not_found"),
        ("GET", "/page/index.html", 404, "not_found"),
        ("GET", "/token", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("HEAD", "/api/v1/export.csv", 405, None),
        ("GET", "/ws", 400, "bad_request"),
    ],
)
async def test_every_refusal_is_json_and_guarded(
    site: Site, method: str, path: str, status: int, error: str | None
) -> None:
    async with site.http.request(method, path) as reply:
        assert reply.status == status
        guarded(reply)
        if error:
            body = await reply.json()
            assert body["error"] == error
            assert body["error_description"]


async def test_the_page_is_served_guarded_and_cached_by_content(site: Site) -> None:
    async with site.http.get("/") as reply:
        text = await reply.text()
        assert reply.status == 200
        assert reply.content_type == "text/html"
        guarded(reply)
        etag = reply.headers["ETag"]
    assert "UICPS" in text
    assert "<style" not in text
    assert "style=" not in text
    async with site.http.get("/", headers={"If-None-Match": etag}) as reply:
        assert reply.status == 304
        guarded(reply)


async def test_everything_the_page_names_is_there(site: Site) -> None:
    import re

    async with site.http.get("/") as reply:
        names = re.findall(r'(?:src|href)="(/[^"]*)"', await reply.text())
    assert len(names) >= 3
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        async with site.http.get(name) as reply:
            assert reply.status == 200, name
            guarded(reply)
            if name.endswith(".js"):
                assert reply.content_type == "text/javascript"
                names += [f"/page/{each}" for each in re.findall(r'from "\./([^"]+)"', await reply.text())]
    assert not any("//" in name for name in seen)


async def test_a_bug_in_one_answer_is_a_500_and_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.status["healthy"] = Unspeakable()
    async with site.http.get("/healthz") as reply:
        assert (reply.status, (await reply.json())["error"]) == (500, "server_error")
        guarded(reply)
    assert "this is a bug" in caplog.text
    site.status.clear()
    async with site.http.get("/healthz") as reply:
        assert reply.status == 200


class Unspeakable:
    def __bool__(self) -> bool:
        raise RuntimeError("this is a bug")


async def test_a_disk_that_fails_is_a_503(site: Site, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "identity.db") as db:
        db.execute("DROP TABLE user")
    db.close()
    async with site.http.post("/token", headers={"Authorization": "Basic YW5hOng="}) as reply:
        assert (reply.status, (await reply.json())["error"]) == (503, "storage_unavailable")


async def test_a_taken_port_is_said(site: Site, tmp_path: Path) -> None:
    port = int(site.server.url.rpartition(":")[2])
    async with Store(tmp_path / "other.db") as store:
        server = Server(ServerOptions(port=port), Hub(), store, tmp_path / "other", dict)
        with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1 port {port}: .*choose another"):
            await server.__aenter__()


async def test_it_can_be_reached_over_ipv6(tmp_path: Path) -> None:
    async with (
        Store(tmp_path / "store.db") as store,
        Server(ServerOptions(host="::1", port=0), Hub(), store, tmp_path, dict) as server,
        aiohttp.ClientSession(server.url) as http,
        http.get("/healthz") as reply,
    ):
        assert server.url.startswith("http://[::1]:")
        assert reply.status == 200
