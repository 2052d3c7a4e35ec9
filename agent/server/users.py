"""Who may log in: a name, a role, an argon2id hash.

Rules.
1. A password is never kept, logged or compared as text; it is hashed in a thread, in Unicode NFC
   ("ç" typed on two keyboards is one password).
2. An unknown name costs as much time as a wrong password.
3. A hash of older parameters is renewed when its owner logs in.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import re
import secrets
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import aiosqlite
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from agent.server.private import make_private
from agent.store.schema import migrate

log = logging.getLogger(__name__)

SCHEMA = "agent.server.schema"
NAME_CHARS_MAX = 64
PASSWORD_CHARS_MIN = 8
PASSWORD_BYTES_MAX = 256

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")


class Role(enum.StrEnum):
    """What a user may do, each including the one before: look; operate; administer."""

    VIEWER = "viewer"
    TECHNICIAN = "technician"
    ADMIN = "admin"


class User(NamedTuple):
    """`generation` grows with each new password."""

    name: str
    role: Role
    generation: int


class UserError(ValueError):
    """A user that cannot be so; the text says what was expected."""


class Users:
    """The users in `file`; entered to open it. sqlite3.Error when the disk fails later on."""

    def __init__(
        self,
        file: Path,
        *,
        hasher: PasswordHasher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file, self._clock = file, clock
        self._hasher = hasher or PasswordHasher()  # RFC 9106, second choice: 64 MiB, 3 passes

    async def __aenter__(self) -> Self:
        """Open or make the file. OSError if it cannot be, RuntimeError if a newer agent made it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        make_private(self._file)
        self._db = await aiosqlite.connect(self._file)
        try:
            await self._db.execute("PRAGMA journal_mode = WAL")
            await self._db.execute("PRAGMA synchronous = FULL")
            await migrate(self._db, SCHEMA)
            self._nobody = await asyncio.to_thread(self._hasher.hash, secrets.token_hex())
        except sqlite3.Error as error:
            await self._db.close()
            raise OSError(f"{self._file}: cannot be opened: {error}") from error
        except BaseException:
            await self._db.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._db.close()

    async def add(self, name: str, password: str, role: str = Role.VIEWER) -> User:
        """A new user. UserError says what is wrong with it."""
        user = User(_checked_name(name), _checked_role(role), 1)
        hashed = await self._hashed(password)
        row = (user.name, user.role, hashed, user.generation, int(self._clock() * 1000))
        try:
            await self._write("INSERT INTO user VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise UserError(
                f'user "{name}" exists already: choose another name, or set a password'
            ) from error
        return user

    async def set_password(self, name: str, password: str) -> User:
        """Change a password; what was issued under the old one cannot be renewed. UserError if unknown."""
        hashed = await self._hashed(password)
        await self._write(
            "UPDATE user SET password_hash = ?, generation = generation + 1 WHERE name = ?", (hashed, name)
        )
        user = await self.find(name)
        if user is None:
            known = ", ".join(user.name for user in await self.list()) or "none"
            raise UserError(f'user "{name}" is not known; known users: {known}')
        return user

    async def list(self) -> list[User]:
        """All users by name."""
        rows = await self._db.execute_fetchall("SELECT name, role, generation FROM user ORDER BY name")
        return [User(name, Role(role), generation) for name, role, generation in rows]

    async def find(self, name: str) -> User | None:
        """The user of that name (in any case), as it is now."""
        found = await self._find(name)
        return found[0] if found else None

    async def verify(self, name: str, password: str) -> User | None:
        """The user whose name and password these are, or None."""
        found = await self._find(name)
        user, hashed = found or (None, self._nobody)
        given = _normal(password)
        if len(given) > PASSWORD_BYTES_MAX:
            return None
        if not await asyncio.to_thread(self._matches, hashed, given) or user is None:
            return None
        if self._hasher.check_needs_rehash(hashed):
            await self._renew(user.name, hashed, given)
        return user

    async def _find(self, name: str) -> tuple[User, str] | None:
        rows = await self._db.execute_fetchall(
            "SELECT name, role, generation, password_hash FROM user WHERE name = ?", (name,)
        )
        for known, role, generation, hashed in rows:
            return User(known, Role(role), generation), hashed
        return None

    async def _write(self, sql: str, row: Sequence[object]) -> None:
        try:
            await self._db.execute(sql, row)
            await self._db.commit()
        except sqlite3.Error:
            await self._db.rollback()  # or the file stays locked for everyone
            raise

    def _matches(self, hashed: str, given: bytes) -> bool:
        try:
            return self._hasher.verify(hashed, given)
        except (VerificationError, InvalidHashError):
            return False

    async def _hashed(self, password: str) -> str:
        return await asyncio.to_thread(self._hasher.hash, _checked_password(password))

    async def _renew(self, name: str, old: str, given: bytes) -> None:
        hashed = await asyncio.to_thread(self._hasher.hash, given)
        try:
            await self._write(
                "UPDATE user SET password_hash = ? WHERE name = ? AND password_hash = ?", (hashed, name, old)
            )
        except sqlite3.Error as error:  # the login is good all the same; the next one tries again
            log.warning("users: cannot renew the hash of %s: %s", name, error)


def _normal(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _checked_name(name: str) -> str:
    if len(name) > NAME_CHARS_MAX or not _NAME.fullmatch(name):
        raise UserError(
            f"name: expected 1-{NAME_CHARS_MAX} letters, digits, '_', '.', '@' or '-', "
            f'starting with a letter or digit, found "{name[:NAME_CHARS_MAX]}"'
        )
    return name


def _checked_role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError as error:
        raise UserError(f'role: expected one of {", ".join(Role)}, found "{role}"') from error


def _checked_password(password: str) -> bytes:
    given = _normal(password)
    chars = len(given.decode("utf-8", "surrogatepass"))
    if chars < PASSWORD_CHARS_MIN or len(given) > PASSWORD_BYTES_MAX:
        raise UserError(
            f"password: expected at least {PASSWORD_CHARS_MIN} characters and at most {PASSWORD_BYTES_MAX} "
            f"bytes, found {chars} characters, {len(given)} bytes"
        )
    return given
