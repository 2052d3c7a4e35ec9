"""A whole session of everyone's, and then: in which answers, logs and files is which secret to be found?"""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.server.conftest import PASSWORD, Site, StartSite, basic
from tests.server.rest import admin
from tests.server.sockets import said

NEW_PASSWORD = "um outro segredo, mais longo"


class Listening:
    """Every answer, by the request that it answers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.answers: dict[str, str] = defaultdict(str)

    async def __call__(self, method: str, path: str, token: str = "", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else more.pop("headers", {})
        async with self._site.http.request(method, path, headers=headers, **more) as reply:
            text = await reply.text()
            self.answers[f"{method} {path}"] += text + str(reply.headers)
            return await reply.json() if reply.content_type == "application/json" else text


def files(folder: Path) -> bytes:
    """All that is on disk."""
    return b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


async def test_no_secret_is_where_it_does_not_belong(
    start: StartSite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site = await start()
    setup_code = site.server.office.setup.code
    ask = Listening(site)
    token = (await admin(site)).token
    secrets: dict[str, set[str]] = {
        PASSWORD: set(),
        "wrong password": set(),
        NEW_PASSWORD: set(),
        token: set(),
    }
    if setup_code:
        secrets[setup_code] = set()
    await ask("POST", "/token", headers=basic("ana", "wrong password"))
    await ask("POST", "/setup", json={"code": "wrong code 123", "name": "eva", "password": NEW_PASSWORD})

    pair = await ask("POST", "/token", headers=basic("ana", PASSWORD))
    secrets |= {pair["access_token"]: {"POST /token"}, pair["refresh_token"]: {"POST /token"}}
    renewed = await ask("POST", "/token/refresh", json={"refresh_token": pair["refresh_token"]})
    access = renewed["access_token"]
    secrets |= {access: {"POST /token/refresh"}, renewed["refresh_token"]: {"POST /token/refresh"}}

    key = (await ask("POST", "/api/v1/keys", access, json={"name": "grafana", "scopes": ["read"]}))["key"]
    secrets[key] = {"POST /api/v1/keys"}
    await ask("GET", "/api/v1/points", key)
    await ask("GET", "/api/v1/points", key + "x")
    await ask("GET", f"/ws?token={access}")  # refused, and not repeated
    async with site.http.ws_connect("/ws", protocols=("uicps.v1", f"bearer.{access}")) as socket:
        ask.answers["/ws"] += str(await said(socket))
        await socket.send_json({"type": "nonsense", "token": access})
        ask.answers["/ws"] += str(await said(socket))

    body = {"password": PASSWORD, "new_password": NEW_PASSWORD}
    pair = await ask("POST", "/api/v1/me/password", access, json=body)
    access = pair["access_token"]
    secrets |= {access: {"POST /api/v1/me/password"}, pair["refresh_token"]: {"POST /api/v1/me/password"}}
    enrolment = await ask("POST", "/api/v1/me/totp", access, json={"password": NEW_PASSWORD})
    seed = enrolment["secret"]
    secrets[seed] = {"POST /api/v1/me/totp"}
    code = pyotp.TOTP(seed).at(int(site.clock()))
    confirmed = await ask("POST", "/api/v1/me/totp/confirm", access, json={"totp": code})
    for each in confirmed["recovery_codes"]:
        secrets[each] = {"POST /api/v1/me/totp/confirm"}
    recovery = {"recovery_code": confirmed["recovery_codes"][0]}
    again = await ask("POST", "/token", headers=basic("ana", NEW_PASSWORD), json=recovery)
    secrets |= {again["access_token"]: {"POST /token"}, again["refresh_token"]: {"POST /token"}}

    final = again["access_token"]
    await site.server.audit.settled()
    for path in ("audit", "audit.csv", "logs", "users", "keys", "status", "version"):
        await ask("GET", f"/api/v1/{path}", final)
    assert len(secrets) >= 20
    assert "user.password" in ask.answers["GET /api/v1/audit"]  # it was let in
    for secret, allowed in secrets.items():
        assert secret not in caplog.text
        for request, answer in ask.answers.items():
            assert secret not in answer or request in allowed, (secret, request)
    kept = files(tmp_path)
    assert seed.encode() in kept  # codes are made of it
    for secret in secrets.keys() - {seed}:
        assert secret.encode() not in kept
