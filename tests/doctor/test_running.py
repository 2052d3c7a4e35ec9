"""What an agent says about itself, judged."""

from __future__ import annotations

from typing import Any

import pytest

from agent.doctor import Level
from agent.doctor.running import agent

WELL: dict[str, Any] = {
    "reasons": [],
    "uptime_s": 7200,
    "values_per_s": 20.0,
    "lines": [{"name": "meters", "failing": False, "counters": {"requests": 5}}],
    "uplinks": [{"name": "center", "connected": True, "backlog": 3}],
    "store": {"discarded_unsent": 0},
}


def levels(status: dict[str, Any] | None, *, running: bool = True) -> list[Level]:
    return [finding.level for finding in agent(status, running=running)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [Level.WELL, Level.WELL, Level.WELL]),
        ({"reasons": ["the store cannot commit"]}, [Level.FAULT, Level.WELL, Level.WELL]),
        ({"lines": [{"name": "m", "failing": True}]}, [Level.WELL, Level.FAULT, Level.WELL]),
        ({"uplinks": [{"name": "c", "connected": False}]}, [Level.WELL, Level.WELL, Level.FAULT]),
        (
            {"uplinks": [{"name": "c", "connected": True, "backlog": 10**6}]},
            [Level.WELL, Level.WELL, Level.WARNING],
        ),
        (
            {"uptime_s": 3, "uplinks": [{"name": "c", "connected": False}]},
            [Level.WELL, Level.WELL, Level.WARNING],
        ),
        ({"store": {"discarded_unsent": 4}}, [Level.WELL, Level.WELL, Level.WELL, Level.WARNING]),
    ],
)
def test_each_trouble_is_a_finding_with_a_way_out(change: dict[str, Any], expected: list[Level]) -> None:
    findings = list(agent({**WELL, **change}, running=True))
    assert [finding.level for finding in findings] == expected
    assert all(finding.way_out for finding in findings if finding.level in (Level.FAULT, Level.WARNING))


def test_it_does_not_run_or_not_as_a_service() -> None:
    assert levels(None, running=False) == [Level.FAULT]
    assert levels(None) == [Level.WARNING]
