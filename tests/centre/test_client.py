"""The REST client against a fake ThingsBoard on real sockets."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.centre import client as module
from agent.centre.client import Rest, RestError
from tests.centre.conftest import Waits, client
from tests.thingsboard_http.server import PASSWORD, USER, FakeThingsBoard

PROFILES = "/api/deviceProfileInfos"
ONE_PAGE = {"pageSize": 10, "page": 0}


async def test_logs_in_once_and_asks(fake: FakeThingsBoard, rest: Rest) -> None:
    answers = await asyncio.gather(*(rest.get(PROFILES, ONE_PAGE) for _ in range(5)))
    assert all(answer["totalElements"] == 1 for answer in answers)
    assert fake.logins == ["login"]


async def test_a_token_that_ran_out_is_refreshed_once_for_all(fake: FakeThingsBoard, rest: Rest) -> None:
    await rest.get(PROFILES, ONE_PAGE)
    fake.expire_tokens()
    await asyncio.gather(*(rest.get(PROFILES, ONE_PAGE) for _ in range(5)))
    assert fake.logins == ["login", "refresh"]


async def test_when_the_refresh_token_ran_out_too_the_password_serves(
    fake: FakeThingsBoard, rest: Rest
) -> None:
    await rest.get(PROFILES, ONE_PAGE)
    fake.expire_tokens()
    fake.expire_tokens("refresh")
    await rest.get(PROFILES, ONE_PAGE)
    assert fake.logins == ["login", "refresh", "login"]


async def test_a_wrong_password_is_said_once_without_it(fake: FakeThingsBoard) -> None:
    async with client(fake, password=lambda: "wr0ng") as rest:
        with pytest.raises(
            RestError, match=r"user tenant@thingsboard.org or the password is wrong"
        ) as caught:
            await rest.get(PROFILES)
    assert caught.value.status == 401
    assert "wr0ng" not in str(caught.value)
    assert fake.logins == ["login"]


async def test_an_account_with_a_second_factor_is_of_no_use(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.two_factors = True
    with pytest.raises(RestError, match="second factor"):
        await rest.get(PROFILES)


async def test_a_token_refused_for_good_ends(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.surprise(path=PROFILES, status=401, times=100)
    with pytest.raises(RestError) as caught:
        await rest.get(PROFILES, ONE_PAGE)
    assert caught.value.status == 401
    assert len(fake.logins) == 2


@pytest.mark.parametrize(
    "what", [{"status": 429}, {"status": 503}, {"status": 500, "plain": True}, {"cut": True}]
)
async def test_what_is_safe_to_ask_twice_is_asked_again_after_a_while(
    fake: FakeThingsBoard, what: dict[str, object]
) -> None:
    waits = Waits()
    fake.surprise(path=PROFILES, times=3, **what)
    async with client(fake, sleep=waits) as rest:
        assert (await rest.get(PROFILES, ONE_PAGE))["totalElements"] == 1
    assert len([path for _, path, _ in fake.requests if path == PROFILES]) == 4
    if "status" in what:  # aiohttp itself asks once more on a connection that was cut
        assert len(waits) == 3
        assert waits[0] < waits[2] <= 8.0


async def test_patience_ends(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.surprise(path=PROFILES, status=429, times=100, text="Too many requests for current tenant!")
    with pytest.raises(RestError, match=r"429: Too many requests for current tenant!"):
        await rest.get(PROFILES, ONE_PAGE)
    asked = [path for _, path, _ in fake.requests if path == PROFILES]
    assert len(asked) == module.ATTEMPTS_MAX


@pytest.mark.parametrize("what", [{"cut": True}, {"status": 504}])
async def test_a_post_that_makes_something_is_not_repeated_when_its_answer_is_lost(
    fake: FakeThingsBoard, rest: Rest, what: dict[str, Any]
) -> None:
    fake.surprise(path="/api/dashboard", after=True, **what)
    with pytest.raises(RestError):
        await rest.post("/api/dashboard", {"title": "once", "configuration": {}})
    assert len(fake.centre.of("DASHBOARD")) == 1


async def test_a_post_turned_away_by_a_rate_limit_is_repeated(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.surprise(path="/api/dashboard", status=429)
    await rest.post("/api/dashboard", {"title": "once", "configuration": {}})
    assert len(fake.centre.of("DASHBOARD")) == 1


async def test_silence_times_out(fake: FakeThingsBoard) -> None:
    fake.surprise(path=PROFILES, hang=True, times=100)
    async with client(fake, timeout_s=0.05) as rest:
        with pytest.raises(RestError, match=r"no answer: .*Timeout") as caught:
            await rest.get(PROFILES, ONE_PAGE)
    assert caught.value.status == 0


async def test_nobody_there() -> None:
    async with Rest("http://127.0.0.1:9", USER, lambda: PASSWORD, sleep=Waits()) as rest:
        with pytest.raises(RestError, match="POST /api/auth/login: no answer"):
            await rest.get(PROFILES)


async def test_errors_say_what_the_platform_said(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.surprise(path=PROFILES, status=400, plain=True, text="Invalid\x1b[31m JSON" + "x" * 1000)
    with pytest.raises(RestError, match=r"GET /api/deviceProfileInfos: 400: Invalid \[31m JSON") as caught:
        await rest.get(PROFILES, ONE_PAGE)
    assert len(str(caught.value)) < 300


async def test_nothing_where_there_is_nothing(rest: Rest) -> None:
    assert await rest.find("/api/tenant/devices", {"deviceName": "Sala 101 / é"}) is None
    await rest.delete("/api/dashboard/0a")


async def test_redirects_are_not_followed(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.surprise(path="/api/auth/login", status=302, times=100)
    with pytest.raises(RestError, match="302: it answers with another address"):
        await rest.get(PROFILES)
    assert len(fake.requests) == 1


async def test_a_page_that_is_no_thingsboard(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.surprise(path="/api/auth/login", status=200, plain=True, text="<html>")
    with pytest.raises(RestError, match="expected JSON: is rest_url"):
        await rest.get(PROFILES)


async def test_pages_are_gathered(fake: FakeThingsBoard, rest: Rest) -> None:
    for at in range(250):
        fake.centre.save("DEVICE_PROFILE", {"name": f"p{at}"})
    names = [each["name"] async for each in rest.pages(PROFILES)]
    assert len(names) == len(set(names)) == 251


async def test_an_answer_without_end_is_cut(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.answer_bytes_extra = module.ANSWER_BYTES_MAX
    device = fake.centre.save("DEVICE", {"name": "d"})["id"]["id"]
    path = f"/api/plugins/telemetry/DEVICE/{device}/values/timeseries"
    with pytest.raises(RestError, match="expected at most 33554432 bytes"):
        await rest.get(path, {"keys": "a", "startTs": 0, "endTs": 1})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem"
    )
    command += " -out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


async def test_https_with_an_authority_of_its_own(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    async with FakeThingsBoard.at(tls=tls) as fake:
        async with client(fake, ca_file=certificate / "cert.pem") as rest:
            assert (await rest.get(PROFILES, ONE_PAGE))["totalElements"] == 1
        waits = Waits()
        async with client(fake, sleep=waits) as rest:
            with pytest.raises(RestError, match="its certificate is not trusted"):
                await rest.get(PROFILES)
        assert not waits


async def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(OSError, match="expected certificates in PEM"):
        async with Rest("https://localhost", USER, lambda: PASSWORD, ca_file=tmp_path / "ca.pem"):
            pass
