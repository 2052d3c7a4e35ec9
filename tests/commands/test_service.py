"""`uicps-agent service` as it is typed, as far as it changes nothing; the rest is in tests/systemd."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.cli import main
from agent.commands.service import address
from agent.deploy.layout import Layout

CONFIG = '[agent]\nsite = "lab"\ndata_dir = "data"\n'


@pytest.mark.parametrize("wrong", ["0", "61.5", "soon", "-1", "99999"])
def test_how_long_it_must_be_well_is_said_in_seconds(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["service", "upgrade", "--well-s", wrong])
    assert "whole seconds" in capsys.readouterr().err


def test_a_new_release_says_which_databases_it_would_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    for folder in ("data", "scratch"):
        (tmp_path / folder).mkdir()
    with closing(sqlite3.connect(tmp_path / "data/readings.db")) as db:
        db.execute("PRAGMA user_version = 0")
    arguments = ["service", "rehearse", str(tmp_path / "config.toml"), "--scratch", str(tmp_path / "scratch")]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == ["readings.db"]


@pytest.mark.parametrize(
    ("server", "own"),
    [
        ('host = "0.0.0.0"', "https://127.0.0.1:8080"),
        ('host = "127.0.0.1"\nport = 81', "http://127.0.0.1:81"),
        ('host = "::"\ntls = "off"', "http://127.0.0.1:8080"),
        ('host = "192.0.2.5"\ntls = "on"', "https://192.0.2.5:8080"),
        ('host = "fd00::5"\ntls = "on"', "https://[fd00::5]:8080"),
        ("port = 0", ""),
    ],
)
def test_where_this_box_asks_whether_the_agent_is_well(tmp_path: Path, server: str, own: str) -> None:
    layout = Layout(tmp_path)
    layout.config_dir.mkdir(parents=True)
    layout.config.write_text(f"{CONFIG}[server]\n{server}\n")
    assert address(layout, own=True) == own
