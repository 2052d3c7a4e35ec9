"""`uicps-agent doctor` as it is typed."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.cli import main

CONFIG = '[agent]\nsite = "lab"\ntrust_clock = "always"\ndata_dir = "data"\n[server]\nport = {port}\n'


@pytest.fixture
def config(tmp_path: Path, free_port: Callable[[], int]) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(port=free_port()))
    (tmp_path / "data").mkdir(mode=0o700)
    return file


def findings(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, dict[str, str]]]:
    code = main(["doctor", "--json", "--measure-s", "1", *map(str, arguments)])
    found = json.loads(capsys.readouterr().out)
    return code, {each["subject"]: each for each in found}


def test_a_box_whose_agent_does_not_run_has_one_fault(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = findings(capsys, config)
    assert code == 1
    assert [each["subject"] for each in found.values() if each["level"] == "fault"] == ["agent"]
    assert found["config"]["level"] == "well"


def test_a_faulty_configuration_is_all_that_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + "[sever]\n")
    code, found = findings(capsys, config)
    assert code == 1
    assert "did you mean 'server'" in found["config"]["text"]


def test_there_is_no_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path / "none.toml")]) == 1
    assert "BAD  config" in capsys.readouterr().out


@pytest.mark.parametrize("spoil", ["", 'x = """', "\x00"])
def test_a_bundle_is_made_of_whatever_there_is(
    config: Path, tmp_path: Path, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "center.token").write_text("T0KENT0KEN")
    config.write_text(f'{config.read_text()}{spoil}\n# password = "hunter2"\n')
    file = tmp_path / "support.tar.gz"
    findings(capsys, config, "--bundle", file)
    with tarfile.open(file) as archive:
        names = archive.getnames()
        text = archive.extractfile("uicps-support/config.toml")
        assert text
        assert b"hunter2" not in text.read()
    assert {"uicps-support/findings.json", "uicps-support/versions.txt"} <= set(names)
