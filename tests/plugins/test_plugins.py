"""Plug-ins that do right: the two of the documentation, as they stand there, in real processes."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.dispatch import Priority
from agent.model import Reading
from agent.plugins.backtest import replay
from agent.plugins.host import Program
from agent.plugins.outline import outline
from agent.schedule import Result
from agent.schedule.child import Limits
from agent.schema import FaultyFile
from agent.store.onlooker import Onlooker
from tests.plugins.lab import METER, NOW_MS, UNIT, Lab, fill, lab_in

DOCS = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
NIGHT_LOAD, GENTLE_NOON = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
HOUR_MS = 3_600_000


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab_in(tmp_path) as found:
        fill(found.hub, 24)
        found.published.clear()
        yield found


async def test_the_night_load_of_the_documentation(lab: Lab) -> None:
    outcome = await lab.run(NIGHT_LOAD, point="meter.active_power", limit_w=800.0)
    assert (outcome.result, outcome.text) == (Result.WELL, "1030 W in the mean, 1000 W at least")
    (reading,) = lab.published
    assert reading.group.point_ids == ("analysis.mine_mean", "analysis.mine_least")
    assert (reading.time_ms, list(reading.values)) == (NOW_MS, [1029.5, 1000.0])
    (alert,) = lab.alerts
    assert (alert.id, alert.raised, alert.text_pt) == ("plugin.mine.high", True, "Carga noturna alta")
    assert outcome.memory_mb > 10


async def test_below_its_limit_the_alarm_is_cleared(lab: Lab) -> None:
    await lab.run(NIGHT_LOAD, point="meter.active_power", limit_w=2000.0)
    assert [alert.raised for alert in lab.alerts] == [False]


async def test_a_night_without_readings_is_said(lab: Lab) -> None:
    outcome = await lab.run(NIGHT_LOAD, point="office.setpoint")
    assert outcome.text == "too little was measured this night"
    assert not lab.alerts


@pytest.mark.parametrize(("power_w", "wanted_c"), [(25_000.0, 24.0), (5000.0, 23.0)])
async def test_the_rule_of_the_documentation(lab: Lab, power_w: float, wanted_c: float) -> None:
    lab.hub.publish([Reading(METER, NOW_MS, (power_w, 127.0))])
    names = {"meter": "meter.active_power", "setpoint": "office.setpoint"}
    outcome = await lab.run(GENTLE_NOON, may_write=["office.setpoint"], **names)
    assert outcome.result is Result.WELL, outcome
    (command,) = lab.dispatch.commands
    assert (command.value, command.priority, command.source) == (wanted_c, Priority.ANALYSIS, "plugin mine")


async def test_the_rule_has_no_wish_without_its_meter(lab: Lab) -> None:
    lab.hub.publish([METER.bad(NOW_MS)])
    await lab.run(
        GENTLE_NOON, may_write=["office.setpoint"], meter="meter.active_power", setpoint="office.setpoint"
    )
    assert not lab.dispatch.commands


async def test_a_refused_command_fails_the_run_with_the_reason(lab: Lab) -> None:
    lab.hub.publish([Reading(METER, NOW_MS, (1.0, 127.0))])
    names = {"meter": "meter.active_power", "setpoint": "office.setpoint"}
    outcome = await lab.run(GENTLE_NOON, may_write=["office.setpoint"], normal_c=99.0, **names)
    assert outcome.result is Result.FAILED
    assert "expected 16 to 30, found 99" in outcome.text


async def test_history_in_many_frames_is_whole_and_in_order(lab: Lab) -> None:
    readings = [Reading(UNIT, NOW_MS - 100_000 + at, (float(at),)) for at in range(100_000)]
    lab.hub.publish(readings)
    outcome = await lab.run(
        """
        import numpy as np
        from agent.plugins import plugin
        @plugin()
        def mine(history):
            found = history("office.setpoint", hours=1)
            steps = history.steps("office.setpoint", 10, hours=1)
            assert np.array_equal(found.values, np.arange(100_000)), found
            assert np.all(np.diff(found.time_ms) == 1)
            assert steps.counts.sum() == 100_000 and steps.most[-1] == 99_999
            return len(found.values)
        """
    )
    assert (outcome.result, outcome.text) == (Result.WELL, "100000")


async def test_what_is_bad_comes_as_not_available(lab: Lab) -> None:
    lab.hub.publish([METER.bad(NOW_MS)])
    outcome = await lab.run(
        """
        from agent.plugins import plugin
        @plugin(publishes={"a": "", "b": ""})
        def mine(latest, publish, history):
            publish(a=latest("meter.voltage").value)
            return f"{latest('meter.voltage')} {latest('office.setpoint').time_ms}"
        """
    )
    assert "good=False" in outcome.text
    assert outcome.text.endswith(" 0")
    assert [math.isnan(value) for value in lab.published[-1].values] == [True, True]


async def test_a_back_test_sees_only_the_past_and_does_nothing(lab: Lab, tmp_path: Path) -> None:
    await lab.store.commit()
    file = lab.file(NIGHT_LOAD)
    program = Program(file, {"point": "meter.active_power"}, "America/Sao_Paulo", Limits(20, 128))
    history = Onlooker(tmp_path / "readings.db")
    times_ms = [NOW_MS - 24 * HOUR_MS, NOW_MS - 23 * HOUR_MS, NOW_MS - 12 * HOUR_MS, NOW_MS]
    found = [each async for each in replay(program, history, outline(file), times_ms)]
    assert [each.time_ms for each in found] == times_ms
    assert found[0].outcome.text == "too little was measured this night"
    assert [len(each.wishes) for each in found] == [0, 3, 3, 3]
    assert found[1].wishes[0].name == "mean"
    assert lab.published == []
    assert lab.alerts == []


async def test_a_back_test_of_a_rule(lab: Lab, tmp_path: Path) -> None:
    await lab.store.commit()
    file = lab.file(GENTLE_NOON)
    options = {"meter": "meter.active_power", "setpoint": "office.setpoint", "limit_w": 1029.0}
    program = Program(file, options, "America/Sao_Paulo", Limits(20, 128))
    history = Onlooker(tmp_path / "readings.db")
    times_ms = [NOW_MS - HOUR_MS + at * 60_000 for at in range(60)]
    runs = [each async for each in replay(program, history, outline(file), times_ms)]
    wishes = [each.wishes[0].value for each in runs]
    assert wishes == [24.0, *[23.0] * 30, *[24.0] * 29]  # each sees the minute before it
    assert not lab.dispatch.commands


async def test_a_back_test_ends_at_a_run_that_has_to_be_stopped(lab: Lab, tmp_path: Path) -> None:
    await lab.store.commit()
    file = lab.file(
        "from agent.plugins import plugin\n@plugin()\ndef mine(now):\n    while now.time_ms: pass\n"
    )
    program = Program(file, {}, "UTC", Limits(1.0, 64))
    history = Onlooker(tmp_path / "readings.db")
    (run,) = [each async for each in replay(program, history, outline(file), [1000, 2000])]
    assert (run.time_ms, run.outcome.result) == (1000, Result.TIMED_OUT)


def test_the_outline_is_read_without_running_the_file(tmp_path: Path) -> None:
    file = tmp_path / "night.py"
    file.write_text("raise SystemExit('it was run')\n" + NIGHT_LOAD)
    found = outline(file)
    assert (found.function, found.uses) == ("night_load", ("history", "publish", "alarm"))
    assert found.publishes == {"mean": "W", "least": "W"}
    assert found.options == {"point": "main-meter.active_power", "hours": 3.0, "limit_w": 500.0}
    assert found.words == "The load of the night that has just ended."


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def f(:", "line 1: expected Python"),
        ("def f(): pass", "expected one function with @plugin(...), found 0"),
        ("@plugin()\ndef f(): pass\n@plugin()\ndef g(): pass", "found 2"),
        ("@plugin\ndef f(): pass", "with brackets"),
        ("@plugin()\nasync def f(): pass", "found `async def`"),
        ("@plugin()\ndef f(historie): pass", "did you mean 'history'?"),
        ("@plugin()\ndef f(limit): pass", "limit: expected a default"),
        ("@plugin()\ndef f(limit=None): pass", "expected a number, a text"),
        ("@plugin()\ndef f(*rest): pass", "found * or /"),
        ("@plugin(publish={})\ndef f(): pass", "expected publishes and alarms, found publish"),
        ("@plugin(publishes=UNITS)\ndef f(): pass", "expected a literal"),
        ("@plugin(publishes={'A b': 'W'})\ndef f(): pass", "publishes: expected"),
        ("@plugin(alarms={'high': 'text'})\ndef f(): pass", "alarms: expected"),
        ("\0", "expected Python"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, source: str, text: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(FaultyFile) as error:
        outline(file)
    assert text in str(error.value)


def test_the_configurations_of_the_documentation_fit_its_files() -> None:
    for source, toml in zip(
        (NIGHT_LOAD, GENTLE_NOON), re.findall(r"```toml\n(.*?)```", DOCS, flags=re.DOTALL), strict=False
    ):
        (table,) = tomllib.loads(toml)["plugin"]
        assert f"def {table['file'].removesuffix('.py')}(" in source
