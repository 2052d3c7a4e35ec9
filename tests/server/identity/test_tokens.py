from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.server import Role, User
from agent.server.identity.sessions import Renewal
from agent.server.identity.signing import SigningKey, SigningKeys
from agent.server.identity.tokens import AUDIENCE, ISSUER, TokenError, Tokens
from tests.server.conftest import Clock

KEY = SigningKey("kid", b"k" * 32)
ANA = User("ana", Role.ADMIN, 3)
SEAT = Renewal("session", "refresh id")


def tokens(clock: Callable[[], float] | None = None, keys: SigningKeys = (KEY,)) -> Tokens:
    return Tokens(keys, timedelta(minutes=15), timedelta(days=7), clock or Clock())


def claims(**changed: Any) -> dict[str, Any]:
    now_s = int(Clock().now_s)
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ana",
        "role": "admin",
        "gen": 1,
        "sid": "s",
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
    pair = maker.issue(ANA, SEAT)
    assert pair.expires_in_s == 900
    access, refresh = maker.check(pair.access, "access"), maker.check(pair.refresh, "refresh")
    assert (access.user, access.role, access.generation) == ("ana", Role.ADMIN, 3)
    assert (refresh.session, refresh.token_id) == SEAT
    assert access.token_id != refresh.token_id
    header = jwt.get_unverified_header(pair.access)
    assert (header["alg"], header["kid"]) == ("HS256", "kid")
    said = jwt.decode(pair.access, options={"verify_signature": False})
    assert said.keys() == {"iss", "aud", "sub", "role", "gen", "sid", "jti", "iat", "exp", "typ"}

    clock.now_s += 899
    assert maker.check(pair.access, "access").user == "ana"
    clock.now_s += 1
    with pytest.raises(TokenError, match="the access token has expired: renew it with POST /token/refresh"):
        maker.check(pair.access, "access")
    clock.now_s += 7 * 86400
    with pytest.raises(TokenError, match="the refresh token has expired: log in again"):
        maker.check(pair.refresh, "refresh")


def test_a_token_of_the_other_kind_opens_nothing() -> None:
    pair = tokens().issue(ANA, SEAT)
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
        signed(claims(exp="x")),
        signed(claims(sid=None)),
        signed(claims(iat=int(Clock().now_s) + 61)),
        signed(claims(nbf=int(Clock().now_s) + 61)),
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


def test_an_old_key_is_good_until_its_end() -> None:
    clock = Clock()
    old = tokens(clock).issue(ANA, SEAT)
    fresh = SigningKey("fresh", b"f" * 32)
    both = tokens(clock, (fresh, KEY._replace(until_s=int(clock.now_s) + 60)))
    assert jwt.get_unverified_header(both.issue(ANA, SEAT).access)["kid"] == "fresh"
    assert both.check(old.access, "access").user == "ana"
    clock.now_s += 60
    with pytest.raises(TokenError, match="present key of this agent: log in again"):
        both.check(old.access, "access")


def test_only_what_nobody_signed_is_a_forgery() -> None:
    clock = Clock()
    pair = tokens(clock).issue(ANA, SEAT)
    for token, kind in (
        (pair.access[:-7] + "x", "forged"),
        (pair.refresh, "refused"),
        (signed(claims(), kid="other"), "refused"),
    ):
        with pytest.raises(TokenError) as refusal:
            tokens(clock).check(token, "access")
        assert refusal.value.kind == kind
    clock.now_s += 900
    with pytest.raises(TokenError) as refusal:
        tokens(clock).check(pair.access, "access")
    assert refusal.value.kind == "expired"


def test_a_pair_for_enrolment_says_so() -> None:
    pair = tokens().issue(ANA, SEAT, enrolment=True)
    assert tokens().check(pair.access, "access").enrolment
    assert not tokens().check(tokens().issue(ANA, SEAT).access, "access").enrolment
