from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module

import pytest

from agent.cli import FAMILIES, main


def test_each_family_has_the_commands_it_is_said_to_have() -> None:
    for module, names in FAMILIES.items():
        commands = argparse.ArgumentParser().add_subparsers()
        import_module(f"agent.commands.{module}").add_to(commands)
        assert tuple(commands.choices) == tuple(names), module


def test_who_names_his_command_loads_no_other() -> None:
    code = (
        "import sys; from agent.cli import main; main(['tariff', 'list']);"
        " print([name for name in ('agent.commands.users', 'agent.config') if name in sys.modules])"
    )
    said = subprocess.run((sys.executable, "-c", code), check=True, capture_output=True, text=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")}
    assert {name for names in FAMILIES.values() for name in names} <= shown


def test_a_command_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rnu"])
    assert ended.value.code == 2
    assert "rnu" in capsys.readouterr().err
