"""Access and refresh tokens: JWT, HS256, signed with a key that this agent made for itself.

Rules.
1. The algorithm is the server's choice; what a token says about it is not asked.
2. A token carries its kind: a refresh token opens nothing but its own renewal.
3. No error, log or answer ever repeats a token.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jwt
import orjson
from jwt.utils import base64url_decode, base64url_encode

from agent.server.private import create_once, read_private
from agent.server.users import Role, User

ALGORITHM = "HS256"
ISSUER = "uicps-agent"
AUDIENCE = "uicps-agent-lan"
KEY_BYTES = 32
TOKEN_CHARS_MAX = 4096

Kind = Literal["access", "refresh"]

_REQUIRED = ["iss", "aud", "sub", "role", "jti", "iat", "exp", "typ", "gen"]


class TokenError(Exception):
    """A token that opens nothing; the text says why and what to do, never what it was."""


class Claims(NamedTuple):
    """What a good token says. `generation` is that of the user's password then."""

    user: str
    role: Role
    token_id: str
    expires_s: int
    generation: int


class Pair(NamedTuple):
    """What a login gives."""

    access: str
    refresh: str
    expires_in_s: int


class SigningKey(NamedTuple):
    """A key and the name that tokens call it by."""

    name: str
    secret: bytes


def signing_key(file: Path) -> SigningKey:
    """The key in `file` (a JWK set), made on the first call. OSError if it is not to be had or trusted."""
    if not file.exists():
        fresh = {"kty": "oct", "alg": ALGORITHM, "kid": secrets.token_hex(8)}
        fresh["k"] = base64url_encode(secrets.token_bytes(KEY_BYTES)).decode()
        create_once(file, orjson.dumps({"keys": [fresh]}))
    try:
        key = orjson.loads(read_private(file))["keys"][0]
        name, secret = str(key["kid"]), base64url_decode(key["k"])
    except (ValueError, LookupError, TypeError) as error:
        raise OSError(f"{file}: expected a JWK set with one key; delete the file to get a new one") from error
    if len(secret) < KEY_BYTES:
        raise OSError(f"{file}: expected a key of {KEY_BYTES} bytes, found {len(secret)}")
    return SigningKey(name, secret)


class Tokens:
    """Issues and checks; keeps nothing. `clock` is Unix time in seconds."""

    def __init__(
        self,
        key: SigningKey,
        access: timedelta,
        refresh: timedelta,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key, self._clock = key, clock
        self._life_s: dict[Kind, int] = {
            "access": int(access.total_seconds()),
            "refresh": int(refresh.total_seconds()),
        }

    def issue(self, user: User) -> Pair:
        """A fresh pair for `user`."""
        return Pair(self._signed(user, "access"), self._signed(user, "refresh"), self._life_s["access"])

    def check(self, token: str, kind: Kind) -> Claims:
        """What `token` says, if it is ours, of this kind and still good; else TokenError."""
        said = self._verified(token)
        if said["typ"] != kind:
            raise TokenError(f"expected {_a(kind)} token, found {_a(str(said['typ']))} token")
        claims = Claims(said["sub"], Role(said["role"]), said["jti"], said["exp"], said["gen"])
        if claims.expires_s <= self._clock():
            raise TokenError(f"the {kind} token has expired: {_WAY_OUT[kind]}")
        return claims

    def _signed(self, user: User, kind: Kind) -> str:
        now_s = int(self._clock())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user.name,
            "role": user.role.value,
            "gen": user.generation,
            "jti": secrets.token_hex(16),
            "iat": now_s,
            "exp": now_s + self._life_s[kind],
            "typ": kind,
        }
        return jwt.encode(said, self._key.secret, ALGORITHM, headers={"kid": self._key.name})

    def _verified(self, token: str) -> Mapping[str, Any]:
        if len(token) > TOKEN_CHARS_MAX:
            raise TokenError(f"expected a token of at most {TOKEN_CHARS_MAX} characters, found {len(token)}")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("kid") != self._key.name:
                raise TokenError("the token was not signed by this agent's present key: log in again")
            return jwt.decode(
                token,
                self._key.secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # The times are judged by `check`, with the clock it was given.
                options={
                    "require": _REQUIRED,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        # A forged header may hold any JSON, of any shape and depth.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenError(
                "the token is not valid: it is cut short, changed, or not from this agent; log in again"
            ) from error


_WAY_OUT: Mapping[Kind, str] = {
    "access": "renew it with POST /token/refresh, or log in again",
    "refresh": "log in again with POST /token",
}


def _a(word: str) -> str:
    return f"an {word}" if word[:1] in "aeiou" else f"a {word}"
