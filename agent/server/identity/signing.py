"""The keys that tokens are signed with: a JWK set in a file of mode 0600.

The first key signs; those after it are still good for what they signed, each until its `until_s`. Rotating
puts a new one in front, so nobody is logged out. The running agent looks at the file every half second.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from agent.private import create_once, read_private, replace_private
from agent.server.identity.plain_jwt import base64url_decode, base64url_encode

ALGORITHM = "HS256"
KEY_BYTES = 32
KEYS_MAX = 8


class SigningKey(NamedTuple):
    """A key, the name that tokens call it by, and the Unix time until which it is good (None: it signs)."""

    name: str
    secret: bytes
    until_s: int | None = None


SigningKeys = tuple[SigningKey, ...]


def signing_keys(file: Path) -> SigningKeys:
    """The keys in `file`, made on the first call. OSError if they are not to be had or trusted."""
    if not file.exists():
        create_once(file, _written([fresh_key()]))
    try:
        keys = tuple(_key(each) for each in orjson.loads(read_private(file))["keys"])
    except (ValueError, LookupError, TypeError) as error:
        raise OSError(f"{file}: expected a JWK set with a key; delete the file to get a new one") from error
    if not keys or keys[0].until_s is not None or any(key.until_s is None for key in keys[1:]):
        raise OSError(f"{file}: expected a JWK set with a first key without an end, and others with one")
    for key in keys:
        if len(key.secret) < KEY_BYTES:
            raise OSError(f"{file}: expected keys of {KEY_BYTES} bytes, found {len(key.secret)}")
    return keys


def rotate(file: Path, now_s: float, overlap_s: float) -> SigningKey:
    """Put a new key in front of those in `file`; the old ones are good for `overlap_s` more, if at all."""
    old = [
        key._replace(until_s=min(key.until_s or int(now_s + overlap_s), int(now_s + overlap_s)))
        for key in signing_keys(file)
    ]
    kept = [key for key in old if key.until_s is not None and key.until_s > now_s]
    fresh = fresh_key()
    replace_private(file, _written([fresh, *kept[: KEYS_MAX - 1]]))
    return fresh


def fresh_key() -> SigningKey:
    return SigningKey(secrets.token_hex(8), secrets.token_bytes(KEY_BYTES))


def _key(jwk: dict[str, object]) -> SigningKey:
    until_s = jwk.get("until_s")
    if until_s is not None and not isinstance(until_s, int):
        raise TypeError("until_s")
    return SigningKey(str(jwk["kid"]), base64url_decode(str(jwk["k"])), until_s)


def _written(keys: Sequence[SigningKey]) -> bytes:
    jwks = [
        {
            "kty": "oct",
            "alg": ALGORITHM,
            "kid": key.name,
            "k": base64url_encode(key.secret).decode(),
        }
        | ({} if key.until_s is None else {"until_s": key.until_s})
        for key in keys
    ]
    return orjson.dumps({"keys": jwks})
