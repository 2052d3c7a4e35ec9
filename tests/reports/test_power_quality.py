"""A week from a real store: its figures against a computation of our own, gaps, events, what is lacking."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from agent.analysis.meters import meters
from agent.analysis.power_quality.limits import limits_on
from agent.localtime import Floats, Ints
from agent.reports.power_quality import NoReadings, PowerQuality, power_quality
from agent.reports.power_quality_page import power_quality_page
from agent.reports.words import Words
from agent.store.onlooker import Onlooker
from tests.reports.places import SAO_PAULO, fast_values, fill, ms

BEGIN, END = ms(2026, 11, 9), ms(2026, 11, 16)
LIMITS = limits_on(date(2026, 11, 9))
TEN_MS = 600_000
SAG, HIGH = ms(2026, 11, 10, 15, 22), ms(2026, 11, 12, 19)
LOST = (ms(2026, 11, 12, 2), ms(2026, 11, 12, 5, 30))


def shape(times: Ints, fast: Floats, slow: Floats) -> None:
    """Five hours of high voltage, and a sag of two minutes."""
    fast[(times >= HIGH) & (times < HIGH + 5 * 3_600_000), :3] += 7.5
    fast[(times >= SAG) & (times < SAG + 120_000), :3] *= 0.74


async def week(
    folder: Path, *, until: int = ms(2026, 11, 17), nominal_v: float | None = 127.0
) -> PowerQuality:
    await fill(folder / "readings.db", BEGIN, until, shape=shape, lost=[LOST])
    history = Onlooker(folder / "readings.db")
    meter = meters(history.groups)["main-meter"]
    return await power_quality(
        history, meter, (BEGIN, END), LIMITS, nominal_v=nominal_v, now_ms=ms(2026, 11, 28)
    )


def by_hand() -> dict[int, list[float]]:
    """The root mean square of each phase in each whole 10 minutes that the sag did not touch, plainly."""
    times = np.arange(BEGIN, ms(2026, 11, 17), 60_000, dtype=np.int64)
    fast = fast_values(times)
    shape(times, fast, fast)
    found: dict[int, list[list[float]]] = defaultdict(list)
    for time_ms, row in zip(times.tolist(), fast[:, :3].tolist(), strict=True):
        if not LOST[0] <= time_ms < LOST[1]:
            found[time_ms // TEN_MS * TEN_MS].append(row)
    return {
        start: [math.sqrt(sum(row[k] ** 2 for row in rows) / len(rows)) for k in range(3)]
        for start, rows in sorted(found.items())
        if len(rows) == 10 and start != SAG // TEN_MS * TEN_MS
    }


async def test_the_indices_are_those_of_a_plain_computation(tmp_path: Path) -> None:
    found = await week(tmp_path)
    window = list(by_hand().items())[:1008]
    critical = [sum(volts[k] < 110 or volts[k] > 135 for _, volts in window) for k in range(3)]
    precarious = [
        sum(110 <= volts[k] < 117 or 133 < volts[k] <= 135 for _, volts in window) for k in range(3)
    ]
    assert found.voltage.complete
    assert found.voltage.critical == tuple(critical)
    assert found.voltage.precarious == tuple(precarious)
    assert max(critical) >= 25
    assert found.voltage.drc_percent == pytest.approx(100 * max(critical) / 1008)
    assert found.voltage.to_ms == window[-1][0] + TEN_MS > END  # 21 missing and 1 expurgated were replaced
    assert found.to_ms == found.voltage.to_ms


async def test_fd95_is_that_of_a_plain_computation(tmp_path: Path) -> None:
    found = await week(tmp_path)
    a = complex(-0.5, math.sqrt(3) / 2)
    values = []
    for _, (v1, v2, v3) in list(by_hand().items())[:1008]:
        phasors = v1, v2 * a**2, v3 * a
        positive = phasors[0] + a * phasors[1] + a**2 * phasors[2]
        negative = phasors[0] + a**2 * phasors[1] + a * phasors[2]
        values.append(100 * abs(negative) / abs(positive))
    assert found.unbalance is not None
    assert found.unbalance.value == pytest.approx(sorted(values)[957], rel=1e-6)


async def test_what_is_missing_and_what_happened_is_said(tmp_path: Path) -> None:
    found = await week(tmp_path)
    assert [(gap.from_ms, gap.to_ms) for gap in found.gaps] == [LOST]
    assert found.completeness == pytest.approx(1 - 3.5 / 168)
    (event,) = [each for each in found.events if each.kind == "sag"]
    assert (event.start_ms, event.duration_s) == (SAG, 120.0)
    assert found.expurgated.sum() == 1
    assert found.distortion is not None
    assert found.distortion.total.complete


async def test_a_week_that_cannot_be_made_whole_is_provisional(tmp_path: Path) -> None:
    found = await week(tmp_path, until=END)
    assert found.to_ms == found.asked_to_ms == END
    assert not found.voltage.complete
    assert math.isnan(found.voltage.drp_percent)
    assert found.voltage.readings == 1008 - 21 - 1


async def test_a_nominal_voltage_that_nobody_named_is_guessed_and_said(tmp_path: Path) -> None:
    found = await week(tmp_path, until=BEGIN + 86_400_000, nominal_v=None)
    assert found.nominal_v == 127.0
    assert found.nominal_is_assumed


async def test_what_would_be_owed_is_said_as_a_share_of_the_charge(tmp_path: Path) -> None:
    found = await week(tmp_path)
    words = Words("pt-BR", SAO_PAULO)
    found = replace(found, voltage=replace(found.voltage, drp_percent=3.0, drc_percent=0.5))
    assert "EUSD" not in power_quality_page(found, "site", words).decode()
    found = replace(found, voltage=replace(found.voltage, drp_percent=5.0, drc_percent=1.5))
    page = power_quality_page(found, "site", words).decode()
    assert "deveria 13,0 % do encargo" in page.replace("\xa0", " ").replace("\u202f", " ")


async def test_a_week_without_readings_is_no_report(tmp_path: Path) -> None:
    await fill(tmp_path / "readings.db", BEGIN, BEGIN + 3_600_000)
    history = Onlooker(tmp_path / "readings.db")
    meter = meters(history.groups)["main-meter"]
    with pytest.raises(NoReadings, match="no voltage is stored"):
        await power_quality(history, meter, (END, END + 86_400_000), LIMITS, now_ms=END)
