"""The commands, typed as an administrator types them, beside a running agent's files."""

from __future__ import annotations

import getpass
import io
import sys
from pathlib import Path

import pyotp
import pytest

from agent.cli import main

CONFIG = '[agent]\nsite = "lab"\n'


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "secret").write_text("a long password\n")
    return str(tmp_path / "config.toml")


def run(config: str, *words: str) -> int:
    group, action, *rest = words
    return main([group, action, config, *rest])


def test_a_user_from_the_first_to_the_last_command(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = str(tmp_path / "secret")
    assert run(config, "user", "add", "ana", "--password-file", secret, "--role", "admin") == 0
    assert run(config, "user", "add", "ana", "--password-file", secret) == 1
    assert run(config, "user", "passwd", "ana", "--password-file", secret) == 0
    assert run(config, "user", "role", "ana", "--role", "viewer") == 0
    assert run(config, "user", "disable", "ana") == 0
    assert run(config, "user", "list") == 0
    assert run(config, "user", "unlock", "ana") == 0
    assert run(config, "user", "remove", "bea") == 1
    assert run(config, "user", "remove", "ana") == 0
    said = capsys.readouterr()
    assert "ana                      viewer       disabled" in said.out
    assert 'user "ana" exists already' in said.err
    assert 'user "bea" is not known; known users: ana' in said.err
    assert main(["audit", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [
        "user.removed",
        "user.unlocked",
        "user.disabled",
        "user.role",
        "user.password",
        "user.added",
    ]
    assert f"console:{getpass.getuser()}" in lines[0]
    assert '"before":"admin","after":"viewer"' in lines[3]
    assert main(["audit", config, "--verify"]) == 0
    assert main(["audit", config, "--csv", "--kind", "user.role"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_second_factor_at_the_terminal(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(config, "user", "add", "ana", "--password-file", str(tmp_path / "secret")) == 0

    class Phone(io.StringIO):
        """Types the code of the secret that the terminal shows."""

        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
            secret = capsys.readouterr().out.partition("or type: ")[2].split()[0]
            return pyotp.TOTP(secret).now() + "\n"

    monkeypatch.setattr(sys, "stdin", io.StringIO("000000\n"))
    assert run(config, "user", "totp", "ana") == 1
    assert "nothing changed" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", Phone())
    assert run(config, "user", "totp", "ana") == 0
    codes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert len(codes) == 10
    assert run(config, "user", "list") == 0
    assert "second factor" in capsys.readouterr().out
    assert run(config, "user", "totp", "ana", "--off") == 0


def test_a_key_is_shown_once(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "key", "add", "grafana", "--scope", "read", "--scope", "export", "--days", "30") == 0
    text = capsys.readouterr().out.split()[0]
    assert text.startswith("uak_")
    assert run(config, "key", "add", "grafana", "--scope", "read") == 1
    assert run(config, "key", "list") == 0
    said = capsys.readouterr()
    assert "grafana" in said.out
    assert "export read" in said.out
    assert text not in said.out
    assert run(config, "key", "revoke", "grafana") == 0
    assert run(config, "key", "revoke", "grafana") == 1
    data = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir())
    assert text.encode() not in data


def test_the_signing_key_rotates(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "user", "list") == 0
    assert run(config, "signing-key", "rotate") == 0
    assert run(config, "signing-key", "rotate", "--at-once") == 0
    assert "tokens are signed with key" in capsys.readouterr().out
