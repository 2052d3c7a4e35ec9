from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import main
from agent.tariff import BUILT_IN
from tests.tariff.files import VERDE


def test_a_day_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tariff", "show", "exemplo-branca", "--day", "2025-08-13"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "exemplo-branca: Branca B3 (exemplo) (branca), 2025-08-13, America/Sao_Paulo"
    assert [line[:25].strip() for line in lines[4:]] == [
        "00:00-17:00  off_peak",
        "17:00-18:00  intermediate",
        "18:00-21:00  peak",
        "21:00-22:00  intermediate",
        "22:00-24:00  off_peak",
    ]


def test_what_stands_in_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tariff", "show", "exemplo-verde", "--day", "2018-02-17"]) == 0
    out = capsys.readouterr().out
    assert "no table of this day, the one of 2025-01-01 stands in" in out
    assert "flag: green (assumed" in out
    assert "overshoot above 126 kW" in out


def test_list_and_show_look_in_the_users_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[agent]\nsite = "here"\ntariff_dir = "mine"\n')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ours.toml").write_text(VERDE)
    assert main(["tariff", "list", "--config", str(config)]) == 0
    assert "ours" in capsys.readouterr().out
    assert main(["tariff", "show", "ours", "--config", str(config)]) == 0
    assert main(["tariff", "show", "ours"]) == 2


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(VERDE)
    assert main(["tariff", "check", str(file)]) == 0
    assert "well: verde, 1 tables of prices from 2017-01-01 on" in capsys.readouterr().out
    assert main(["tariff", "check", str(BUILT_IN / "flags.toml")]) == 0
    file.write_text(VERDE.replace("verde", "verda").replace("[version]", "[versoin]"))
    assert main(["tariff", "check", str(file)]) == 2
    err = capsys.readouterr().err
    assert "modality" in err
    assert "did you mean 'version'?" in err


def test_a_day_that_is_none() -> None:
    with pytest.raises(SystemExit):
        main(["tariff", "show", "exemplo-verde", "--day", "13/08/2025"])


def test_the_command_line_starts_without_the_calendars() -> None:
    code = "import sys, agent.cli; sys.exit('holidays' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
