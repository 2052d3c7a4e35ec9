"""Logins that may be renewed: one row each, and in it the only refresh token that is good.

Rules. A refresh token works once: renewing puts a new one in its place. One that is shown a second time
was copied, by whom nobody can tell: the whole session ends, for the thief and the owner alike.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from agent.database import Database

SESSIONS_PER_USER_MAX = 256  # the one not used for longest ends


class Renewal(NamedTuple):
    """The name of a session, and of the refresh token that is good for it now."""

    session: str
    token_id: str


class Sessions:
    """See the module. `clock` is Unix time in seconds; times written are its."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    async def begin(self, user: str, life_s: int) -> Renewal:
        """A new session of `user`."""
        now_s = self._clock()
        fresh = Renewal(secrets.token_hex(12), secrets.token_hex(16))
        now_ms = int(now_s * 1000)
        row = (fresh.session, user, fresh.token_id, now_ms, now_ms, int(now_s) + life_s)
        await self._database.write(
            ("DELETE FROM session WHERE expires_s <= ?", (int(now_s),)),
            ("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)", row),
            (
                "DELETE FROM session WHERE user = ? AND id NOT IN "
                "(SELECT id FROM session WHERE user = ? ORDER BY used_ms DESC LIMIT ?)",
                (user, user, SESSIONS_PER_USER_MAX),
            ),
        )
        return fresh

    async def renew(self, session: str, token_id: str, life_s: int) -> Renewal | None:
        """The successor of the refresh token `token_id`; None if it was not the newest: all is over then."""
        fresh = Renewal(session, secrets.token_hex(16))
        now_s = self._clock()
        (renewed,) = await self._database.write(
            (
                "UPDATE session SET token_id = ?, used_ms = ?, expires_s = ? WHERE id = ? AND token_id = ?",
                (fresh.token_id, int(now_s * 1000), int(now_s) + life_s, session, token_id),
            )
        )
        if renewed:
            return fresh
        await self.end(session)
        return None

    async def end(self, session: str) -> bool:
        """End one session; whether there was one."""
        (ended,) = await self._database.write(("DELETE FROM session WHERE id = ?", (session,)))
        return ended > 0

    async def end_all(self, user: str) -> int:
        """End every session of `user`; how many."""
        (ended,) = await self._database.write(("DELETE FROM session WHERE user = ?", (user,)))
        return ended

    async def open(self) -> frozenset[str]:
        """The sessions there are."""
        rows = await self._database.rows("SELECT id FROM session")
        return frozenset(session for (session,) in rows)
