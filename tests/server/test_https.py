"""The server over TLS, as a browser on the LAN meets it."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import aiohttp
import pytest

from agent.client import Client
from agent.server import ServerOptions
from agent.tls import Certificates
from tests.server.conftest import PASSWORD, Site, StartSite, basic, meter
from tests.server.sockets import said, subscribe
from tests.server.test_attacks import address


@pytest.fixture
async def https(start: StartSite) -> Site:
    return await start(tls="on")


def trusting(folder: Path, **changed: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "tls" / "ca.pem")
    for name, value in changed.items():
        setattr(context, name, value)
    return context


async def test_who_trusts_the_authority_is_served_and_watches(https: Site, tmp_path: Path) -> None:
    https.clock.now_s = time.time()  # the client's clock is the real one
    await asyncio.to_thread(https.server._renew, https.server._certificates)
    context = trusting(tmp_path)
    assert https.server.url.startswith("https://127.0.0.1:")
    async with https.http.post("/token", headers=basic("ana", PASSWORD), ssl=context) as reply:
        token = (await reply.json())["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Origin": https.server.url}
    async with https.http.ws_connect("/ws", headers=headers, ssl=context) as socket:
        assert (await said(socket))["type"] == "welcome"
        await subscribe(socket)
        https.publish(meter(1))
        assert (await said(socket))["type"] == "readings"
    async with https.http.get("/ca.crt", ssl=context) as reply:
        assert (await reply.read()) == (tmp_path / "tls" / "ca.pem").read_bytes()


async def test_who_does_not_is_warned(https: Site) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await https.http.get("/healthz")
    with pytest.raises(ConnectionError, match=r"name the authority that signed .* with --ca-file"):
        await Client(https.server.url, "ana", PASSWORD).__aenter__()


async def test_old_tls_is_refused(https: Site) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:AES256-SHA:AES128-GCM-SHA256")  # no forward secrecy
    with pytest.raises(aiohttp.ClientConnectorError):
        await https.http.get("/healthz", ssl=context)


async def test_a_page_read_without_tls_opens_no_socket(https: Site) -> None:
    headers = {"Origin": https.server.url.replace("https:", "http:")}
    async with https.http.get("/ws", headers=headers, ssl=False) as reply:
        assert (reply.status, (await reply.json())["error"]) == (403, "forbidden_origin")


@pytest.mark.parametrize(
    ("request_bytes", "status", "location"),
    [
        (
            b"GET /page/app.js HTTP/1.1\r\nHost: box.local:8080\r\n\r\n",
            b"308",
            b"https://box.local:8080/page/app.js",
        ),
        (b'GET / HTTP/1.1\r\nHost: x"><script>\r\n\r\n', b"426", None),
        (b"POST /token HTTP/1.1\r\nHost: box\r\n\r\n", b"426", None),
        (b"GET //evil.example HTTP/1.1\r\nHost: box\r\n\r\n", b"308", b"https://box//evil.example"),
    ],
)
async def test_plain_http_is_shown_the_way(
    https: Site, request_bytes: bytes, status: bytes, location: bytes | None
) -> None:
    reader, writer = await asyncio.open_connection(*_https_address(https))
    writer.write(request_bytes)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"Location: %b\r\n" % location if location else b"Location") in answer if location else True
    assert b"script" not in answer


def _https_address(site: Site) -> tuple[str, int]:
    host, port = address(site)
    return host.removeprefix("https://"), port


async def test_half_a_handshake_and_noise_disturb_nobody(https: Site, tmp_path: Path) -> None:
    opened = [await asyncio.open_connection(*_https_address(https)) for _ in range(5)]
    for _, writer in opened:
        writer.write(b"\x16\x03\x01")
    reader, writer = await asyncio.open_connection(*_https_address(https))
    writer.write(b"\x00\xff\x00nonsense")
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    async with https.http.get("/healthz", ssl=False) as reply:
        assert reply.status == 200
    for _, each in opened:
        each.close()


async def test_an_own_certificate_is_used(start: StartSite, tmp_path: Path) -> None:
    own = Certificates(tmp_path / "own", lambda: ["localhost", "127.0.0.1"])
    own.open()
    site = await start(
        tls="on", tls_cert_file=tmp_path / "own" / "server.pem", tls_key_file=tmp_path / "own" / "server.key"
    )
    context = ssl.create_default_context(cafile=tmp_path / "own" / "ca.pem")
    async with site.http.get("/healthz", ssl=context) as reply:
        assert reply.status == 200
    async with site.http.get("/ca.crt", ssl=context) as reply:
        assert reply.status == 404
    assert not (tmp_path / "tls").exists()


@pytest.mark.parametrize(
    ("host", "tls", "https"),
    [
        ("127.0.0.1", "auto", False),
        ("::1", "auto", False),
        ("localhost", "auto", False),
        ("0.0.0.0", "auto", True),
        ("192.168.0.7", "auto", True),
        ("box.local", "auto", True),
        ("0.0.0.0", "off", False),
        ("127.0.0.1", "on", True),
    ],
)
def test_plain_http_is_for_this_box_only_unless_the_config_insists(host: str, tls: str, https: bool) -> None:
    assert ServerOptions.model_validate({"host": host, "tls": tls}).https is https
