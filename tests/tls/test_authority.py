from __future__ import annotations

import ipaddress
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from agent.tls import TlsError, names_of_this_box
from agent.tls.authority import Authority
from tests.server.conftest import Clock

NAMES = ["localhost", "box", "box.local", "127.0.0.1", "192.168.0.7"]
DAY_S = 86400


def certificates(folder: Path, clock: Clock, names: list[str] | None = None) -> Authority:
    return Authority(folder / "tls", lambda: NAMES if names is None else names, clock)


def leaf(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "tls" / "server.pem").read_bytes())


def test_they_are_made_once_private_and_for_all_names(tmp_path: Path) -> None:
    first = certificates(tmp_path, Clock())
    context = first.open()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "tls").iterdir()} == {0o600}
    names = leaf(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == NAMES
    leaf(tmp_path).verify_directly_issued_by(first.ca)
    again = certificates(tmp_path, Clock())
    again.open()
    assert again.fingerprint == first.fingerprint
    assert len(again.fingerprint) == 32 * 3 - 1
    assert not again.check()


def test_the_authority_may_sign_only_local_names(tmp_path: Path) -> None:
    made = certificates(tmp_path, Clock())
    made.open()
    limits = made.ca.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    allowed = {each.value for each in limits.value.permitted_subtrees or ()}
    assert {"local", "localhost", "box"} <= allowed
    assert not {"com", "br", ""} & allowed


@pytest.mark.parametrize(
    "moved_s", [370 * DAY_S, -10 * DAY_S, 5000 * DAY_S], ids=["near its end", "set back", "jumped ahead"]
)
def test_it_is_renewed_in_time_and_when_the_clock_was_wrong(tmp_path: Path, moved_s: int) -> None:
    clock = Clock()
    made = certificates(tmp_path, clock)
    made.open()
    before, ca = leaf(tmp_path), made.fingerprint
    clock.now_s += moved_s
    assert made.check()
    assert not made.check()
    after = leaf(tmp_path)
    assert after.serial_number != before.serial_number
    now = clock.now_s
    assert after.not_valid_before_utc.timestamp() < now < after.not_valid_after_utc.timestamp()
    assert made.fingerprint == ca


def test_another_address_renews_it(tmp_path: Path) -> None:
    names = list(NAMES)
    made = certificates(tmp_path, Clock(), names)
    made.open()
    names.append("192.168.0.99")
    assert made.check()
    assert "192.168.0.99" in str(leaf(tmp_path).extensions)


@pytest.mark.parametrize("file", ["server.pem", "server.key"])
def test_a_broken_certificate_is_made_anew(tmp_path: Path, file: str) -> None:
    certificates(tmp_path, Clock()).open()
    (tmp_path / "tls" / file).unlink()
    certificates(tmp_path, Clock()).open()
    (tmp_path / "tls" / "server.pem").write_bytes(b"nonsense")
    certificates(tmp_path, Clock()).open()


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_broken_authority_is_named(tmp_path: Path, content: bytes) -> None:
    certificates(tmp_path, Clock()).open()
    (tmp_path / "tls" / "ca.key").write_bytes(content)
    with pytest.raises(TlsError, match="delete the folder to have all made anew"):
        certificates(tmp_path, Clock()).open()
    (tmp_path / "tls" / "ca.key").chmod(0o644)
    with pytest.raises(TlsError, match="expected mode 0600"):
        certificates(tmp_path, Clock()).open()


def test_this_box_has_names_and_addresses() -> None:
    names = names_of_this_box()
    assert {"localhost", "127.0.0.1", "::1"} <= set(names)
    assert len(names) == len(set(names))
    for name in names:
        try:
            assert not ipaddress.ip_address(name).is_link_local or "." in name
        except ValueError:
            assert name == name.lower()


def test_names_are_written_one_way_and_a_new_domain_wants_a_new_authority(tmp_path: Path) -> None:
    made = certificates(tmp_path, Clock(), ["Box.LAN.", "ção.lan", "fd00::0002"])
    made.open()
    assert not made.check()
    names = leaf(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == ["box.lan", "ção.lan".encode("idna").decode(), "fd00::2"]
    other = certificates(tmp_path, Clock(), ["box.lan", "box.example.org"])
    other.open()
    assert other.fingerprint != made.fingerprint
    leaf(tmp_path).verify_directly_issued_by(other.ca)
    assert "box.example.org" in str(leaf(tmp_path).extensions)
    again = certificates(tmp_path, Clock(), ["box.lan", "box.example.org"])
    again.open()
    assert again.fingerprint == other.fingerprint
