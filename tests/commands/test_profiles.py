"""`profile`: what a datasheet says, and every fault of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli import main
from agent.commands.profiles import profiles_in
from agent.drivers.profile import BUILT_IN

Captured = pytest.CaptureFixture[str]


def test_every_built_in_profile_is_well(capsys: Captured) -> None:
    for file in sorted(BUILT_IN.glob("*.toml")):
        assert main(["profile", "check", str(file)]) == 0
    assert "hint: rename" not in capsys.readouterr().out


def test_what_it_holds_asks_and_writes(capsys: Captured) -> None:
    assert main(["profile", "check", "eastron-sdm630"]) == 0
    out = capsys.readouterr().out
    assert "eastron-sdm630.toml: well: " in out
    assert "request" in out
    assert "    input registers 0-71 (72)" in out
    assert "writable: nothing" in out
    main(["profile", "check", "intesis-ac"])
    out = capsys.readouterr().out
    assert "  temperature_setpoint: from 16 to 32 in steps of " in out or "temperature_setpoint: " in out
    assert out.count("when we go silent: ") == int(out.split("writable: ")[1].split()[0])


def test_every_fault_with_its_place(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'driver = "modbus"\ntitle = "x"\nsource = []\n[[group]]\nname = "g"\nintervals = 1\n'
        '[[group.point]]\nname = "Volts"\naddress = 70000\n'
    )
    assert main(["profile", "check", str(file)]) == 2
    errors = capsys.readouterr().err
    assert f"{file}: source: expected at least 1 items" in errors
    assert f"{file}: group[0].intervals: unknown key" in errors
    assert f"{file}: group[0].point[0].name: " in errors
    assert f"{file}: group[0].point[0].address: " in errors
    assert errors.endswith("4 faults\n")


@pytest.mark.parametrize("code", ["--5", "²", "1.5", ""])
def test_a_code_that_is_no_whole_number(code: str, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'driver = "modbus"\ntitle = "x"\nsource = ["y"]\n[[group]]\nname = "g"\n'
        f'[[group.point]]\nname = "v"\nkind = "state"\naddress = 1\nstates = {{ "{code}" = "on" }}\n'
    )
    assert main(["profile", "check", str(file)]) == 2
    assert "states: expected whole numbers as codes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('driver = "modbs"', "driver: expected one of \"modbus\", \"udp\", \"serial\", \"sma-speedwire\", "
         "\"push\", found \"modbs\", did you mean 'modbus'?"),
        ("", 'driver: expected one of "modbus", "udp", "serial", "sma-speedwire", "push", found none'),
        ("driver = ", "expected TOML: "),
    ],
)  # fmt: skip
def test_a_driver_that_is_not_there(text: str, words: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "mine.toml").write_text(text)
    assert main(["profile", "check", str(tmp_path / "mine.toml")]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys: Captured) -> None:
    assert main(["profile", "check", "/nowhere/x.toml"]) == 2
    assert "expected a readable file" in capsys.readouterr().err
    assert main(["profile", "check", "eastron"]) == 2
    assert "known profiles: abb-b23" in capsys.readouterr().err


def test_hints(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "my meter.toml"
    file.write_text(
        'driver = "modbus"\ntitle = "x"\nsource = ["y"]\n[[group]]\nname = "g"\n'
        '[[group.point]]\nname = "v"\naddress = 0\nwritable = true\non_silence = "keeps it"\n'
    )
    assert main(["profile", "check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "hint: rename it" in out
    assert "hint: without a [[fingerprint]]" in out
    assert "v: no limits: give it min and max" in out


def test_the_list(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "broken.toml").write_text("driver = 1")
    assert main(["profile", "list", "--profile-dir", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert {file.stem for file in BUILT_IN.glob("*.toml")} == {
        line.split()[0] for line in said.out.splitlines()[1:]
    }
    assert "broken.toml: driver: " in said.err


@pytest.mark.parametrize(
    ("table", "address", "words"),
    [
        ("holding", 40001, "address 40001 looks like a register number (4xxxx); on the wire that is 0"),
        ("input", 30071, "address 30071 looks like a register number (3xxxx); on the wire that is 70"),
        ("holding", 30071, ""),
        ("holding", 3059, ""),
    ],
)
def test_register_numbers_are_hinted_at(
    table: str, address: int, words: str, tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "meter.toml"
    file.write_text(
        f'driver = "modbus"\ntitle = "x"\nsource = ["y"]\ntable = "{table}"\n[[group]]\nname = "g"\n'
        f'[[group.point]]\nname = "v"\naddress = {address}\n'
    )
    assert main(["profile", "check", str(file)]) == 0
    out = capsys.readouterr().out
    assert words in out
    assert ("register number" in out) is bool(words)


def test_a_broken_profile_does_not_keep_a_scan_from_the_others(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "broken.toml").write_text("driver = 1")
    good = (BUILT_IN / "xy-md02.toml").read_text()
    (tmp_path / "mine.toml").write_text(good)
    assert {"mine", "xy-md02"} <= profiles_in(tmp_path).keys()
    assert f"left out: {tmp_path}/broken.toml: driver: expected" in capsys.readouterr().err
