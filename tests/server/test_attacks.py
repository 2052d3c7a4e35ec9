"""What an attacker on the LAN tries: all refused, and all to be read in the audit log afterwards."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.server import Role
from agent.server.identity.tokens import AUDIENCE, ISSUER
from agent.server.office import KEY_FILE
from tests.server.conftest import PASSWORD, Site, StartSite, basic
from tests.server.rest import admin
from tests.server.sockets import closed


def part(data: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(data)).rstrip(b"=").decode()


class Forger:
    """Knows a good token, and may or may not know the key."""

    def __init__(self, site: Site, folder: Path, token: str) -> None:
        (key,) = orjson.loads((folder / KEY_FILE).read_bytes())["keys"]
        self.kid = key["kid"]
        self._secret = base64.urlsafe_b64decode(key["k"] + "==")
        self.said = jwt.decode(token, options={"verify_signature": False})
        self.head, self.body, self.signature = token.split(".")
        self.now_s = int(site.clock())

    def with_key(self, **changed: Any) -> str:
        said = {name: value for name, value in (self.said | changed).items() if value is not None}
        return jwt.encode(said, self._secret, "HS256", headers={"kid": self.kid})

    def unsigned(self, algorithm: str) -> str:
        return f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': self.kid})}.{self.body}."

    def confused(self) -> str:
        """Signed by HMAC with a public key, and by RSA where HMAC is expected."""
        key = rsa.generate_private_key(65537, 2048)
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        head = part({"alg": "HS256", "typ": "JWT", "kid": self.kid})
        text = f"{head}.{self.body}"
        signature = hmac.new(pem, text.encode(), hashlib.sha256).digest()
        return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def by_rsa(self) -> str:
        key = rsa.generate_private_key(65537, 2048)
        return jwt.encode(self.said, key, "RS256", headers={"kid": self.kid})


TOKENS = {
    "alg none": (lambda forger: forger.unsigned("none"), "token.forged"),
    "alg NONE": (lambda forger: forger.unsigned("NONE"), "token.forged"),
    "alg empty": (lambda forger: forger.unsigned(""), "token.forged"),
    "hmac with a public key": (lambda forger: forger.confused(), "token.forged"),
    "rsa": (lambda forger: forger.by_rsa(), "token.forged"),
    "another role": (
        lambda forger: f"{forger.head}.{part(forger.said | {'role': 'admin'})}.{forger.signature}",
        "token.forged",
    ),
    "cut": (lambda forger: f"{forger.head}.{forger.body}.{forger.signature[:-8]}", "token.forged"),
    "unknown key": (
        lambda forger: jwt.encode(forger.said, "x" * 32, "HS256", headers={"kid": "../../etc/passwd"}),
        "token.refused",
    ),
    "aud": (lambda forger: forger.with_key(aud="elsewhere"), "token.forged"),
    "iss": (lambda forger: forger.with_key(iss="elsewhere"), "token.forged"),
    "no exp": (lambda forger: forger.with_key(exp=None), "token.forged"),
    "expired": (lambda forger: forger.with_key(exp=forger.now_s - 1), "token.expired"),
    "future": (lambda forger: forger.with_key(iat=forger.now_s + 3600), "token.refused"),
    "not yet": (lambda forger: forger.with_key(nbf=forger.now_s + 3600), "token.refused"),
    "refresh as access": (lambda forger: forger.with_key(typ="refresh"), "token.refused"),
    "unknown session": (lambda forger: forger.with_key(sid="0" * 24), "token.refused"),
    "unknown user": (lambda forger: forger.with_key(sub="root"), "token.refused"),
    "older password": (lambda forger: forger.with_key(gen=0), "token.refused"),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_a_forged_token_opens_nothing(site: Site, tmp_path: Path, name: str) -> None:
    forge, kind = TOKENS[name]
    forger = Forger(site, tmp_path, (await site.login())["access_token"])
    assert forger.said["iss"] == ISSUER
    assert forger.said["aud"] == AUDIENCE
    token = forge(forger)
    headers = {"Authorization": f"Bearer {token}"}
    async with site.http.get("/api/v1/points", headers=headers) as reply:
        assert (reply.status, (await reply.json())["error"]) == (401, "invalid_token")
    async with site.http.get("/ws", headers=headers) as reply:
        assert reply.status == 401
    async with site.http.ws_connect("/ws") as socket:
        await socket.send_json({"type": "auth", "token": token})
        assert (await closed(socket))[0] == 4401
    async with site.http.post("/token/refresh", json={"refresh_token": token}) as reply:
        assert reply.status == 400
    entries = await site.audited(kind)
    assert len(entries) >= 3
    assert {entry.peer for entry in entries} == {"127.0.0.1"}
    assert token not in str(entries)
    assert ("server.token.forged" in site.alarms) == (kind == "token.forged")
    # And the true one still works.
    async with site.http.get("/api/v1/points", headers=await site.bearer()) as reply:
        assert reply.status == 200


async def test_a_token_of_this_key_is_what_the_forger_starts_from(site: Site, tmp_path: Path) -> None:
    forger = Forger(site, tmp_path, (await site.login())["access_token"])
    headers = {"Authorization": f"Bearer {forger.with_key()}"}
    async with site.http.get("/api/v1/points", headers=headers) as reply:
        assert reply.status == 200


async def test_brute_force_is_slowed_noted_and_raises_an_alarm(site: Site) -> None:
    judged = 0
    for at in range(300):
        async with site.http.post("/token", headers=basic("ana", f"guess number {at}")) as reply:
            judged += reply.status == 401
        site.monotonic.now_s += 1
    assert judged < 20  # in five minutes
    assert "server.refusals" in site.alarms
    assert site.alarms.count("server.refusals") == 1
    site.monotonic.now_s += 60
    await site.server.office.tick()
    refused, throttled = await site.audited("login.refused"), await site.audited("login.throttled")
    assert sum(entry.what.get("more", 1) for entry in refused) == judged
    assert sum(entry.what.get("more", 1) for entry in throttled) == 300 - judged
    assert len(refused) + len(throttled) < 100  # a flood does not fill the log
    assert "guess" not in str([*refused, *throttled])


@pytest.mark.parametrize("path", ["/token", "/token/refresh", "/token/revoke", "/setup"])
async def test_an_oversized_body_is_refused(site: Site, path: str) -> None:
    headers = basic("ana", PASSWORD)

    async def endless() -> Any:
        for _ in range(1000):
            yield b"x" * 65536

    for body in (b"x" * 20_000, endless()):
        try:
            async with site.http.post(path, data=body, headers=headers) as reply:
                assert reply.status == 413
        except OSError:  # it did not wait for the rest
            assert not isinstance(body, bytes)
    assert await site.audited("too_large")


async def raw(site: Site, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send the bytes as they are; whatever comes until the other side closes."""
    host, _, port = site.server.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for each in parts:
            writer.write(each)
            await writer.drain()
            await asyncio.sleep(pause_s)
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_who_says_nothing_or_little_is_closed(start: StartSite) -> None:
    site = await start(head_wait_s=0.5, body_wait_s=0.5)
    assert await raw(site) == b""
    drops = [b"GET /healthz HTTP/1.1\r\n", *(b"X-%d: 1\r\n" % at for at in range(20))]
    assert await raw(site, *drops, pause_s=0.1) == b""
    answer = await raw(site, b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert len(await site.audited("request.slow")) == 3
    assert site.server.office.watch


async def test_an_endless_head_is_refused(site: Site) -> None:
    answer = await raw(site, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400 ") or answer == b""
    (entry,) = await site.audited("request.malformed")
    assert entry.peer == "127.0.0.1"


async def test_what_is_no_http_is_refused_noted_and_not_worth_a_line(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        answer = await raw(site, noise + b"\r\n\r\n")
        assert b" 400 " in answer or answer == b""
    assert len(await site.audited("request.malformed")) == 3
    assert "aiohttp.server" not in {record.name for record in caplog.records}


async def test_a_peer_does_not_take_all_connections(start: StartSite) -> None:
    site = await start(connections_max=8)
    connections = [await asyncio.open_connection(*address(site)) for _ in range(12)]
    closed_now = 0
    for reader, _ in connections:
        try:
            async with asyncio.timeout(0.2):
                closed_now += await reader.read() == b""
        except TimeoutError:
            pass
    assert closed_now >= 4
    for _, writer in connections:
        writer.close()
    assert await site.audited("connection.refused")


def address(site: Site) -> tuple[str, int]:
    host, _, port = site.server.url.removeprefix("http://").rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1", "null", "file://"])
async def test_a_socket_from_another_origin_is_refused(site: Site, origin: str) -> None:
    headers = {**await site.bearer(), "Origin": origin}
    async with site.http.get("/ws", headers=headers) as reply:
        assert (reply.status, (await reply.json())["error"]) == (403, "forbidden_origin")
    (entry,) = await site.audited("forbidden_origin")
    assert entry.what["asked"] == "GET /ws"


async def test_nothing_is_shared_with_other_origins(site: Site) -> None:
    headers = {**await site.bearer(), "Origin": "http://evil.example"}
    async with site.http.get("/api/v1/points", headers=headers) as reply:
        assert not any(name.lower().startswith("access-control") for name in reply.headers)
    async with site.http.options("/api/v1/points", headers=headers) as reply:
        assert reply.status == 405


CLIMBS = [
    "/page/../../../identity.db",
    "/page/..%2f..%2fidentity.db",
    "/page/%2e%2e/%2e%2e/token-keys.json",
    "/..%5c..%5cidentity.db",
    "/page/app.js%00.css",
    "//etc/passwd",
    "/page/....//....//etc/passwd",
]


@pytest.mark.parametrize("path", CLIMBS)
async def test_no_path_leads_out(site: Site, path: str) -> None:
    answer = await raw(site, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer[:80]
    assert b"SQLite" not in answer
    if answer.startswith(b"HTTP/1.1 404 "):
        (entry,) = await site.audited("path.climbing")
        assert entry.what["asked"].startswith("GET /")
    else:
        assert await site.audited("request.malformed")


SQL = [
    "' OR '1'='1",
    "ana'--",
    "x'; DROP TABLE user; --",
    '" UNION SELECT password_hash FROM user --',
    "ana\x00",
]


@pytest.mark.parametrize("text", SQL)
async def test_sql_is_a_text_like_any_other(site: Site, tmp_path: Path, text: str) -> None:
    await site.server.users.add("root", PASSWORD, Role.ADMIN)
    pair = await site.login("root")
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    statuses = []
    for name in ("points", "from", "to", text):
        async with site.http.get("/api/v1/export.csv", params={name: text}, headers=headers) as reply:
            statuses.append(reply.status)
    for name in ("before", "from", "to", "limit", text):
        async with site.http.get("/api/v1/audit", params={name: text}, headers=headers) as reply:
            statuses.append(reply.status)
    assert set(statuses) == {400}
    for name in ("kind", "who"):
        async with site.http.get("/api/v1/audit", params={name: text}, headers=headers) as reply:
            assert (reply.status, (await reply.json())["entries"]) == (200, [])
    bodies: list[tuple[str, dict[str, str]]] = [
        ("/token/refresh", {"refresh_token": text}),
        ("/token/revoke", {"token": text}),
        ("/setup", {"code": text, "name": text, "password": text}),
        ("/api/v1/me/totp", {"password": text}),
        ("/api/v1/me/totp/confirm", {"totp": text}),
        ("/api/v1/me/password", {"password": text, "new_password": text}),
    ]
    for path, body in bodies:
        async with site.http.post(path, json=body, headers=headers) as reply:
            assert 400 <= reply.status < 500, path
    for given in ({"totp": text}, {"recovery_code": text}):
        async with site.http.post("/token", headers=basic(text, text), json=given) as reply:
            assert reply.status in (401, 429)
    async with site.http.get("/api/v1/points", headers={"Authorization": f"Bearer uak_{text!r}"}) as reply:
        assert reply.status == 401
    assert await site.audited("login.refused") or await site.audited("login.throttled")
    with sqlite3.connect(tmp_path / "identity.db") as db:
        assert db.execute("SELECT count(*) FROM user").fetchone() == (2,)
    db.close()


def filled(path: str, text: str) -> str:
    """`path` with `text` in the place of each of its parameters."""
    return re.sub(r"\{\w+\}", quote(text, safe=""), path)


@pytest.mark.parametrize("text", SQL)
async def test_sql_in_every_parameter_of_every_route(site: Site, tmp_path: Path, text: str) -> None:
    """As an admin, so that nothing stops it at the door; every parameter that the description has."""
    headers = {"Authorization": f"Bearer {(await admin(site)).token}"}
    async with site.http.get("/api/openapi.json") as reply:
        paths = (await reply.json())["paths"]
    tried = 0
    for path, methods in paths.items():
        for method, operation in methods.items():
            names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
            bodies = [{"json": {"name": text}}, {"json": text}] if "requestBody" in operation else [{}]
            asked = [({name: text}, bodies[0]) for name in names] + [({}, each) for each in bodies]
            for query, body in asked:
                if path.endswith(("/token", "/setup")) or (not query and "{" not in path and body == {}):
                    continue
                url = filled(path, text)
                async with site.http.request(method, url, params=query, headers=headers, **body) as reply:
                    assert reply.status < 500 or reply.status == 503, (method, url, query, await reply.text())
                    assert "sqlite" not in (await reply.text()).lower(), url
                tried += 1
    assert tried > 60
    with sqlite3.connect(tmp_path / "identity.db") as db:
        assert db.execute("SELECT count(*) FROM user").fetchone() == (1,)
    db.close()


async def test_a_password_typed_as_a_name_is_not_kept(site: Site, tmp_path: Path) -> None:
    async with site.http.post("/token", headers=basic("my secret password", "")):
        pass
    (entry,) = await site.audited("login.refused")
    assert entry.who == "my... of 18 (unknown user)"


async def test_no_route_but_the_known_ones_is_open(site: Site) -> None:
    """Walks all routes there are, so that a new one cannot be forgotten."""
    app = site.server.app
    guarded = set()
    for route in app.router.routes():
        path = route.resource.canonical if route.resource else ""
        some = path.replace("{", "").replace("}", "")
        async with site.http.request(route.method, some) as reply:
            if reply.status == 401 and route.method != "HEAD":
                assert (await reply.json())["error"] in ("token_required", "invalid_client", "invalid_token")
                guarded.add(path)
            elif path.startswith("/api/") and path not in ("/api/openapi.json", "/api/docs"):
                assert reply.status == 401, path
    assert "/api/v1/export.csv" in guarded
    assert len(guarded) >= 25
