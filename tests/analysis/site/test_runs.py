"""History becomes `analysis.*`: a real store, the real child, figures by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.schedule import Result
from tests.analysis.site.site import BEGIN_MS, DAY_MS, meter_group, site, steady


async def test_a_steady_week_by_hand(tmp_path: Path) -> None:
    group = meter_group()
    async with site(tmp_path, group) as here:
        await here.fill(group, steady, BEGIN_MS, BEGIN_MS + 8 * DAY_MS)
        outcome = await here.run()
        assert outcome.result is Result.WELL, outcome.text
        assert here.value("main_voltage_readings") == 1008
        assert here.value("main_drp") == here.value("main_drc") == 0
        assert here.value("main_voltage_class") == 0
        assert here.value("main_fd95") == pytest.approx(0, abs=1e-6)
        assert here.value("main_demand") == pytest.approx(12)
        assert here.value("main_load_factor_month") == pytest.approx(1)
        assert here.value("main_energy_month") == pytest.approx((8 * 24 - 3) * 12)  # the local month
        assert here.value("main_power_factor_month") == pytest.approx(0.970143, abs=1e-6)  # 12 / hypot(12, 3)
        assert here.value("main_frequency_outside_steady") == 0
