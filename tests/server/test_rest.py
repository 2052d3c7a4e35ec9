"""Commands, alarms, users, keys, logs, metrics; every answer has the shape it promises."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest

from agent.server import Role
from agent.server.openapi import document
from tests.server.conftest import HVAC, PASSWORD, START_MS, Site, StartSite, meter, sensor
from tests.server.rest import Asking, admin


async def test_a_command_by_rest(start: StartSite) -> None:
    site = await start(HVAC)
    ask = await admin(site)
    order = {"point": "hvac.setpoint", "value": 22.5, "lease_s": 60}
    given = await ask("POST", "/commands", order | {"wait_s": 5}, status=201)
    assert (given["state"], given["source"], given["priority"]) == ("written", "ana", "manual")
    (live,) = (await ask("GET", "/commands"))["live"]
    assert live["command"] == given["command"]
    assert await ask("DELETE", "/commands/hvac.setpoint") == {"point": "hvac.setpoint", "released": True}
    assert (await ask("DELETE", "/commands/hvac.setpoint"))["released"] is False
    (ended,) = (await ask("GET", "/commands"))["ended"]
    assert ended["state"] == "released"
    refused = await ask("POST", "/commands", order | {"value": 40}, status=422)
    assert refused == {
        "error": "command_refused",
        "error_description": "hvac.setpoint: expected 16 to 30, found 40",
    }
    assert (await ask("POST", "/commands", {"point": "x"}, status=400))["error"] == "invalid_request"
    assert [each.what["value"] for each in await site.audited("command.submit")] == [40.0, 22.5]


async def test_who_may_not_is_refused(start: StartSite) -> None:
    site = await start(HVAC)
    ask = await admin(site, Role.VIEWER)
    order = {"point": "hvac.setpoint", "value": 22.5, "lease_s": 60}
    for method, path, body in (
        ("POST", "/commands", order),
        ("DELETE", "/commands/hvac.setpoint", None),
        ("POST", "/alarms/acknowledge", {"id": "x"}),
        ("GET", "/users", None),
        ("POST", "/keys", {"name": "x", "scopes": ["read"]}),
        ("GET", "/logs", None),
    ):
        assert (await ask(method, path, body, status=403))["error"] == "insufficient_scope", path
    assert site.written == []


async def test_alarms_by_rest(site: Site) -> None:
    ask = await admin(site)
    site.tell("line:bus")
    (alarm,) = (await ask("GET", "/alarms"))["alarms"]
    assert (alarm["id"], alarm["state"]) == ("line:bus", "unacknowledged")
    assert (await ask("POST", "/alarms/acknowledge", {"id": "line:bus"}))["acknowledged_by"] == "ana"
    assert (await ask("POST", "/alarms/shelve", {"id": "line:bus", "for_s": 600}))["state"] == "shelved"
    assert (await ask("POST", "/alarms/unshelve", {"id": "line:bus"}))["id"] == "line:bus"
    assert (await ask("POST", "/alarms/unshelve", {"id": "nothing"}, status=409))["error"] == "not_possible"
    await site.told.settled()
    events = (await ask("GET", "/alarms/history?limit=2"))["events"]
    assert [each["change"] for each in events] == ["unshelved", "shelved"]


async def test_users_by_rest(site: Site) -> None:
    ask = await admin(site)
    made = await ask(
        "POST", "/users", {"name": "bea", "password": PASSWORD, "role": "technician"}, status=201
    )
    assert made == {"name": "bea", "role": "technician", "disabled": False, "second_factor": False}
    assert [each["name"] for each in (await ask("GET", "/users"))["users"]] == ["ana", "bea"]
    await site.login("bea")
    changed = await ask("PATCH", "/users/bea", {"disabled": True, "role": "viewer"})
    assert (changed["disabled"], changed["role"]) == (True, "viewer")
    (noted,) = await site.audited("user.change")
    assert (noted.who, noted.what["before"]["role"], noted.what["after"]["role"]) == (
        "ana",
        "technician",
        "viewer",
    )
    assert PASSWORD not in json.dumps([each.what for each in await site.audited("user.add")])
    for method, path, body, status, error in (
        ("POST", "/users", {"name": "bea", "password": PASSWORD}, 409, "user_refused"),
        ("POST", "/users", {"name": "eva", "password": "short"}, 409, "user_refused"),
        ("POST", "/users", {"name": "eva", "password": PASSWORD, "role": "king"}, 400, "invalid_request"),
        ("PATCH", "/users/eva", {"disabled": True}, 404, "unknown_user"),
        ("PATCH", "/users/ana", {"role": "viewer"}, 409, "last_admin"),
        ("PATCH", "/users/ana", {"disabled": True}, 409, "last_admin"),
        ("DELETE", "/users/ana", None, 409, "last_admin"),
    ):
        assert (await ask(method, path, body, status=status))["error"] == error, (method, path)
    await ask("DELETE", "/users/bea")
    assert [each["name"] for each in (await ask("GET", "/users"))["users"]] == ["ana"]


async def test_two_admins_who_remove_each_other_do_not_leave_none(site: Site) -> None:
    ask = await admin(site)
    await site.server.users.add("bea", PASSWORD, "admin")
    other = Asking(site, (await site.login("bea", PASSWORD))["access_token"])
    answers = await asyncio.gather(
        ask("PATCH", "/users/bea", {"role": "viewer"}),
        other("PATCH", "/users/ana", {"role": "viewer"}),
        return_exceptions=True,
    )
    assert sum(isinstance(each, AssertionError) for each in answers) == 1  # one of them is refused
    roles = [user.role for user in await site.server.users.list()]
    assert sorted(roles) == ["admin", "viewer"]


async def test_who_is_unlocked_and_disabled_at_once_is_disabled(site: Site) -> None:
    ask = await admin(site)
    await site.server.users.add("bea", PASSWORD)
    changed = await ask("PATCH", "/users/bea", {"unlocked": True, "disabled": True})
    assert changed["disabled"]


async def test_keys_by_rest(site: Site) -> None:
    ask = await admin(site)
    made = await ask("POST", "/keys", {"name": "grafana", "scopes": ["read"], "days": 30}, status=201)
    machine = Asking(site, made["key"])
    assert (await machine("GET", "/version"))["version"]
    assert (await machine("GET", "/keys", status=403))["error"] == "insufficient_scope"
    (listed,) = (await ask("GET", "/keys"))["keys"]
    assert listed == {name: each for name, each in made.items() if name != "key"}
    assert (await ask("POST", "/keys", {"name": "x", "scopes": ["users"]}, status=409))[
        "error"
    ] == "key_refused"
    await ask("DELETE", "/keys/grafana")
    assert (await machine("GET", "/version", status=401))["error"] == "invalid_token"
    assert (await ask("DELETE", "/keys/grafana", status=404))["error"] == "unknown_key"
    assert made["key"] not in json.dumps([each.what for each in await site.audited("key.add")])


async def test_the_newest_lines_of_the_log(site: Site) -> None:
    ask = await admin(site)
    logging.getLogger("agent.test").warning("the %s is dead", "bus")
    logging.getLogger("agent.test").info("x" * 5000)
    found = await ask("GET", "/logs?level=warning&limit=1")
    (line,) = found["lines"]
    assert (line["level"], line["logger"], line["text"]) == ("warning", "agent.test", "the bus is dead")
    (after,) = (await ask("GET", f"/logs?level=warning&after={line['number'] - 1}"))["lines"]
    assert after == line
    assert (await ask("GET", f"/logs?level=warning&after={found['next']}"))["lines"] == []


async def test_metrics(site: Site) -> None:
    site.publish(meter(START_MS - 5000, 230.5), sensor(START_MS))
    site.status.update(
        healthy=True,
        readings_per_s=4.5,
        store={"committed_seq": 7},
        lines=[{"name": 'bus "1"', "failing": False, "counters": {"timeouts": 3}}],
        reasons=[],
        site="lab",
    )
    async with site.http.get("/metrics", headers=await site.bearer()) as reply:
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = (await reply.text()).splitlines()
    for wanted in (
        'uicps_value{device="meter",point="voltage",unit="V"} 230.5',
        'uicps_reading_age_seconds{device="meter",group="fast"} 5.0',
        'uicps_reading_quality{device="sensor",group="all"} 1.0',
        "uicps_readings_per_s 4.5",
        "uicps_store_committed_seq 7.0",
        "uicps_healthy 1.0",
        'uicps_line_failing{line="bus \\\\"1\\\\""} 0.0'.replace("\\\\", "\\"),
        'uicps_line_counters_timeouts{line="bus \\\\"1\\\\""} 3.0'.replace("\\\\", "\\"),
    ):
        assert wanted in lines
    assert not [line for line in lines if "temperature" in line]  # not available
    names = [re.split(r"[ {]", line)[0] for line in lines if not line.startswith("#")]
    assert [name for at, name in enumerate(names) if name not in names[:at]] == list(dict.fromkeys(names))
    async with site.http.get("/metrics") as reply:
        assert reply.status == 401


async def test_state_by_rest(site: Site) -> None:
    ask = await admin(site)
    site.publish(meter(START_MS - 1000), sensor(START_MS - 1000))
    await site.store.commit()
    rows = (await ask("GET", "/ledger"))["rows"]
    assert {(row["device"], row["acquired"]) for row in rows} == {("meter", 1), ("sensor", 1)}
    assert (await ask("GET", "/ledger?from=0&to=9999999999999", status=400))["error"] == "invalid_period"
    points = (await ask("GET", "/points?points=meter.v*"))["points"]
    assert [point["id"] for point in points] == ["meter.voltage"]
    (reading,) = (await ask("GET", "/latest?points=sensor.*"))["readings"]
    assert reading["device"] == "sensor"
    assert (await ask("GET", "/latest?points=nothing", status=400))["error"] == "unknown_point"
    assert (await ask("GET", "/lines"))["lines"] == []
    assert (await ask("GET", "/uplinks"))["uplinks"] == []
    estimate = await ask("GET", "/export/estimate")
    assert estimate["values"] > 0


async def test_the_description_and_its_page_need_no_token(site: Site) -> None:
    async with site.http.get("/api/openapi.json") as reply:
        whole = await reply.json()
    assert whole["openapi"] == "3.1.0"
    assert whole == json.loads(json.dumps(document(site.server.routes)))
    for pointer in set(re.findall(r'"\\$ref": "#/([^"]+)"', json.dumps(whole))):
        found: Any = whole
        for key in pointer.split("/"):
            found = found[key]
    async with site.http.get("/api/docs") as reply:
        page = await reply.text()
        assert reply.content_type == "text/html"
    assert "/api/v1/export.csv" in page
    assert "<script" not in page
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page


async def test_every_route_is_in_the_text(site: Site) -> None:
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    missing = [
        f"{route.method} {route.path}"
        for route in site.server.routes
        if route.path.removeprefix("/api/v1") not in text
    ]
    assert not missing


@pytest.mark.parametrize("path", ["/nothing", "/users/a/b", "/commands/"])
async def test_nothing_else_is_there(site: Site, path: str) -> None:
    ask = await admin(site)
    assert (await ask("GET", path, status=404))["error"] == "not_found"
