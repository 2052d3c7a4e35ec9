from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.server import Role, User
from agent.server.tokens import AUDIENCE, ISSUER, SigningKey, TokenError, Tokens, signing_key
from tests.server.conftest import Clock

KEY = SigningKey("kid", b"k" * 32)
ANA = User("ana", Role.ADMIN, 3)


def tokens(clock: Callable[[], float] | None = None, key: SigningKey = KEY) -> Tokens:
    return Tokens(key, timedelta(minutes=15), timedelta(days=7), clock or Clock())


def claims(**changed: Any) -> dict[str, Any]:
    now_s = int(Clock().now_s)
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ana",
        "role": "admin",
        "gen": 1,
        "jti": "1",
        "iat": now_s,
        "exp": now_s + 900,
        "typ": "access",
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(said: dict[str, Any], key: bytes = KEY.secret, algorithm: str = "HS256", kid: Any = "kid") -> str:
    return jwt.encode(said, key, algorithm, headers={"kid": kid} if kid is not None else None)


def part(data: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(data)).rstrip(b"=").decode()


def test_what_is_issued_is_good_for_its_kind_and_time() -> None:
    clock = Clock()
    maker = tokens(clock)
    pair = maker.issue(ANA)
    assert pair.expires_in_s == 900
    access, refresh = maker.check(pair.access, "access"), maker.check(pair.refresh, "refresh")
    assert (access.user, access.role, access.generation) == ("ana", Role.ADMIN, 3)
    assert access.token_id != refresh.token_id
    header = jwt.get_unverified_header(pair.access)
    assert (header["alg"], header["kid"]) == ("HS256", "kid")
    said = jwt.decode(pair.access, options={"verify_signature": False})
    assert said.keys() == {"iss", "aud", "sub", "role", "gen", "jti", "iat", "exp", "typ"}

    clock.now_s += 899
    assert maker.check(pair.access, "access").user == "ana"
    clock.now_s += 1
    with pytest.raises(TokenError, match="the access token has expired: renew it with POST /token/refresh"):
        maker.check(pair.access, "access")
    clock.now_s += 7 * 86400
    with pytest.raises(TokenError, match="the refresh token has expired: log in again"):
        maker.check(pair.refresh, "refresh")


def test_a_token_of_the_other_kind_opens_nothing() -> None:
    pair = tokens().issue(ANA)
    with pytest.raises(TokenError, match="expected an access token, found a refresh token"):
        tokens().check(pair.refresh, "access")
    with pytest.raises(TokenError, match="expected a refresh token, found an access token"):
        tokens().check(pair.access, "refresh")


GOOD = signed(claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "ção.ção.ção",
        GOOD[:-1],
        GOOD[: len(GOOD) // 2],
        GOOD + "x",
        f"{HEAD}.{BODY}",
        f"{HEAD}.{BODY}.",
        f"{HEAD}.{part(claims(sub='root'))}.{SIGNATURE}",
        f"{part({'alg': 'none', 'typ': 'JWT', 'kid': 'kid'})}.{BODY}.",
        f"{part({'alg': 'None', 'typ': 'JWT', 'kid': 'kid'})}.{BODY}.{SIGNATURE}",
        f"{part({'alg': ['HS256'], 'kid': 'kid'})}.{BODY}.{SIGNATURE}",
        f"{part([])}.{BODY}.{SIGNATURE}",
        f"{'W1tb' * 1000}.{BODY}.",
        signed(claims(), b"another key, as long as the first"),
        signed(claims(), KEY.secret * 2, "HS512"),
        signed(claims(), kid="other"),
        signed(claims(), kid=None),
        signed(claims(iss="elsewhere")),
        signed(claims(aud="elsewhere")),
        signed(claims(iss=None)),
        signed(claims(aud=None)),
        signed(claims(exp=None)),
        signed(claims(typ=None)),
        signed(claims(typ="refresh")),
        "x" * 5000,
    ],
)
def test_what_is_not_ours_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(TokenError) as refusal:
        tokens().check(token, "access")
    assert str(refusal.value)
    assert not token or token not in str(refusal.value) or len(token) < 2


def test_good_is_good() -> None:
    assert tokens().check(GOOD, "access").user == "ana"


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60), max_size=4).map(
    lambda parts: ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts)
))  # fmt: skip
def test_no_text_at_all_gets_further_than_a_refusal(token: str) -> None:
    with pytest.raises(TokenError):
        tokens().check(token, "access")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "token-keys.json"
    old = os.umask(0)
    try:
        key = signing_key(file)
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(key.secret) == 32
    assert signing_key(file) == key
    assert [each.name for each in tmp_path.iterdir()] == ["token-keys.json"]
    file.unlink()
    other = signing_key(file)
    assert other.name != key.name
    with pytest.raises(TokenError, match="present key: log in again"):
        tokens(key=other).check(tokens(key=key).issue(ANA).access, "access")


def test_a_key_that_others_may_have_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token-keys.json"
    signing_key(file)
    file.chmod(0o640)
    with pytest.raises(PermissionError, match="expected mode 0600, found 0640"):
        signing_key(file)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"keys":[]}', b"[]", b'{"keys":[{"kid":"1","k":"c2hvcnQ"}]}', b"\xff"]
)
def test_a_broken_key_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token-keys.json"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(OSError, match=r"token-keys\.json: expected"):
        signing_key(file)
