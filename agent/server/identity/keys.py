"""API keys for machines: shown once, kept as a hash, good for what they were made for.

A key is `uak_<id>_<secret>`: the id finds it, 256 random bits prove it. SHA-256 is enough for those, so
a key is judged in microseconds and argon2 stays for what people choose.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from agent.database import Database
from agent.schema import ImpossibleError
from agent.server.identity.permissions import Permission, scopes

PREFIX = "uak_"
KEYS_MAX = 200
_KEY = re.compile(r"uak_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class ApiKeyError(ImpossibleError):
    """A key that cannot be so; the text says what was expected."""


class ApiKey(NamedTuple):
    """What is kept of a key. `expires_s` is Unix time, None: until revoked."""

    id: str
    name: str
    hash: bytes
    scopes: frozenset[Permission]
    created_by: str
    created_ms: int
    expires_s: int | None


class Keys:
    """The keys in the database. `clock` is Unix time in seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    async def add(
        self, name: str, wanted: Iterable[str], created_by: str, days: int | None = None
    ) -> tuple[ApiKey, str]:
        """A new key, and its text for the only time. ApiKeyError says what is wrong with the wish."""
        if not _NAME.fullmatch(name):
            raise ApiKeyError(f'name: expected 1-64 letters, digits, "_", "." or "-", found "{name[:64]}"')
        if len(await self.list()) >= KEYS_MAX:
            raise ApiKeyError(f"expected at most {KEYS_MAX} keys: revoke one that is not used any more")
        try:
            allowed = scopes(wanted)
        except ValueError as error:
            raise ApiKeyError(str(error)) from error
        name_of_key, now_s = secrets.token_hex(6), self._clock()
        text = f"{PREFIX}{name_of_key}_{secrets.token_urlsafe(32)}"
        expires_s = int(now_s) + days * 86400 if days else None
        key = ApiKey(name_of_key, name, _hash(text), allowed, created_by, int(now_s * 1000), expires_s)
        try:
            await self._database.write(
                (
                    "INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*key[:3], " ".join(sorted(allowed)), *key[4:]),
                )
            )
        except sqlite3.IntegrityError as error:
            raise ApiKeyError(f'a key "{name}" exists already: revoke it, or choose another name') from error
        return key, text

    async def list(self) -> list[ApiKey]:
        """All keys by name."""
        rows = await self._database.rows(
            "SELECT id, name, hash, scopes, created_by, created_ms, expires_s FROM api_key ORDER BY name"
        )
        return [_key(row) for row in rows]

    async def revoke(self, name: str) -> ApiKey:
        """End the key of that name or id, at once. ApiKeyError if there is none."""
        for key in await self.list():
            if name.lower() in (key.name.lower(), key.id):
                await self._database.write(("DELETE FROM api_key WHERE id = ?", (key.id,)))
                return key
        known = ", ".join(key.name for key in await self.list()) or "none"
        raise ApiKeyError(f'key "{name[:64]}" is not known; known keys: {known}')


def _key(row: Any) -> ApiKey:
    name_of_key, name, hashed, allowed, by, created_ms, expires_s = row
    permissions = frozenset(map(Permission, allowed.split()))
    return ApiKey(name_of_key, name, hashed, permissions, by, created_ms, expires_s)


def key_id(text: str) -> str | None:
    """The id in the key `text`, None if it does not look like a key."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def is_key(text: str, key: ApiKey) -> bool:
    """Whether `text` is this key."""
    return hmac.compare_digest(_hash(text), key.hash)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
