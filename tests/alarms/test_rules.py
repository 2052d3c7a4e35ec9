"""What a person writes wrong about an alarm."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from agent.alarms import AlarmsOptions
from agent.alarms.rules import LimitRule, rule_faults
from agent.schema import FaultyFile, Options, validate
from tests.alarms.site import HIGH, rules

POINTS = {"meter": ["voltage", "mode"], "room": ["temperature"]}


class File(Options):
    alarms: AlarmsOptions = AlarmsOptions()
    alarm: list[LimitRule] = Field(default_factory=list)


def said(**table: Any) -> str:
    with pytest.raises(FaultyFile) as faulty:
        validate(File, {"alarm": [{"name": "a", **HIGH, **table}]}, "c.toml")
    return str(faulty.value)


def test_words_for_what_is_wrong() -> None:
    assert said(high=None, kind="limit").endswith("expected at least one of high_high, high, low, low_low")
    assert "low_low < low < high < high_high" in said(low=240.0)
    assert "low_low < low < high < high_high" in said(high_high=230.0)
    assert "did you mean 'hysteresis'?" in said(histeresis=1.0)
    assert "priority" in said(priority="urgent")
    assert "point" in said(point="meter")
    assert "on_delay_s" in said(on_delay_s=-1.0)
    assert "finite" in said(high=float("nan"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {**HIGH, "point": "meter.volts"},
            "expected a point of device meter, found 'volts'; known: mode, voltage",
        ),
        (
            {**HIGH, "point": "metre.voltage"},
            "expected a point of a device of this file, found 'metre.voltage'",
        ),
        ({**HIGH, "suppressed_by": ["nothing"]}, "expected the id of another alarm, found 'nothing'"),
        ({**HIGH, "suppressed_by": ["r0.high"]}, "another alarm than itself"),
        ({**HIGH, "name": "twin"}, "expected each alarm once, 'twin' is also alarm[0]"),
        ({"kind": "expression", "when": "meter.voltage > room.hum"}, "found 'hum'"),
    ],
)
def test_words_for_what_does_not_fit_together(table: dict[str, Any], words: str) -> None:
    given = rules({**table}, *([table] if table.get("name") == "twin" else []))
    faults = list(rule_faults(given, POINTS))
    assert len(faults) == 1
    assert words in faults[0][1]


def test_the_agents_own_points_and_alarms_may_be_named() -> None:
    given = rules({**HIGH, "point": "agent.backlog", "suppressed_by": ["agent.line.rs485"]})
    assert not list(rule_faults(given, POINTS))
