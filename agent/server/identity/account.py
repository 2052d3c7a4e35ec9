"""What someone does about himself: the very first admin, one's own password and second factor."""

from __future__ import annotations

import hmac
import logging
import secrets

from aiohttp import web

from agent.server.audit import Audit
from agent.server.identity.gate import CALLER
from agent.server.identity.grants import Grants
from agent.server.identity.login import Judge, Proof
from agent.server.identity.permissions import Permission
from agent.server.identity.second_factor import SecondFactors
from agent.server.identity.standing import Standing
from agent.server.identity.throttle import peer_key
from agent.server.identity.users import User, UserError, Users
from agent.server.replies import Refused, json_body, json_reply

log = logging.getLogger(__name__)

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Setup:
    """`/setup`: while there is no user at all, whoever has read the log may make the first admin.

    The code is of this start only, lives in memory, and works once.
    """

    def __init__(self, users: Users, standing: Standing, judge: Judge, audit: Audit) -> None:
        self._users, self._standing, self._judge, self._audit = users, standing, judge, audit
        self.code = _fresh_code()

    @property
    def open(self) -> bool:
        return not self._standing.users

    async def state(self, request: web.Request) -> web.Response:
        """`GET /setup`: whether the first admin is still to be made."""
        return json_reply({"open": self.open})

    async def first_admin(self, request: web.Request) -> web.Response:
        """`POST /setup` with code, name and password."""
        said = await json_body(request, "code", "name", "password")
        peer = peer_key(request.remote)
        if not self.open:
            text = "there is a user already: log in, or have an admin add you"
            raise Refused(409, "setup_closed", text, kind="setup.refused")
        self._judge.may_try("", peer)
        given = said.get("code", "").replace(" ", "").replace("-", "").upper()
        if not hmac.compare_digest(given.encode(), self.code.replace("-", "").encode()):
            self._judge.peer_failed(peer)
            text = "the setup code is wrong: the log of the agent's start shows it"
            raise Refused(403, "invalid_code", text, kind="setup.refused")
        try:
            user = await self._users.add_first(said.get("name", ""), said.get("password", ""))
        except UserError as error:
            raise Refused(400, "invalid_request", str(error)) from None
        self.code = _fresh_code()  # nobody knows it: should all users go, the next start says its own
        await self._standing.refresh()
        self._audit.note(
            "user.added", who="setup", peer=request.remote, after={"name": user.name, "role": user.role}
        )
        return json_reply({"name": user.name, "role": user.role}, 201)


def _fresh_code() -> str:
    text = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    return f"{text[:4]}-{text[4:8]}-{text[8:]}"


class Account:
    """`/api/v1/me`. What changes how one logs in wants the password again: a token alone may be stolen."""

    def __init__(
        self,
        users: Users,
        factors: SecondFactors,
        standing: Standing,
        *,
        judge: Judge,
        grants: Grants,
        audit: Audit,
    ) -> None:
        self._users, self._factors, self._standing = users, factors, standing
        self._judge, self._grants, self._audit = judge, grants, audit

    async def me(self, request: web.Request) -> web.Response:
        caller = request[CALLER]
        user = self._user(request)
        return json_reply(
            {
                "name": user.name,
                "role": user.role,
                "permissions": sorted(caller.permissions),
                "second_factor": user.second_factor,
                "recovery_codes_left": await self._factors.recovery_codes_left(user.name),
                "totp_enrolment_required": Permission.READ not in caller.permissions,
            }
        )

    async def set_password(self, request: web.Request) -> web.Response:
        """A new password for the old one: every other session ends, this one gets a new pair."""
        said = await json_body(request, "password", "new_password", "totp", "recovery_code")
        new = said.pop("new_password", "")
        user = await self._proved(request, said)
        try:
            user = await self._users.set_password(user.name, new)
        except UserError as error:
            raise Refused(400, "invalid_request", str(error)) from None
        self._audit.note("user.password", who=user.name, peer=request.remote, user=user.name)
        return await self._grants.pair(user, request)

    async def begin_totp(self, request: web.Request) -> web.Response:
        """A secret for the authenticator app, also as a QR code; nothing is changed yet."""
        if self._user(request).second_factor:
            text = "there is a second factor already: remove it first, with DELETE /api/v1/me/totp"
            raise Refused(409, "totp_exists", text)
        user = await self._proved(request, await json_body(request, "password"))
        enrolment = self._factors.begin(user.name)
        return json_reply({"secret": enrolment.secret, "uri": enrolment.uri, "svg": enrolment.svg()})

    async def confirm_totp(self, request: web.Request) -> web.Response:
        """The first code of the app switches it on; the answer holds recovery codes and a new pair."""
        said = await json_body(request, "totp")
        user, peer = self._user(request), peer_key(request.remote)
        self._judge.may_try("", peer)
        codes = await self._factors.confirm(user.name, said.get("totp", ""))
        if codes is None:
            self._judge.peer_failed(peer)
            text = "the code is not of this secret and time: compare the agent's clock with the phone's"
            raise Refused(400, "invalid_totp", text, kind="totp.refused")
        await self._standing.refresh()
        self._audit.note("user.totp", who=user.name, peer=request.remote, user=user.name, after=True)
        return await self._grants.pair(await self._users.known(user.name), request, recovery_codes=codes)

    async def remove_totp(self, request: web.Request) -> web.Response:
        """No second factor any more, for the password and a code."""
        user = await self._proved(request, await json_body(request, "password", "totp", "recovery_code"))
        await self._factors.remove(user.name)
        await self._standing.refresh()
        self._audit.note("user.totp", who=user.name, peer=request.remote, user=user.name, after=False)
        return await self._grants.pair(await self._users.known(user.name), request)

    def _user(self, request: web.Request) -> User:
        user = self._standing.user(request[CALLER].name)
        if user is None:
            raise Refused(401, "invalid_token", "the user is not there any more")
        return user

    async def _proved(self, request: web.Request, said: dict[str, str]) -> User:
        proof = Proof(request[CALLER].name, said.get("password", ""))
        return await self._judge.judged(proof._replace(**said), request)
