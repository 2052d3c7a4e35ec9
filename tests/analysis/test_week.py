from __future__ import annotations

import pytest

from bench import analysis_week


def test_a_day_of_two_devices_runs_through_everything(capsys: pytest.CaptureFixture[str]) -> None:
    analysis_week.main(["--devices", "2", "--days", "1"])
    said = capsys.readouterr().out
    assert "3 million values of 2 devices over 1 days" in said
    assert "1 events" in said
