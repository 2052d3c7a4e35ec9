"""The loop in the test building: short runs that show what the bench measures at length."""

from pathlib import Path

import numpy as np
import pytest

from agent.cli import main
from agent.control.cases import named_cases
from agent.control.chart import svg
from agent.control.room import Rung
from agent.control.simulate import Fixed, best_of, run_agent, run_fixed, searched


def test_useful_from_the_first_day_and_better_than_the_schedule() -> None:
    case = named_cases()["office"]
    fixed = run_fixed(case, 5, [Fixed(23.0)], warm_days=0)
    agent = run_agent(case, 5, warm_days=0)
    assert agent.totals.cost[0] < fixed.totals.cost[0]
    assert agent.totals.discomfort_kh[0] < 1.0
    assert agent.loop is not None
    assert agent.loop.state.rooms["room"].rung == Rung.OPTIMISER, agent.loop.verdicts


def test_the_same_run_twice() -> None:
    case = named_cases()["small-fixed"]
    one, two = (run_agent(case, 2, warm_days=0).totals for _ in range(2))
    assert (one.energy_wh, one.starts) == (two.energy_wh, two.starts)


def test_the_best_schedule_is_the_cheapest_that_is_comfortable() -> None:
    case = named_cases()["office"]
    plans = searched(case)
    run = run_fixed(case, 5, plans, warm_days=1)
    best = best_of(run)
    missed = run.totals.discomfort_kh / run.weeks
    assert missed[best] <= 0.5
    assert not np.any((missed <= 0.5) & (run.totals.cost < run.totals.cost[best]))


def test_the_command_prints_the_table_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "week.svg"
    assert main(["simulate", "--days", "8", "--language", "en", "--plot", str(plot)]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("  ")[0] for line in lines]
    assert any(name.startswith("always 23") for name in names)
    assert any(name.startswith("best schedule") for name in names)
    assert "agent" in names
    assert plot.read_text(encoding="utf-8").startswith("<svg")


def test_the_table_is_portuguese_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--days", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "office: 1 dia(s) avaliado(s) depois de 7 para aprender"
    (own,) = [line for line in lines if line.startswith("agente ")]
    assert own.count(",") == 4
    assert "." not in own
    assert any(line.startswith("melhor horário: ") for line in lines)


@pytest.mark.parametrize("wrong", [["--site", "cave"], ["--days", "3"], ["--days", "1000"]])
def test_the_command_says_what_is_wrong(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_chart_needs_lines() -> None:
    with pytest.raises(ValueError, match="at least one"):
        svg([], (21.0, 25.0), "none")
