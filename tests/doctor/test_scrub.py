"""No secret of any kind in a support bundle: known ones by value, unknown ones by shape; the rest stays."""

from __future__ import annotations

import json
import tarfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.doctor.bundle import write_bundle
from agent.doctor.scrub import REMOVED, scrub, secrets_in

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nIPxyz\n-----END EC PRIVATE KEY-----"
HEX = "0f" * 32


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"token {JWT} refused", JWT),
        (PEM, "MHcCAQEE"),
        (PEM.replace("-----END EC PRIVATE KEY-----", ""), "IPxyz"),  # a log that was cut
        (f"room-101 {HEX}", HEX),
        ("$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA", "aGFzaA"),
        ("http://ana:s3cr3t@tb.example/x", "s3cr3t"),
        ("make the first admin with the setup code K7QM-2PXD (or", "K7QM"),
        ("Authorization: Bearer abcdef.1", "abcdef.1"),
        ('password = "hunter2"', "hunter2"),
        ("rest_password: 'hunter2'", "hunter2"),
        ('{"access_token": "hunter2", "x": 1}', "hunter2"),
        ("otpauth://totp/ana?secret=JBSWY3DP", "JBSWY3DP"),
        ("api_key=hunter2", "hunter2"),
        ("MQTT_PASSWORD=hunter2", "hunter2"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, secret: str) -> None:
    said = scrub(text, ())
    assert secret not in said
    assert REMOVED in said


@pytest.mark.parametrize(
    "text",
    [
        'token_file = "credentials/center.token"',
        "access_token_minutes = 15",
        "refresh_token_days = 7",
        "SHA-256 3A:F0:11:22",
        "WARNING agent.uplink: center: connection refused",
        "site office: 3 devices on 2 lines",
    ],
)
def test_what_is_needed_to_help_stays(text: str) -> None:
    assert scrub(text, ()) == text


@given(
    secret=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cs", "Z", "Cc"]), min_size=4, max_size=40
    ),
    before=st.text(max_size=20),
)
def test_a_known_secret_goes_wherever_it_stands(secret: str, before: str) -> None:
    text = f"{before}{secret}{before}"
    without = scrub(text, [secret, secret[:4]])
    assert secret not in without.replace(REMOVED, "\0") or secret in REMOVED


CONFIG = """
[[uplink]]
token_file = "{folder}/center.token"
rest_password_file = "{folder}/rest"
ca_file = "{folder}/ca.pem"
[[line]]
key_file = "{folder}/modules.keys"
"""


def test_every_secret_that_a_box_has_is_known(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (data_dir / "tls").mkdir(parents=True)
    for file, text in (
        ("center.token", "T0KENT0KEN\n"),
        ("rest", "p4ss word\n"),
        ("ca.pem", "public"),
        ("modules.keys", f"# ours\nroom-101 {HEX}\nroom-102 odd-key\n"),
        ("data/token-keys.json", json.dumps({"keys": [{"secret": "bm90LWEtc2VjcmV0LWtleQ"}]})),
        ("data/tls/server.key", "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----\n"),
    ):
        (tmp_path / file).write_text(text)
    data = tomllib.loads(CONFIG.format(folder=tmp_path))
    found = set(secrets_in(data, data_dir))
    assert {"T0KENT0KEN", "p4ss word", HEX, "odd-key", "bm90LWEtc2VjcmV0LWtleQ", "MIGHAgEA"} <= found
    assert "public" not in found


def test_a_bundle_is_private_and_has_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "support.tar.gz"
    write_bundle(file, {"journal.txt": f"a {JWT} b T0KENT0KEN ç", "empty.txt": ""}, ["T0KENT0KEN"])
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        entry = archive.extractfile("uicps-support/journal.txt")
        assert entry
        assert entry.read().decode() == f"a {REMOVED} b {REMOVED} ç"
        assert archive.getnames() == ["uicps-support/journal.txt", "uicps-support/empty.txt"]
    with pytest.raises(FileExistsError):
        write_bundle(file, {}, [])
