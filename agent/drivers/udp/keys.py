"""The keys of the modules on a line: a secret file, and the HMAC that they are for.

One line a key: the module's id, then 32 random bytes as 64 hex digits or as base64. A module may have
two keys at a time: the second while it is being given a new one. `#` starts a comment.

A key names itself: its key id is made of it (`key_id`), so there is no number to assign, to mistype or
to use twice, and a new key cannot be taken for the old one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

KEY_BYTES = 32
TAG_BYTES = 16
KEYS_PER_MODULE_MAX = 2
FILE_BYTES_MAX = 1 << 20
_KEY_ID_LABEL = b"uicps key id"
_BLOCK_BYTES = 64


def key_id(secret: bytes) -> int:
    """The 32 bits by which a key is named in datagrams: of SHA-256("uicps key id" + key), little-endian."""
    return int.from_bytes(hashlib.sha256(_KEY_ID_LABEL + secret).digest()[:4], "little")


class Key:
    """One secret. `tag(body)` is the 16 bytes that prove who wrote `body`: HMAC-SHA-256 cut to 128 bits,
    as RFC 2104 section 5 allows. Compare them with `hmac.compare_digest`."""

    def __init__(self, secret: bytes) -> None:
        self.id, self.secret = key_id(secret), secret
        self.tag = _hmac_128(secret)


def _hmac_128(secret: bytes) -> Callable[[bytes], bytes]:
    """HMAC with both padded keys hashed beforehand: half the time of `hmac.digest` for short messages."""
    block = secret.ljust(_BLOCK_BYTES, b"\0")
    inner_copy = hashlib.sha256(bytes(byte ^ 0x36 for byte in block)).copy
    outer_copy = hashlib.sha256(bytes(byte ^ 0x5C for byte in block)).copy

    def tag(body: bytes) -> bytes:
        inner, outer = inner_copy(), outer_copy()
        inner.update(body)
        outer.update(inner.digest())
        return outer.digest()[:TAG_BYTES]

    return tag


class KeyFault(NamedTuple):
    """What is wrong with a key file, and in which line of it (0: the whole)."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" if self.line else self.text


class FaultyKeys(ValueError):  # noqa: N818 - it is the file that is at fault
    """Raised with everything that is wrong with a key file."""

    def __init__(self, faults: Sequence[KeyFault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


def read_keys(file: Path) -> dict[str, list[Key]]:
    """The keys by module id, in the order of the file. OSError if unreadable, FaultyKeys if wrong."""
    if file.stat().st_size > FILE_BYTES_MAX:
        raise FaultyKeys([KeyFault(0, f"expected at most {FILE_BYTES_MAX} bytes")])
    try:
        return parse_keys(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise FaultyKeys([KeyFault(0, f"expected UTF-8 text: {error.reason}")]) from None


def parse_keys(text: str) -> dict[str, list[Key]]:
    """The keys in the text of a key file, by module id."""
    keys: dict[str, list[Key]] = {}
    faults: list[KeyFault] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not (secret := _secret(words[1])):
            wanted = "a module's id and its key, 64 hex digits or 44 characters of base64"
            faults.append(KeyFault(number, f"expected {wanted}"))
            continue
        keys.setdefault(words[0], []).append(Key(secret))
    faults += _contradictions(keys)
    if faults:
        raise FaultyKeys(faults)
    return keys


def _secret(text: str) -> bytes | None:
    try:
        secret = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return secret if len(secret) == KEY_BYTES else None


def _contradictions(keys: dict[str, list[Key]]) -> Iterator[KeyFault]:
    for module, own in keys.items():
        if len(own) > KEYS_PER_MODULE_MAX:
            yield KeyFault(0, f"expected at most {KEYS_PER_MODULE_MAX} keys of {module!r}, found {len(own)}")
    counts = Counter(key.id for own in keys.values() for key in own)
    for module, own in keys.items():
        if any(counts[key.id] > 1 for key in own):
            yield KeyFault(0, f"expected each key once: a key of {module!r} is there twice, make a new one")
