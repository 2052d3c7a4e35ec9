"""From polled readings to a bill, as a report will do it: aggregate, put on the grid, use, bill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.analysis.power_quality.aggregate import DEMAND_MS, Intervals, aggregate, close, joined, on_grid
from agent.localtime import month_ms
from agent.tariff.bill import bill
from agent.tariff.usage import usage
from tests.tariff.files import SAO_PAULO, VERDE, at, tariff


def quarters_of(times_ms: np.ndarray, values: np.ndarray, chunk: int) -> Intervals:
    state, parts = None, []
    for begin in range(0, times_ms.size, chunk):
        state, closed = aggregate(
            state, times_ms[begin : begin + chunk], values[begin : begin + chunk], DEMAND_MS
        )
        parts.append(closed)
    assert state is not None
    return joined([*parts, close(state)])


@pytest.mark.parametrize(
    ("year", "month", "hours", "peak_hours"),
    [(2026, 3, 744, 66), (2018, 2, 28 * 24 + 1, 19 * 3)],  # 2018-02: the clock went back; Carnival
)
def test_a_month_of_80_kw_and_one_busy_quarter(
    year: int, month: int, hours: int, peak_hours: int, tmp_path: Path
) -> None:
    verde = tariff(VERDE, tmp_path)
    from_ms, to_ms = month_ms(year, month, SAO_PAULO)
    times_ms = np.arange(from_ms, to_ms, 60_000, dtype=np.int64)
    power_kw = np.full((times_ms.size, 1), 80.0)
    busy = at(year, month, 20, 10)
    power_kw[(times_ms >= busy) & (times_ms < busy + DEMAND_MS)] = 120.0
    lost = (times_ms >= busy + 2 * DEMAND_MS) & (times_ms < busy + 6 * DEMAND_MS)
    found = quarters_of(times_ms[~lost], power_kw[~lost], 1000)
    grid = on_grid(found.start_ms, found.mean[:, 0], from_ms, to_ms, DEMAND_MS)
    items = {(item.code, item.part): item.quantity for item in bill(verde, usage(verde, from_ms, grid)).items}
    assert grid.size == hours * 4
    assert items["energy", "peak"] == peak_hours * 80
    assert items["energy", "off_peak"] == (hours - peak_hours - 1) * 80 + 10
    assert items["demand", "all"] == 120
    assert items["overshoot", "all"] == 20
    assert bill(verde, usage(verde, from_ms, grid)).notes == ("missing_hours:1",)
