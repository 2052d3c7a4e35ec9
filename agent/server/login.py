"""The token routes, and what a request with a token may do.

Rules. Judging a password takes much memory and time by design, so passwords are judged one at a time
and only a few may wait. Too many failures, of an account or from a peer, are answered 429 unjudged.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import orjson
from aiohttp import hdrs, web

from agent.server.replies import Refused, json_reply
from agent.server.throttle import Throttle, peer_key
from agent.server.tokens import Claims, TokenError, Tokens
from agent.server.users import NAME_CHARS_MAX, User, Users

log = logging.getLogger(__name__)

ACCOUNT_WAIT_S_MAX = 60.0
PEER_WAIT_S_MAX = 600.0
WAITING_MAX = 16

_BASIC: dict[str, str] = {hdrs.WWW_AUTHENTICATE: 'Basic realm="uicps-agent", charset="UTF-8"'}
_BEARER = 'Bearer realm="uicps-agent"'


class _Credentials(NamedTuple):
    name: str
    password: str


class Login:
    """`POST /token` and `POST /token/refresh`."""

    def __init__(self, users: Users, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._users, self._tokens = users, tokens
        self._accounts = Throttle(ACCOUNT_WAIT_S_MAX, clock)
        self._peers = Throttle(PEER_WAIT_S_MAX, clock)
        self._judging = asyncio.Lock()
        self._waiting = 0

    async def token(self, request: web.Request) -> web.Response:
        """Name and password for a pair of tokens."""
        given = _basic(request.headers.get(hdrs.AUTHORIZATION, ""))
        return self._pair(await self._judged(given, peer_key(request.remote)))

    async def refresh(self, request: web.Request) -> web.Response:
        """A refresh token for a fresh pair, while its user is there and has the same password."""
        token = _refresh_token(await request.read())
        try:
            claims = self._tokens.check(token, "refresh")
        except TokenError as error:
            raise Refused(400, "invalid_grant", str(error)) from None
        user = await self._users.find(claims.user)
        if user is None or user.generation != claims.generation:
            raise Refused(
                400, "invalid_grant", "the password was changed since: log in again with POST /token"
            )
        return self._pair(user)

    async def _judged(self, given: _Credentials, peer: str) -> User:
        account = given.name.lower()
        self._may_try(account, peer)
        if self._waiting >= WAITING_MAX:
            raise Refused(503, "busy", "too many logins at once: try again in a second", {"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._judging:
                self._may_try(account, peer)  # those before us may have failed
                user = await self._users.verify(*given)
        finally:
            self._waiting -= 1
        if user is None:
            self._accounts.failed(account)
            self._peers.failed(peer)
            log.info("login: refused %.64r from %s", given.name, peer)
            raise Refused(401, "invalid_client", "the name or the password is wrong", _BASIC)
        self._accounts.forgive(account)
        return user

    def _may_try(self, account: str, peer: str) -> None:
        wait_s = math.ceil(max(self._accounts.wait_s(account), self._peers.wait_s(peer)))
        if wait_s:
            text = f"too many failed logins: try again in {wait_s} s"
            raise Refused(429, "too_many_attempts", text, {"Retry-After": str(wait_s)})

    def _pair(self, user: User) -> web.Response:
        pair = self._tokens.issue(user)
        return json_reply(
            {
                "access_token": pair.access,
                "refresh_token": pair.refresh,
                "token_type": "Bearer",
                "expires_in": pair.expires_in_s,
            },
            headers={"Pragma": "no-cache"},
        )


def bearer(request: web.Request) -> str | None:
    """The token of the Authorization header, None if there is no such header."""
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise refused_token('expected "Authorization: Bearer <access token>"')
    return token.strip()


def authorised(request: web.Request, tokens: Tokens) -> Claims:
    """What the request's access token says; 401 if there is none that is good."""
    token = bearer(request)
    if token is None:
        text = 'expected "Authorization: Bearer <access token>": get one with POST /token'
        raise Refused(401, "token_required", text, {hdrs.WWW_AUTHENTICATE: _BEARER})
    try:
        return tokens.check(token, "access")
    except TokenError as error:
        raise refused_token(str(error)) from None


def refused_token(text: str) -> Refused:
    """401 as RFC 6750 wants it."""
    return Refused(401, "invalid_token", text, {hdrs.WWW_AUTHENTICATE: f'{_BEARER}, error="invalid_token"'})


def _basic(header: str) -> _Credentials:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Refused(401, "invalid_client", "expected name and password as HTTP Basic", _BASIC)
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        text = "the Basic header is not valid: expected base64 of UTF-8 name:password"
        raise Refused(401, "invalid_client", text, _BASIC)
    return _Credentials(name[: NAME_CHARS_MAX + 1], password)


def _refresh_token(body: bytes) -> str:
    try:
        token = orjson.loads(body)["refresh_token"]
    except (ValueError, LookupError, TypeError):
        token = None
    if not isinstance(token, str):
        raise Refused(400, "invalid_request", 'expected a JSON body {"refresh_token": "..."}')
    return token
