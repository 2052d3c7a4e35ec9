"""Who may log in: a name, a role, an argon2id hash.

Rules.
1. A password is never kept, logged or compared as text; it is hashed in a thread, in Unicode NFC
   ("ç" typed on two keyboards is one password).
2. An unknown name costs as much time as a wrong password.
3. A hash of older parameters is renewed when its owner logs in.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from agent.database import Database, Statement
from agent.schema import ImpossibleError
from agent.server.identity.permissions import Role

log = logging.getLogger(__name__)

NAME_CHARS_MAX = 64
PASSWORD_CHARS_MIN = 8
PASSWORD_BYTES_MAX = 256
USERS_MAX = 500
SCHEMA = "agent.server.identity.schema"
HASHING_MAX = 1  # at a time: each takes 64 MiB for a moment

_COLUMNS = "name, role, generation, disabled, totp_secret IS NOT NULL, totp_failures, unlocks"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")


class User(NamedTuple):
    """`generation` grows with whatever must end his sessions: password, role, factor, being disabled."""

    name: str
    role: Role
    generation: int
    disabled: bool = False
    second_factor: bool = False
    totp_failures: int = 0  # wrong codes beside the right password, since the last right one
    unlocks: int = 0  # grows when someone unlocks him


class UserError(ImpossibleError):
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
        self._hashing = asyncio.Semaphore(HASHING_MAX)
        self.database = Database(file, SCHEMA, erase=True)

    async def __aenter__(self) -> Self:
        """Open or make the file. OSError if it cannot be, RuntimeError if a newer agent made it."""
        await self.database.__aenter__()
        self._nobody = await asyncio.to_thread(self._hasher.hash, secrets.token_hex())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.database.__aexit__(kind, error, trace)

    async def add(self, name: str, password: str, role: str = Role.VIEWER) -> User:
        """A new user. UserError says what is wrong with it."""
        if len(await self.list()) >= USERS_MAX:
            raise UserError(
                f"expected at most {USERS_MAX} users: there is no room for {name[:NAME_CHARS_MAX]}"
            )
        statement = await self._insertion(name, password, role, "VALUES (?, ?, ?, 1, ?)")
        try:
            await self.database.write(statement)
        except sqlite3.IntegrityError as error:
            raise UserError(
                f'user "{name}" exists already: choose another name, or set a password'
            ) from error
        return User(name, Role(role), 1)

    async def add_first(self, name: str, password: str) -> User:
        """The first admin. UserError if there is any user already: of two at once one wins."""
        alone = "SELECT ?, ?, ?, 1, ? WHERE NOT EXISTS (SELECT 1 FROM user)"
        (added,) = await self.database.write(await self._insertion(name, password, Role.ADMIN, alone))
        if not added:
            raise UserError("there is a user already: log in, or have an admin add you")
        return User(name, Role.ADMIN, 1)

    async def set_password(self, name: str, password: str) -> User:
        """Change a password; what was issued under the old one is over. UserError if unknown."""
        hashed = await self._hashed(password)
        return await self._change(name, "password_hash = ?, generation = generation + 1", hashed)

    async def set_role(self, name: str, role: str) -> User:
        """Change a role; what was issued under the old one is over. UserError if unknown."""
        return await self._change(name, "role = ?, generation = generation + 1", _checked_role(role).value)

    async def set_disabled(self, name: str, disabled: bool) -> User:
        """Lock a user out at once, or let him in again. UserError if unknown."""
        return await self._change(name, "disabled = ?, generation = generation + 1", int(disabled))

    async def unlock(self, name: str) -> User:
        """Enable, and forget failures and waits. UserError if unknown."""
        return await self._change(name, "disabled = 0, totp_failures = 0, unlocks = unlocks + ?", 1)

    async def remove(self, name: str) -> None:
        """Forget a user. UserError if unknown."""
        await self.known(name)
        tables = (("recovery_code", "user"), ("session", "user"), ("user", "name"))
        await self.database.write(
            *((f"DELETE FROM {table} WHERE {column} = ?", (name,)) for table, column in tables)  # noqa: S608
        )

    async def known(self, name: str) -> User:
        """The user of that name. UserError if there is none."""
        user = await self.find(name)
        if user is None:
            known = ", ".join(user.name for user in await self.list()) or "none"
            raise UserError(f'user "{name[:NAME_CHARS_MAX]}" is not known; known users: {known}')
        return user

    async def list(self) -> list[User]:
        """All users by name."""
        return [_user(row) for row in await self.database.rows(f"SELECT {_COLUMNS} FROM user ORDER BY name")]  # noqa: S608

    async def find(self, name: str) -> User | None:
        """The user of that name (in any case), as it is now."""
        found = await self._find(name)
        return found[0] if found else None

    async def verify(self, name: str, password: str) -> User | None:
        """The user whose name and password these are, or None. OSError: nobody can say now."""
        found = await self._find(name)
        user, hashed = found or (None, self._nobody)
        given = _normal(password)
        if len(given) > PASSWORD_BYTES_MAX:
            return None
        async with self._hashing:
            matches = await asyncio.to_thread(self._matches, hashed, given)
        if not matches or user is None:
            return None
        if self._hasher.check_needs_rehash(hashed):
            await self._renew(user.name, hashed, given)
        return user

    async def _find(self, name: str) -> tuple[User, str] | None:
        rows = await self.database.rows(
            f"SELECT {_COLUMNS}, password_hash FROM user WHERE name = ?",  # noqa: S608
            (name,),
        )
        for *row, hashed in rows:
            return _user(row), hashed
        return None

    async def _insertion(self, name: str, password: str, role: str, tail: str) -> Statement:
        row = (_checked_name(name), _checked_role(role).value, await self._hashed(password))
        columns = "name, role, password_hash, generation, created_ms"
        return f"INSERT INTO user ({columns}) {tail}", (*row, int(self._clock() * 1000))

    async def _change(self, name: str, change: str, value: object) -> User:
        await self.database.write((f"UPDATE user SET {change} WHERE name = ?", (value, name)))  # noqa: S608
        return await self.known(name)

    def _matches(self, hashed: str, given: bytes) -> bool:
        try:
            return self._hasher.verify(hashed, given)
        except (VerifyMismatchError, InvalidHashError):
            return False
        except VerificationError as error:  # no memory, no thread: the password may be right
            raise OSError(f"users: no password can be checked now: {error}") from error

    async def _hashed(self, password: str) -> str:
        given = _checked_password(password)
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, given)

    async def _renew(self, name: str, old: str, given: bytes) -> None:
        hashed = await asyncio.to_thread(self._hasher.hash, given)
        try:
            sql = "UPDATE user SET password_hash = ? WHERE name = ? AND password_hash = ?"
            await self.database.write((sql, (hashed, name, old)))
        except sqlite3.Error as error:  # the login is good all the same; the next one tries again
            log.warning("users: cannot renew the hash of %s: %s", name, error)


def _user(row: Sequence[Any]) -> User:
    name, role, generation, disabled, second_factor, totp_failures, unlocks = row
    return User(name, Role(role), generation, bool(disabled), bool(second_factor), totp_failures, unlocks)


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
