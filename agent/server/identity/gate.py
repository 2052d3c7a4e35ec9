"""The gate: from what a request or a message brings to who it is and what he may do.

A route is registered as `gate.needs(Permission.X, handler)`; a handler finds who calls at
`request[CALLER]`. A WebSocket asks `check` when it is opened and `stands` whenever something changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from agent.server.audit.watch import EXPIRED, FORGED
from agent.server.identity.keys import PREFIX, is_key, key_id
from agent.server.identity.permissions import ALLOWED, ENROLMENT, Permission, Role
from agent.server.identity.standing import Standing
from agent.server.identity.tokens import Claims, TokenError, Tokens
from agent.server.replies import Refused

_BEARER = 'Bearer realm="uicps-agent"'
_KINDS = {"forged": FORGED, "expired": EXPIRED}


class Caller(NamedTuple):
    """Who calls. A machine with an API key has neither role nor session, and may have no expiry."""

    name: str
    role: Role | None
    permissions: frozenset[Permission]
    expires_s: int | None
    generation: int = 0
    session: str = ""
    key: str = ""

    @property
    def label(self) -> str:
        """As the audit log writes it."""
        return f"key:{self.name}" if self.key else self.name


CALLER = web.RequestKey("caller", Caller)


class Gate:
    """`clock` is Unix time in seconds."""

    def __init__(self, tokens: Tokens, standing: Standing, clock: Callable[[], float] = time.time) -> None:
        self._tokens, self._standing, self._clock = tokens, standing, clock

    def check(self, text: str) -> Caller:
        """Who brings the access token or API key `text`; TokenError if it opens nothing."""
        if text.startswith(PREFIX):
            return self._machine(text)
        claims = self._tokens.check(text, "access")
        user = self._standing.user(claims.user)
        if user is None or user.disabled or user.generation != claims.generation:
            raise TokenError("the user, his password or his role was changed since: log in again")
        if claims.session not in self._standing.sessions:
            raise TokenError("the session has ended: log in again")
        return _caller(claims)

    def stands(self, caller: Caller) -> bool:
        """Whether `caller`, once let in, may stay (his expiry apart)."""
        if caller.key:
            return caller.key in self._standing.keys
        user = self._standing.user(caller.name)
        unchanged = user is not None and not user.disabled and user.generation == caller.generation
        return unchanged and caller.session in self._standing.sessions

    def authorised(self, request: web.Request, permission: Permission) -> Caller:
        """Who calls; 401 if nobody good, 403 if he may not do this."""
        token = bearer(request)
        if token is None:
            text = 'expected "Authorization: Bearer <access token>": get one with POST /token'
            raise Refused(401, "token_required", text, {hdrs.WWW_AUTHENTICATE: _BEARER}, kind="token.missing")
        try:
            caller = self.check(token)
        except TokenError as error:
            raise refused_token(error) from None
        request[CALLER] = caller
        require(caller, permission)
        return caller

    def needs(self, permission: Permission, handler: Handler) -> Handler:
        """`handler`, for those who may do what `permission` names."""

        async def checked(request: web.Request) -> web.StreamResponse:
            self.authorised(request, permission)
            return await handler(request)

        return checked

    def roomy(self, bytes_max: int) -> Middleware:
        """A middleware, the outermost: who brings a good token may send bodies of `bytes_max`."""

        @web.middleware
        async def sized(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.body_exists and self._is_known(request):
                request = request.clone(client_max_size=bytes_max)
            return await handler(request)

        return sized

    def _is_known(self, request: web.Request) -> bool:
        try:
            return self.check(bearer(request) or "") is not None
        except (TokenError, Refused):
            return False

    def _machine(self, text: str) -> Caller:
        key = self._standing.keys.get(key_id(text) or "")
        if key is None:
            raise TokenError("the API key is not known or was revoked: have a new one made")
        if not is_key(text, key):
            raise TokenError("the API key is not valid: it is cut short or changed", "forged")
        if key.expires_s is not None and key.expires_s <= self._clock():
            raise TokenError("the API key has expired: have a new one made", "expired")
        return Caller(key.name, None, key.scopes, key.expires_s, key=key.id)


def _caller(claims: Claims) -> Caller:
    permissions = ENROLMENT if claims.enrolment else ALLOWED[claims.role]
    return Caller(claims.user, claims.role, permissions, claims.expires_s, claims.generation, claims.session)


def require(caller: Caller, permission: Permission) -> None:
    """403 unless `caller` may do what `permission` names."""
    if permission in caller.permissions:
        return
    if caller.permissions == ENROLMENT:
        text = "your role needs a second factor: set it up first, with POST /api/v1/me/totp"
        raise Refused(403, "totp_enrolment_required", text, kind="permission.refused")
    text = (
        f'expected the permission "{permission}"; {caller.label} has {", ".join(sorted(caller.permissions))}'
    )
    headers: dict[str, str] = {hdrs.WWW_AUTHENTICATE: f'{_BEARER}, error="insufficient_scope"'}
    raise Refused(403, "insufficient_scope", text, headers, kind="permission.refused")


def bearer(request: web.Request) -> str | None:
    """The token of the Authorization header, None if there is no such header."""
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise refused_token(TokenError('expected "Authorization: Bearer <access token>"'))
    return token.strip()


def refused_token(error: TokenError) -> Refused:
    """401 as RFC 6750 wants it."""
    headers: dict[str, str] = {hdrs.WWW_AUTHENTICATE: f'{_BEARER}, error="invalid_token"'}
    return Refused(401, "invalid_token", str(error), headers, kind=_KINDS.get(error.kind, "token.refused"))
