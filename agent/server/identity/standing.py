"""Who stands now: users, sessions and keys as the database has them, in memory.

A token says what was so when it was issued; this says what is so now, without waiting, so that every
request and every open WebSocket can be judged by it. `refresh` is called twice a second and after each
change of our own: `uicps-agent user disable` in another process ends sockets within that half second.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.server.identity.keys import ApiKey, Keys
from agent.server.identity.sessions import Sessions
from agent.server.identity.signing import signing_keys
from agent.server.identity.tokens import Tokens
from agent.server.identity.users import User, Users
from agent.supervise import Episode

log = logging.getLogger(__name__)


class Standing:
    """`users` are by name in small letters, `keys` by id."""

    def __init__(
        self, users: Users, sessions: Sessions, keys: Keys, tokens: Tokens, signing_file: Path
    ) -> None:
        self._users, self._sessions, self._keys = users, sessions, keys
        self._tokens, self._signing_file = tokens, signing_file
        self._looking = asyncio.Lock()
        self._version: tuple[object, ...] = ()
        self._listeners: list[Callable[[], None]] = []
        self._episode = Episode(log, "users")
        self.users: Mapping[str, User] = {}
        self.keys: Mapping[str, ApiKey] = {}
        self.sessions: frozenset[str] = frozenset()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change."""
        self._listeners.append(listener)

    def user(self, name: str) -> User | None:
        return self.users.get(name.lower())

    async def refresh(self) -> None:
        """See what has changed. sqlite3.Error, OSError if that cannot be seen."""
        async with self._looking:  # or an older look, finished later, would win
            version = (*await self._users.database.version(), _changed_ns(self._signing_file))
            if version == self._version:
                return
            users, keys, sessions = (
                await self._users.list(),
                await self._keys.list(),
                await self._sessions.open(),
            )
            self._tokens.keys = signing_keys(self._signing_file)
            self.users = {user.name.lower(): user for user in users}
            self.keys = {key.id: key for key in keys}
            self.sessions = sessions
            self._version = version
            for listener in self._listeners:
                listener()

    async def watch(self) -> None:
        """`refresh`, for a timer: while the disk fails, what was known last goes on."""
        try:
            await self.refresh()
            self._episode.ended()
        except (sqlite3.Error, OSError) as error:
            self._episode.failed(error)


def _changed_ns(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_ino
