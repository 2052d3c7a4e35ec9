from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from agent.tls import Certificates, TlsError
from tests.server.conftest import Clock

DAY_S = 86400


def test_they_are_made_kept_and_renewed_when_it_is_time(tmp_path: Path) -> None:
    clock, names = Clock(), ["localhost", "box.lan", "127.0.0.1"]
    made = Certificates(tmp_path / "tls", lambda: names, clock)
    assert made.open().minimum_version is ssl.TLSVersion.TLSv1_2
    assert made.ca_pem == (tmp_path / "tls/ca.pem").read_bytes()
    leaf = (tmp_path / "tls/server.pem").read_bytes()
    again = Certificates(tmp_path / "tls", lambda: names, clock)
    again.open()
    assert again.fingerprint == made.fingerprint
    assert not again.check()
    assert (tmp_path / "tls/server.pem").read_bytes() == leaf
    clock.now_s += 370 * DAY_S
    assert again.check()
    assert not again.check()
    assert (tmp_path / "tls/server.pem").read_bytes() != leaf


def test_another_address_renews_it_and_a_name_it_may_not_sign_does_not_for_ever(tmp_path: Path) -> None:
    names = ["localhost", "127.0.0.1"]
    made = Certificates(tmp_path / "tls", lambda: names, Clock())
    made.open()
    names.append("192.168.0.99")
    assert made.check()
    names.append("box.example.org")
    made.check()
    assert not made.check()


def test_what_was_said_and_what_failed_arrives(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    made = Certificates(tmp_path / "tls", lambda: ["localhost"], Clock())
    made.open()
    assert "https: certificate for localhost until" in caplog.text
    (tmp_path / "tls/ca.key").write_bytes(b"nonsense")
    with pytest.raises(TlsError, match="delete the folder to have all made anew"):
        made.open()
