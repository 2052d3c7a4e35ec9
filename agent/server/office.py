"""Everything about who someone is and what he did, put together in one order of opening and closing."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler
from argon2 import PasswordHasher

from agent.server.audit import AUDIT_FILE, CLIMBING, Alarm, Audit, Watch
from agent.server.identity.account import Account, Setup
from agent.server.identity.gate import CALLER, Gate
from agent.server.identity.grants import Grants
from agent.server.identity.keys import Keys
from agent.server.identity.login import Judge
from agent.server.identity.second_factor import SecondFactors
from agent.server.identity.sessions import Sessions
from agent.server.identity.signing import signing_keys
from agent.server.identity.standing import Standing
from agent.server.identity.tokens import Tokens
from agent.server.identity.users import Users
from agent.server.options import ServerOptions
from agent.server.replies import Refused

IDENTITY_FILE = "identity.db"
KEY_FILE = "token-keys.json"
ISSUER = "UICPS"

# What a browser asks for by itself, and typing errors, are no attacks; climbing out of a folder is.
_UNREMARKABLE = frozenset({"not_found", "method_not_allowed"})
_CLIMBING = re.compile(r"\.\.|%2e|%2f|%5c|%00|\\|//", re.IGNORECASE)


class Office:
    """Entered before the server listens, left after it has closed."""

    def __init__(
        self,
        options: ServerOptions,
        folder: Path,
        alarm: Alarm,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        certain: Callable[[], bool] = lambda: True,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._options, self._folder, self._clock = options, folder, clock
        self._monotonic, self._certain = monotonic, certain
        self.users = Users(folder / IDENTITY_FILE, hasher=hasher, clock=clock)
        self.audit = Audit(
            folder / AUDIT_FILE,
            entries_max=options.audit_entries_max,
            days_max=options.audit_days_max,
            clock=clock,
            certain=certain,
        )
        self.watch = Watch(self.audit, alarm, monotonic)

    async def __aenter__(self) -> Self:
        """Open all files. OSError names the one that cannot be had."""
        options, clock = self._options, self._clock
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.users)
            await stack.enter_async_context(self.audit)
            stack.callback(self.watch.close)
            database, signing = self.users.database, self._folder / KEY_FILE
            tokens = Tokens(
                signing_keys(signing),
                timedelta(minutes=options.access_token_minutes),
                timedelta(days=options.refresh_token_days),
                clock,
            )
            self.keys, self.sessions = Keys(database, clock), Sessions(database, clock)
            self.factors = SecondFactors(database, f"{ISSUER} {socket.gethostname()}", clock)
            self.standing = Standing(self.users, self.sessions, self.keys, tokens, signing)
            await self.standing.refresh()
            self.gate = Gate(tokens, self.standing, clock)
            judge = Judge(
                self.users,
                self.factors,
                self.standing,
                self.audit,
                options.totp_required,
                clock=self._monotonic,
                certain=self._certain,
            )
            self.grants = Grants(judge, self.sessions, tokens, self.standing, self.audit)
            self.account = Account(
                self.users, self.factors, self.standing, judge=judge, grants=self.grants, audit=self.audit
            )
            self.setup = Setup(self.users, self.standing, judge, self.audit)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def tick(self) -> None:
        """To be called twice a second."""
        await self.standing.watch()
        self.watch.tick()

    def refused(self, request: web.Request, refusal: Refused) -> None:
        """File a refusal in the audit log."""
        path = request.rel_url.raw_path
        kind = refusal.kind
        if kind in _UNREMARKABLE:
            if not _CLIMBING.search(path):
                return
            kind = CLIMBING
        caller = request.get(CALLER)
        who = refusal.who or (caller.label if caller else "")
        asked = f"{request.method} {path}"
        self.watch.refused(kind, who=who, peer=request.remote, asked=asked[:256], why=refusal.text[:256])

    def shut_out(self, kind: str, peer: str) -> None:
        """File that a connection was not taken, or was ended."""
        self.watch.refused(kind, peer=peer)

    def audited(self, kind: str, handler: Handler) -> Handler:
        """`handler`, each call of which by someone let in is noted."""

        async def noted(request: web.Request) -> web.StreamResponse:
            asked = {name: request.query.getall(name) for name in request.query}
            self.audit.note(kind, who=request[CALLER].label, peer=request.remote, asked=asked)
            return await handler(request)

        return noted
