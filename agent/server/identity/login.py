"""Judging who someone says he is: name, password, and the second factor where he has one.

Rules.
1. Judging a password takes much memory and time by design, so passwords are judged one at a time and
   only a few may wait. Too many failures, of an account or from a peer, are answered 429 unjudged.
2. An answer never says which of name and password was wrong, nor takes longer for one of them.
3. Only a complete login forgives earlier failures; a right password without its code does not.
4. While the clock is not trusted a right code may look wrong: it is said, not counted, and whoever sits
   at the box itself (loopback, no proxy) gets in by his password.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import hdrs, web

from agent.server.audit import Audit
from agent.server.identity.permissions import Role
from agent.server.identity.second_factor import SecondFactors, Verdict
from agent.server.identity.standing import Standing
from agent.server.identity.throttle import Throttle, peer_key
from agent.server.identity.users import NAME_CHARS_MAX, User, Users
from agent.server.replies import Refused

log = logging.getLogger(__name__)

ACCOUNT_WAIT_S_MAX = 60.0
PEER_WAIT_S_MAX = 600.0
WAITING_MAX = 16

_BASIC: dict[str, str] = {hdrs.WWW_AUTHENTICATE: 'Basic realm="uicps-agent", charset="UTF-8"'}
_FORWARDED = (hdrs.FORWARDED, hdrs.X_FORWARDED_FOR, "Via", "X-Real-IP")


class Proof(NamedTuple):
    """What someone shows: the texts are "" where he shows nothing."""

    name: str
    password: str
    totp: str = ""
    recovery_code: str = ""


class Judge:
    """See the module. `clock` counts seconds; `certain` says whether the box's time is to be trusted."""

    def __init__(
        self,
        users: Users,
        factors: SecondFactors,
        standing: Standing,
        audit: Audit,
        totp_required: Sequence[Role] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        certain: Callable[[], bool] = lambda: True,
    ) -> None:
        self._users, self._factors, self._standing, self._audit = users, factors, standing, audit
        self._totp_required, self._certain = frozenset(totp_required), certain
        self._accounts = Throttle(ACCOUNT_WAIT_S_MAX, clock)
        self._peers = Throttle(PEER_WAIT_S_MAX, clock)
        self._judging = asyncio.Lock()
        self._waiting = 0

    def must_enrol(self, user: User) -> bool:
        """Whether all that `user` may do now is to set up the second factor that his role demands."""
        # Without a true time he could not: and who has his password could enrol in his place anyway.
        return user.role in self._totp_required and not user.second_factor and self._certain()

    async def judged(self, proof: Proof, request: web.Request) -> User:
        """The user who proves himself; Refused (401, 403, 429, 503) otherwise."""
        peer = peer_key(request.remote)
        account = self._account(proof.name)
        self.may_try(account, peer)
        if self._waiting >= WAITING_MAX:
            raise Refused(503, "busy", "too many logins at once: try again in a second", {"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._judging:
                self.may_try(account, peer)  # those before us may have failed
                user = await self._users.verify(proof.name, proof.password)
                if user is None or user.disabled:
                    why = "disabled" if user else "password" if self._known(proof.name) else "unknown user"
                    raise self._failed(
                        proof, peer, why, "invalid_client", "the name or the password is wrong"
                    )
                if user.second_factor:
                    await self._second(user, proof, request, peer)
        finally:
            self._waiting -= 1
        self._accounts.forgive(account)
        return user

    def may_try(self, account: str, peer: str) -> None:
        """429 if `account` or `peer` has to wait."""
        wait_s = math.ceil(max(self._accounts.wait_s(account), self._peers.wait_s(peer)))
        if wait_s:
            text = f"too many failed logins: try again in {wait_s} s"
            raise Refused(
                429, "too_many_attempts", text, {"Retry-After": str(wait_s)}, kind="login.throttled"
            )

    def peer_failed(self, peer: str) -> None:
        """Something else than a login was guessed wrong from `peer`."""
        self._peers.failed(peer)

    async def _second(self, user: User, proof: Proof, request: web.Request, peer: str) -> None:
        certain = self._certain()
        if proof.recovery_code:
            if not await self._factors.recover(user.name, proof.recovery_code):
                raise self._failed(proof, peer, "recovery code", "invalid_totp", "the recovery code is wrong")
            left = await self._factors.recovery_codes_left(user.name)
            self._audit.note("login.recovery_code", who=user.name, peer=request.remote, left=left)
            return
        verdict = Verdict.WRONG
        if proof.totp:
            verdict = await self._factors.judge(user.name, proof.totp, count=certain)
        if verdict is Verdict.GOOD:
            return
        if not certain and _local(request):
            self._audit.note("login.clock_waiver", who=user.name, peer=request.remote)
            return
        raise self._second_refused(proof, peer, verdict, certain)

    def _second_refused(self, proof: Proof, peer: str, verdict: Verdict, certain: bool) -> Refused:
        if not proof.totp:
            text = "the second factor is missing: send the code of your app as totp, or a recovery_code"
            return Refused(401, "totp_required", text, _BASIC, kind="login.totp_required", who=proof.name)
        if verdict is Verdict.LOCKED:
            text = "too many wrong codes: use a recovery_code, or have an admin run uicps-agent user unlock"
            return self._failed(proof, peer, "locked", "totp_locked", text)
        if verdict is Verdict.REPLAYED:
            text = "this code was used before: wait for the next one"
            return self._failed(proof, peer, "code replayed", "totp_replayed", text)
        if not certain:
            text = (
                "the clock of the agent is not synchronised, so a right code may look wrong: use a "
                "recovery_code, or log in at the box itself"
            )
            return self._failed(proof, peer, "code, clock not trusted", "clock_untrusted", text)
        return self._failed(proof, peer, "code", "invalid_totp", "the code is wrong or has passed")

    def _failed(self, proof: Proof, peer: str, why: str, error: str, text: str) -> Refused:
        self._accounts.failed(self._account(proof.name))
        self._peers.failed(peer)
        who = shown(proof.name, known=self._known(proof.name))
        log.info("login: refused %s from %s (%s)", who, peer, why)
        return Refused(401, error, text, _BASIC, kind="login.refused", who=f"{who} ({why})")

    def _known(self, name: str) -> bool:
        return self._standing.user(name) is not None

    def _account(self, name: str) -> str:
        """The key of its failures; unlocking a user gives him another one."""
        user = self._standing.user(name)
        return f"{name.lower()}#{user.unlocks if user else 0}"


def shown(name: str, *, known: bool) -> str:
    """`name` for a log: people type passwords where names belong, so an unknown one only by its start."""
    return name if known else f"{name[:2]}... of {len(name)}"


def basic(header: str) -> Proof:
    """Name and password of a Basic header; 401 if that is not what it is."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        text = "expected name and password as HTTP Basic"
        raise Refused(401, "invalid_client", text, _BASIC, kind="login.malformed")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        text = "the Basic header is not valid: expected base64 of UTF-8 name:password"
        raise Refused(401, "invalid_client", text, _BASIC, kind="login.malformed")
    return Proof(name[: NAME_CHARS_MAX + 1], password)


def _local(request: web.Request) -> bool:
    """Whether the peer sits at this box, and is no proxy that stands for someone else."""
    try:
        loopback = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
    return loopback and not any(name in request.headers for name in _FORWARDED)
