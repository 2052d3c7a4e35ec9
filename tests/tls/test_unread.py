from __future__ import annotations

import os
import ssl
import subprocess
import sys

import pytest

from agent.tls.unread import authorities_unread

PROBE = """
import ssl
import agent.commands.agent
from aiohttp import connector
print(len(connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), ssl.create_default_context().verify_mode.name)
"""


def test_what_is_imported_inside_trusts_nobody_and_what_comes_after_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/a/file")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with authorities_unread():
        assert ssl.create_default_context().get_ca_certs() == []
    assert os.environ["SSL_CERT_FILE"] == "/a/file"
    assert "SSL_CERT_DIR" not in os.environ


def test_the_running_agent_has_no_context_that_it_never_uses() -> None:
    said = subprocess.run((sys.executable, "-c", PROBE), check=True, capture_output=True, text=True).stdout
    assert said.split() == ["0", "CERT_REQUIRED"]
