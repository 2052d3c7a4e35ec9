"""What the LAN server is given: the box is announced exactly when others can reach it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import load
from agent.lan import announcing
from agent.tls import reachable_addresses


@pytest.mark.parametrize(
    ("server", "is_announced"),
    [
        ("", False),
        ('host = "localhost"', False),
        ('host = "::1"', False),
        ('host = "0.0.0.0"', True),
        ('host = "192.0.2.1"', True),
        ('host = "0.0.0.0"\nmdns = false', False),
    ],
)
def test_the_box_is_announced_if_others_can_reach_it(tmp_path: Path, server: str, is_announced: bool) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[agent]\nsite = "lab"\n[server]\n{server}\n', encoding="utf-8")
    found = announcing(load(file).options, "https://127.0.0.1:8443")
    assert list(found) == (["mdns"] if is_announced else [])


def test_only_addresses_that_others_reach() -> None:
    assert all(not each.startswith("127.") for each in reachable_addresses("0.0.0.0"))
    assert reachable_addresses("192.0.2.1") == []
