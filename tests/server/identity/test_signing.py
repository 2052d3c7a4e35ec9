from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent.server.identity.signing import KEYS_MAX, rotate, signing_keys


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "token-keys.json"
    old = os.umask(0)
    try:
        (key,) = signing_keys(file)
        rotate(file, 1000, 60)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        os.umask(old)
    assert len(key.secret) == 32
    assert signing_keys(file) == signing_keys(file)
    assert [each.name for each in tmp_path.iterdir()] == ["token-keys.json"]
    file.unlink()
    (other,) = signing_keys(file)
    assert other.name != key.name


def test_rotating_keeps_the_old_for_a_while(tmp_path: Path) -> None:
    file = tmp_path / "token-keys.json"
    (first,) = signing_keys(file)
    second = rotate(file, 1000, 60)
    assert signing_keys(file) == (second, first._replace(until_s=1060))
    third = rotate(file, 1030, 60)
    assert signing_keys(file) == (third, second._replace(until_s=1090), first._replace(until_s=1060))
    fourth = rotate(file, 1070, 0)
    assert signing_keys(file) == (fourth,)


def test_there_are_never_many_keys(tmp_path: Path) -> None:
    file = tmp_path / "token-keys.json"
    for _ in range(KEYS_MAX + 3):
        rotate(file, 1000, 60)
    assert len(signing_keys(file)) == KEYS_MAX


def test_a_key_that_others_may_have_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token-keys.json"
    signing_keys(file)
    file.chmod(0o640)
    with pytest.raises(PermissionError, match="expected mode 0600, found 0640"):
        signing_keys(file)


TWO = b'{"keys":[{"kid":"1","k":"%b"},{"kid":"2","k":"%b"}]}' % (b"A" * 43, b"A" * 43)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"keys":[]}', b"[]", b'{"keys":[{"kid":"1","k":"c2hvcnQ"}]}', b"\xff", TWO]
)
def test_a_broken_key_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token-keys.json"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(OSError, match=r"token-keys\.json: expected"):
        signing_keys(file)
