"""Webhooks on a real HTTP server."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.alarms.outlets import WebhookOptions
from agent.alarms.outlets.webhook import Webhook, signature, webhook_secret
from agent.schema import FaultyFile, validate
from tests.alarms.outlets.box import following, writing
from tests.alarms.site import START_MS, alarm
from tests.conftest import until

SECRET = "0f" * 32


class Receiver:
    """Answers `statuses` one after the other, then 200; keeps what it was sent."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
async def receiver(free_port: Callable[[], int]) -> AsyncIterator[tuple[Receiver, str]]:
    receiver, port = Receiver(), free_port()
    app = web.Application()
    app.router.add_post("/{any:.*}", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield receiver, f"http://127.0.0.1:{port}/hook/T0KEN"
    await runner.cleanup()


def options(folder: Path, url: str) -> WebhookOptions:
    file = folder / "secret"
    file.write_text(SECRET + "\n")
    return WebhookOptions(name="hook", kind="webhook", url=url, secret_file=file)


async def test_an_event_arrives_signed(tmp_path: Path, receiver: tuple[Receiver, str]) -> None:
    server, url = receiver
    hook = options(tmp_path, url)
    outlet = Webhook(hook, "acme", now_s=lambda: 1_767_000_000.9)
    async with writing(tmp_path) as alarms, following(alarms, hook, outlet):
        alarms.raise_alarm(alarm(), value=231.5, detail="fase A")
        await until(lambda: server.got)
    ((headers, body),) = server.got
    stamp, digest = headers["X-UICPS-Signature"].split(",v1=")
    assert stamp == "t=1767000000"
    expected = hmac.new(SECRET.encode(), b"1767000000." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(digest, expected)
    assert headers["X-UICPS-Event"] == "acme-1"
    (said,) = server.said()
    assert said["site"] == "acme"
    assert said["event"]["change"] == "raised"
    assert said["event"]["time_ms"] == START_MS
    assert said["event"]["alarm"]["value"] == 231.5
    assert said["event"]["alarm"]["text"] == {"pt-BR": "pt a", "en": "en a"}


@pytest.mark.parametrize("status", [500, 503, 429, 401, 404, 302])
async def test_what_is_not_taken_comes_again_in_order(
    tmp_path: Path, receiver: tuple[Receiver, str], status: int
) -> None:
    server, url = receiver
    hook = options(tmp_path, url)
    server.statuses = [200, status, status]
    async with writing(tmp_path) as alarms, following(alarms, hook, Webhook(hook, "acme")):
        for name in ("a", "b", "c"):
            alarms.raise_alarm(alarm(name))
        await until(lambda: server.said()[-1:] and server.said()[-1]["event"]["alarm"]["id"] == "c")
    order = list(dict.fromkeys(each["event"]["alarm"]["id"] for each in server.said()))
    assert order == ["a", "b", "c"]


async def test_what_is_refused_for_good_is_passed_over(
    tmp_path: Path, receiver: tuple[Receiver, str], caplog: pytest.LogCaptureFixture
) -> None:
    server, url = receiver
    hook = options(tmp_path, url)
    server.statuses = [422]
    async with writing(tmp_path) as alarms, following(alarms, hook, Webhook(hook, "acme")):
        alarms.raise_alarm(alarm("a"))
        alarms.raise_alarm(alarm("b"))
        await until(lambda: len(server.got) == 2)
    assert [each["event"]["alarm"]["id"] for each in server.said()] == ["a", "b"]
    assert "refuses event 1 for good: 422" in caplog.text


async def test_while_nobody_listens_events_wait_and_no_secret_is_logged(
    tmp_path: Path, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port()
    hook = options(tmp_path, f"http://127.0.0.1:{port}/hook/T0KEN")
    receiver = Receiver()
    async with writing(tmp_path) as alarms, following(alarms, hook, Webhook(hook, "acme")) as follower:
        alarms.raise_alarm(alarm())
        await until(lambda: follower.episode.failures > 1)
        app = web.Application()
        app.router.add_post("/{any:.*}", receiver.take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await until(lambda: receiver.got)
        await runner.cleanup()
    assert "Connect call failed" in caplog.text or "refused" in caplog.text
    assert "T0KEN" not in caplog.text.replace("POST /hook/T0KEN", "")  # the test server's own access log
    assert SECRET not in caplog.text


async def test_a_secret_file_that_is_gone_is_said_and_tried_again(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    server, url = receiver
    hook = options(tmp_path, url)
    hook.secret_file.unlink()
    async with writing(tmp_path) as alarms, following(alarms, hook, Webhook(hook, "acme")) as follower:
        alarms.raise_alarm(alarm())
        await until(lambda: follower.episode.failures)
        hook.secret_file.write_text(SECRET)
        await until(lambda: server.got)


def test_a_short_secret_is_refused_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2\n")
    with pytest.raises(OSError, match="at least 16 characters") as error:
        webhook_secret(file)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "https://", "https://ana:pw@x/", "hook", "http://x:0/", "http://[x/"]
)
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    table = {"name": "h", "kind": "webhook", "url": url, "secret_file": tmp_path}
    with pytest.raises(FaultyFile, match="expected an address like https"):
        validate(WebhookOptions, table, "c.toml")


def test_the_check_in_the_documentation_tells_ours_from_others() -> None:
    page = (Path(__file__).parents[3] / "docs" / "alarms.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    found: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib}
    exec(code, found)
    is_ours = found["is_ours"]
    header = signature(SECRET.encode(), b"{}", 1000)
    assert is_ours(SECRET.encode(), header, b"{}", 1100.0)
    assert not is_ours(SECRET.encode(), header, b"{} ", 1100.0)
    assert not is_ours(b"other", header, b"{}", 1100.0)
    assert not is_ours(SECRET.encode(), header, b"{}", 1400.0)
