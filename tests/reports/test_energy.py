"""A month from a real store: energy by post against sums of our own, the counter through a reset, days of 25
and 23 hours, an open month."""

from __future__ import annotations

import math
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from agent.analysis.meters import meters
from agent.localtime import Floats, Ints
from agent.reports.energy import COUNTED, MISSING, SPREAD, Energy, Price, energy
from agent.reports.power_quality import NoReadings
from agent.store.onlooker import Onlooker
from agent.tariff import load
from tests.reports.places import SAO_PAULO, Shape, fast_values, fill, load_kw, ms

VERDE, FLAT = Price(load("exemplo-verde"), 0.9), Price(None, 0.9)
PLAIN: Shape = lambda times, fast, slow: None  # noqa: E731


async def month(
    folder: Path,
    which: tuple[int, int],
    begin: int,
    end: int,
    *,
    price: Price = FLAT,
    shape: Shape = PLAIN,
    lost: tuple[tuple[int, int], ...] = (),
    now_ms: int = ms(2027, 1, 1),
    zone: ZoneInfo = SAO_PAULO,
) -> Energy:
    await fill(folder / "readings.db", begin, end, every_s=300, shape=shape, lost=lost)
    history = Onlooker(folder / "readings.db")
    return await energy(history, meters(history.groups)["main-meter"], which, price, zone, now_ms=now_ms)


async def test_energy_by_post_demand_and_bill(tmp_path: Path) -> None:
    begin, end = ms(2026, 11, 1), ms(2026, 12, 1)
    found = await month(tmp_path, (2026, 11), begin, end, price=VERDE)
    times = np.arange(begin, end, 300_000, dtype=np.int64)
    power_kw = fast_values(times)[:, 12] / 1000
    quarters = power_kw.reshape(-1, 3).mean(axis=1)
    off_peak = peak = 0.0
    for at, kw in enumerate(quarters.tolist()):  # peak: 18 to 21 h of working days
        local_h = at / 4 % 24
        day = at // 96 + 1
        working = (day - 1) % 7 not in (0, 6) and day not in (2, 15, 20)  # the 1st is a Sunday
        if working and 18 <= local_h < 21:
            peak += kw / 4
        else:
            off_peak += kw / 4
    assert found.month.daily_kwh.sum(axis=0) == pytest.approx([off_peak, 0.0, peak], rel=1e-9)
    assert found.month.demand.peak_kw == pytest.approx(quarters.max())
    assert found.month.demand.load_factor == pytest.approx(quarters.mean() / quarters.max())
    items = {(item.code, item.part): item for item in found.month.bill.items}
    assert items["energy", "peak"].quantity == pytest.approx(peak)
    taxed = (0.19 + 0.28) / ((1 - 0.18) * (1 - 0.0107 - 0.0493))
    assert items["energy", "off_peak"].amount_brl == pytest.approx(off_peak * taxed)
    assert items["unused_demand", "all"].quantity == pytest.approx(120 - quarters.max())
    assert found.before is None
    assert not found.is_open


async def test_a_gap_takes_what_the_counter_says_and_a_reset_is_followed(tmp_path: Path) -> None:
    begin, end = ms(2026, 11, 1), ms(2026, 11, 8)
    gap = (ms(2026, 11, 3, 10), ms(2026, 11, 3, 12))

    def reset(times: Ints, fast: Floats, slow: Floats) -> None:
        fast[(times >= gap[0]) & (times < gap[1]), 12] = math.nan  # the counter goes on
        at = int(np.flatnonzero(slow[:, 0] > slow[-1, 0] - 100)[0])
        slow[at:, 0] -= slow[at, 0]  # begins again at zero

    found = await month(tmp_path, (2026, 11), begin, end, shape=reset, now_ms=end)
    quarters = found.month.quarters
    inside = (quarters.start_ms >= gap[0]) & (quarters.start_ms < gap[1])
    assert set(quarters.source[inside].tolist()) == {COUNTED}
    expected_kw = load_kw(np.arange(*gap, 60_000, dtype=np.int64)).mean()
    assert quarters.power_kw[inside].mean() == pytest.approx(expected_kw, rel=0.02)
    assert len(found.resets_ms) == 1
    assert found.import_kwh == pytest.approx(found.month.energy_kwh, rel=0.02)
    assert found.is_open


async def test_what_neither_power_nor_counter_knows_is_missing(tmp_path: Path) -> None:
    begin, end = ms(2026, 11, 1), ms(2026, 11, 8)
    lost = (ms(2026, 11, 3), ms(2026, 11, 4))
    found = await month(tmp_path, (2026, 11), begin, end, lost=(lost,))
    sources = found.month.quarters.source
    assert (sources == SPREAD).sum() == 96  # the counter spans the day
    assert (sources == MISSING).sum() == (30 - 7) * 96
    assert found.month.missing_h == pytest.approx(23 * 24, abs=0.5)


@pytest.mark.parametrize(("which", "hours"), [((2018, 2), 28 * 24 + 1), ((2018, 11), 30 * 24 - 1)])
async def test_a_month_with_a_changed_clock(tmp_path: Path, which: tuple[int, int], hours: int) -> None:
    end = ms(*((which[0], which[1] + 1, 1)))
    found = await month(tmp_path, which, ms(*which, 1), end)
    assert found.month.quarters.power_kw.size == hours * 4
    assert found.heat_kw.shape[0] == 24
    assert np.isnan(found.heat_kw).sum() == (1 if which == (2018, 11) else 0)  # the hour that was skipped
    assert found.month.missing_h == 0


async def test_an_open_month_is_foretold_from_the_one_before(tmp_path: Path) -> None:
    now = ms(2026, 11, 16, 10)
    found = await month(tmp_path, (2026, 11), ms(2026, 10, 1), now, price=VERDE, now_ms=now)
    assert found.is_open
    assert found.before is not None
    assert found.before.until_ms - found.before.from_ms == found.month.until_ms - found.month.from_ms
    assert found.ahead is not None
    whole = found.month.energy_kwh / (15 + 10 / 24) * 30
    assert found.ahead.energy_kwh == pytest.approx(whole, rel=0.1)
    assert found.ahead.bill.total_brl > found.month.bill.total_brl


async def test_a_month_without_readings_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(NoReadings, match="of this month"):
        await month(tmp_path, (2026, 11), ms(2026, 10, 1), ms(2026, 10, 2))
