"""`uicps-agent report`: what is asked wrongly, what is not there, progress as jobs understand it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from agent.reporting import Reporting
from agent.reports.options import ReportsOptions
from tests.reports.places import fill, ms, site


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    file = site(tmp_path)
    await fill(tmp_path / "data" / "readings.db", ms(2026, 11, 16), ms(2026, 11, 17))
    return file


async def test_an_unknown_meter_is_told_with_the_way_out(config: Path) -> None:
    code, _, said = await run("energy", config, "--month=2026-11", "--meter=main-metre")
    assert code == 2
    assert "no meter is named 'main-metre', did you mean 'main-meter'?" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(("energy", "--month=2026-13"), "expected a month like 2026-11, found '2026-13'"),
     (("energy", "--month=2999-01"), "expected a month that has begun"),
     (("power-quality", "--from=yesterday"), "expected a local time like 2026-11-16"),
     (("power-quality", "--from=2026-11-16", "--to=2026-11-15"), "expected --from before --to"),
     (("power-quality", "--from=2020-01-01", "--to=2026-11-15"), "at most 100 days")],
)  # fmt: skip
async def test_what_makes_no_sense_is_told(config: Path, arguments: tuple[str, ...], expected: str) -> None:
    code, _, said = await run(arguments[0], config, *arguments[1:])
    assert code == 2
    assert expected in said


async def test_a_month_without_data_says_which_there_are(config: Path) -> None:
    code, _, said = await run("energy", config, "--month=2025-03", "--meter=main-meter")
    assert code == 1
    assert "no power and no energy is stored of this month" in said
    assert "the store has readings from 2026-11-16 00:00 to 2026-11-16 23:59" in said
    code, _, said = await run("energy", config, "--month=2025-03")
    assert code == 0  # of all meters none is well, too
    assert "there was nothing to report on" in said


async def test_in_memory_it_is_kept_there_and_reads_what_there_is(config: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    await fill(memory / "readings.db", ms(2026, 11, 17), ms(2026, 11, 18))
    for kind, more in (("power-quality", ["--from=2026-11-16", "--to=2026-11-17"]), ("commissioning", [])):
        code, out, said = await run(kind, config, *more, f"--data-dir={memory}")
        assert code == 0, said
        assert {Path(line).parent for line in out.splitlines()} == {memory / "reports"}
    assert not (config.parent / "data" / "reports").exists()
    assert any("2026-11-18" in each.name for each in (memory / "reports").iterdir())  # of what is there now


def test_the_agent_says_what_stands_in_for_its_folder(tmp_path: Path) -> None:
    options = ReportsOptions()
    at_home = Reporting(tmp_path / "config.toml", tmp_path / "data", options)
    assert at_home.command("energy", []) == ["report", "energy", str(tmp_path / "config.toml"), "--progress"]
    in_memory = Reporting(tmp_path / "config.toml", tmp_path / "memory", options, in_memory=True)
    assert f"--data-dir={tmp_path / 'memory'}" in in_memory.command("energy", [])


async def test_progress_and_files_are_told_as_a_job_understands_them(config: Path) -> None:
    code, out, _ = await run("power-quality", config, "--from=2026-11-16", "--to=2026-11-17", "--progress")
    assert code == 0
    *progress, html, csv = out.splitlines()
    assert progress[-1].partition(" %")[0].isdigit()
    shelf = config.parent / "data" / "reports"
    assert [Path(html), Path(csv)] == [
        shelf / f"power-quality_main-meter_2026-11-16_2026-11-17_pt-BR.{each}" for each in ("html", "csv")
    ]


async def test_without_readings_there_is_nothing_to_read(tmp_path: Path) -> None:
    code, _, said = await run("commissioning", site(tmp_path))
    assert code == 1
    assert "has the agent run with this configuration?" in said


async def run(kind: str, config: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "report", kind, str(config), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await child.communicate()
    return child.returncode or 0, out.decode(), said.decode()
