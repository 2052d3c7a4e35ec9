"""The token routes: `POST /token`, `/token/refresh`, `/token/revoke`."""

from __future__ import annotations

from aiohttp import hdrs, web

from agent.server.audit import Audit
from agent.server.audit.watch import REPLAYED
from agent.server.identity.gate import refused_token
from agent.server.identity.login import Judge, basic
from agent.server.identity.sessions import Sessions
from agent.server.identity.standing import Standing
from agent.server.identity.tokens import Claims, Pair, TokenError, Tokens
from agent.server.identity.users import User
from agent.server.replies import Refused, json_body, json_reply


class Grants:
    """Handlers. Whatever they change is known to the whole server before they answer."""

    def __init__(
        self, judge: Judge, sessions: Sessions, tokens: Tokens, standing: Standing, audit: Audit
    ) -> None:
        self._judge, self._sessions, self._tokens = judge, sessions, tokens
        self._standing, self._audit = standing, audit

    async def token(self, request: web.Request) -> web.Response:
        """Name and password, and the second factor where there is one, for a pair of tokens."""
        proof = basic(request.headers.get(hdrs.AUTHORIZATION, ""))
        said = await json_body(request, "totp", "recovery_code")
        user = await self._judge.judged(proof._replace(**said), request)
        return await self.pair(user, request)

    async def refresh(self, request: web.Request) -> web.Response:
        """The newest refresh token of a session for a fresh pair; an older one ends the session."""
        said = await json_body(request, "refresh_token")
        if "refresh_token" not in said:
            raise Refused(400, "invalid_request", 'expected a JSON body {"refresh_token": "..."}')
        pair, enrolment = await self.renewed(said["refresh_token"])
        return _reply(pair, enrolment)

    async def renewed(self, token: str) -> tuple[Pair, bool]:
        """The successors of the refresh token `token`, and whether they are for enrolment only; Refused."""
        claims = self._claims(token)
        await self._standing.refresh()
        user = self._standing.user(claims.user)
        if user is None or user.disabled or user.generation != claims.generation:
            text = "the user, his password or his role was changed since: log in again with POST /token"
            raise Refused(400, "invalid_grant", text, kind="token.refused", who=claims.user)
        known = claims.session in self._standing.sessions
        life_s = self._tokens.refresh_life_s
        renewal = await self._sessions.renew(claims.session, claims.token_id, life_s)
        await self._standing.refresh()
        if renewal is None:
            text = (
                "this refresh token was used before: the session has ended, as it may be stolen; log in again"
                if known
                else "the session has ended: log in again with POST /token"
            )
            kind = REPLAYED if known else "token.refused"
            raise Refused(400, "invalid_grant", text, kind=kind, who=claims.user)
        enrolment = self._judge.must_enrol(user)
        return self._tokens.issue(user, renewal, enrolment=enrolment), enrolment

    async def revoke(self, request: web.Request) -> web.Response:
        """End the session of a token, access or refresh; 200 also if it had ended (RFC 7009)."""
        said = await json_body(request, "token", "token_type_hint")
        try:
            claims = self._any(said.get("token", ""))
        except TokenError as error:
            if error.kind != "expired":
                raise refused_token(error) from None
            return json_reply({})
        if await self._sessions.end(claims.session):
            await self._standing.refresh()
            self._audit.note("session.ended", who=claims.user, peer=request.remote, session=claims.session)
        return json_reply({})

    async def pair(self, user: User, request: web.Request, **more: object) -> web.Response:
        """A new session of `user`, who has just proved himself; `more` goes into the answer."""
        renewal = await self._sessions.begin(user.name, self._tokens.refresh_life_s)
        await self._standing.refresh()
        enrolment = self._judge.must_enrol(user)
        self._audit.note(
            "login",
            who=user.name,
            peer=request.remote,
            role=user.role,
            session=renewal.session,
            second_factor=user.second_factor,
        )
        pair = self._tokens.issue(user, renewal, enrolment=enrolment)
        return _reply(pair, enrolment, **more)

    def _claims(self, token: str) -> Claims:
        try:
            return self._tokens.check(token, "refresh")
        except TokenError as error:
            refused = refused_token(error)
            raise Refused(400, "invalid_grant", refused.text, kind=refused.kind) from None

    def _any(self, token: str) -> Claims:
        try:
            return self._tokens.check(token, "refresh")
        except TokenError as error:
            if error.kind == "forged":
                raise
            return self._tokens.check(token, "access")


def _reply(pair: Pair, enrolment: bool, **more: object) -> web.Response:
    body: dict[str, object] = {
        "access_token": pair.access,
        "refresh_token": pair.refresh,
        "token_type": "Bearer",
        "expires_in": pair.expires_in_s,
    }
    if enrolment:
        body["totp_enrolment_required"] = True
    return json_reply(body | more, headers={"Pragma": "no-cache"})
