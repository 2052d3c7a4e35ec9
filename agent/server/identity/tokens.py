"""Access and refresh tokens: JWT, HS256, signed with keys that this agent made for itself.

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
from typing import Any, Literal, NamedTuple

from agent.server.identity.permissions import Role
from agent.server.identity.plain_jwt import jwt
from agent.server.identity.sessions import Renewal
from agent.server.identity.signing import ALGORITHM, SigningKey, SigningKeys
from agent.server.identity.users import User

ISSUER = "uicps-agent"
AUDIENCE = "uicps-agent-lan"
SKEW_S_MAX = 60  # our own clock, set back a little by NTP
TOKEN_CHARS_MAX = 4096

Kind = Literal["access", "refresh"]

_REQUIRED = ["iss", "aud", "sub", "role", "jti", "iat", "exp", "typ", "gen", "sid"]


class TokenError(Exception):
    """A token that opens nothing; the text says why and what to do, never what it was.

    `kind`: "forged" if no agent can have signed it so, "expired", or "refused".
    """

    def __init__(self, text: str, kind: str = "refused") -> None:
        super().__init__(text)
        self.kind = kind


class Claims(NamedTuple):
    """What a good token says. `generation` is the user's at that time."""

    user: str
    role: Role
    token_id: str
    expires_s: int
    generation: int
    session: str
    enrolment: bool = False


class Pair(NamedTuple):
    """What a login gives."""

    access: str
    refresh: str
    expires_in_s: int


class Tokens:
    """Issues and checks; keeps nothing but the keys. `clock` is Unix time in seconds."""

    def __init__(
        self,
        keys: SigningKeys,
        access: timedelta,
        refresh: timedelta,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys, self._clock = keys, clock
        self._life_s: dict[Kind, int] = {
            "access": int(access.total_seconds()),
            "refresh": int(refresh.total_seconds()),
        }

    @property
    def refresh_life_s(self) -> int:
        return self._life_s["refresh"]

    def issue(self, user: User, renewal: Renewal, *, enrolment: bool = False) -> Pair:
        """A fresh pair for `user`. `enrolment`: it opens nothing but the setting up of a second factor."""
        return Pair(
            self._signed(user, "access", renewal.session, secrets.token_hex(16), enrolment),
            self._signed(user, "refresh", renewal.session, renewal.token_id, enrolment),
            self._life_s["access"],
        )

    def check(self, token: str, kind: Kind) -> Claims:
        """What `token` says, if it is ours, of this kind and good now; else TokenError."""
        said = self._verified(token)
        if said["typ"] != kind:
            raise TokenError(f"expected {_a(kind)} token, found {_a(str(said['typ']))} token")
        claims = Claims(
            *(said["sub"], Role(said["role"]), said["jti"], said["exp"], said["gen"], said["sid"]),
            said.get("enrol") is True,
        )
        now_s = self._clock()
        if claims.expires_s <= now_s:
            raise TokenError(f"the {kind} token has expired: {_WAY_OUT[kind]}", "expired")
        if max(said["iat"], said["nbf"]) > now_s + SKEW_S_MAX:
            # Ours, so the clock was set back since: it would be good for far too long.
            raise TokenError(f"the {kind} token is from the future, by this agent's clock: log in again")
        return claims

    def _signed(self, user: User, kind: Kind, session: str, token_id: str, enrolment: bool) -> str:
        now_s = int(self._clock())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user.name,
            "role": user.role.value,
            "gen": user.generation,
            "sid": session,
            "jti": token_id,
            "iat": now_s,
            "exp": now_s + self._life_s[kind],
            "typ": kind,
        }
        if enrolment:
            said["enrol"] = True
        key = self.keys[0]
        return jwt.encode(said, key.secret, ALGORITHM, headers={"kid": key.name})

    def _key(self, name: object) -> SigningKey:
        now_s = self._clock()
        for key in self.keys:
            if key.name == name and (key.until_s is None or key.until_s > now_s):
                return key
        raise TokenError("the token was not signed by a present key of this agent: log in again")

    def _verified(self, token: str) -> Mapping[str, Any]:
        if len(token) > TOKEN_CHARS_MAX:
            raise TokenError(f"expected a token of at most {TOKEN_CHARS_MAX} characters, found {len(token)}")
        try:
            header = jwt.get_unverified_header(token)
            said = jwt.decode(
                token,
                self._key(header.get("kid")).secret,
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
            times = [int(said.get(name, 0)) for name in ("exp", "iat", "nbf")]
        # A forged header may hold any JSON, of any shape and depth.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenError(
                "the token is not valid: it is cut short, changed, or not from this agent; log in again",
                "forged",
            ) from error
        return said | dict(zip(("exp", "iat", "nbf"), times, strict=True))


_WAY_OUT: Mapping[Kind, str] = {
    "access": "renew it with POST /token/refresh, or log in again",
    "refresh": "log in again with POST /token",
}


def _a(word: str) -> str:
    return f"an {word}" if word[:1] in "aeiou" else f"a {word}"
