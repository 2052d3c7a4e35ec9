"""The key file: what it may say, and everything that is wrong with it at once."""

from __future__ import annotations

import base64
import contextlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drivers.udp import UdpOptions, module_faults
from agent.drivers.udp.keys import FaultyKeys, Key, key_id, parse_keys, read_keys

ONE, TWO, THREE = (bytes([at]) * 32 for at in (1, 2, 3))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300))
def test_the_tag_is_hmac_sha256_cut_to_128_bits(secret: bytes, body: bytes) -> None:
    assert Key(secret).tag(body) == hmac.digest(secret, body, "sha256")[:16]


def test_the_key_id_is_that_of_the_documentation() -> None:
    assert f"{key_id(bytes(range(32))):08x}" == "745285f0"


def test_hex_base64_comments_and_two_keys_of_a_module() -> None:
    lines = ("# ours", "", f"room-1 {ONE.hex()}  # old", f"room-1 {base64.b64encode(TWO).decode()}")
    text = "\n".join((*lines, f"room-2 {THREE.hex().upper()}"))
    keys = {name: [key.secret for key in own] for name, own in parse_keys(text).items()}
    assert keys == {"room-1": [ONE, TWO], "room-2": [THREE]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("room-1\n", "line 1: expected a module's id and its key"),
        ("# x\nroom-1 abc\n", "line 2: expected a module's id and its key, 64 hex digits or 44"),
        (f"room-1 {ONE.hex()} more\n", "line 1: expected"),
        (f"room-1 {ONE.hex()[:-2]}\n", "line 1: expected"),
        (f"room-1 {base64.b64encode(ONE[:31]).decode()}\n", "line 1: expected"),
        ("".join(f"a {key.hex()}\n" for key in (ONE, TWO, THREE)), "expected at most 2 keys of 'a', found 3"),
        (f"a {ONE.hex()}\nb {ONE.hex()}\n", "a key of 'b' is there twice"),
    ],
)
def test_faults(text: str, expected: str) -> None:
    with pytest.raises(FaultyKeys) as caught:
        parse_keys(text)
    assert any(expected in str(fault) for fault in caught.value.faults)
    assert ONE.hex() not in str(caught.value)


def test_all_faults_come_together() -> None:
    with pytest.raises(FaultyKeys) as caught:
        parse_keys("a\nb x\n")
    assert [fault.line for fault in caught.value.faults] == [1, 2]


def test_what_is_not_text_or_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FaultyKeys, match="UTF-8"):
        read_keys(file)
    file.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(FaultyKeys, match="at most"):
        read_keys(file)


@given(st.text(max_size=200))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    with contextlib.suppress(FaultyKeys):
        parse_keys(text)


def test_modules_and_keys_must_match(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"signed {ONE.hex()}\nboth {TWO.hex()}\nspare {THREE.hex()}\n")
    devices = [
        {"name": "signed", "profile": "p"},
        {"name": "none", "profile": "p"},
        {"name": "x", "id": "both", "profile": "p", "unsigned": True},
        {"name": "open", "profile": "p", "unsigned": True},
    ]
    options = {"driver": "udp", "name": "wifi", "port": 1, "device": devices, "key_file": file}
    assert [path for path, _ in module_faults(UdpOptions.model_validate(options))] == [
        "device[1].unsigned",
        "device[2].unsigned",
    ]
    without = options | {"key_file": None, "device": devices[:1]}
    ((path, text),) = module_faults(UdpOptions.model_validate(without))
    assert (path, text) == (
        "device[0].unsigned",
        "expected a key of 'signed' in the key_file of its line, or unsigned = true",
    )
    file.write_text("nonsense\n")
    assert [path for path, _ in module_faults(UdpOptions.model_validate(options))] == ["key_file"]
