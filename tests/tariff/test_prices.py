from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.tariff.demand import demand_terms
from agent.tariff.prices import prices
from tests.tariff.files import BRANCA, FLAT, at, tariff

FLAGS = """
[[price]]
valid_from = 2020-01-01
yellow = 2.0
red_1 = 4.0
red_2 = 8.0
[month]
2026-03 = "red_2"
2026-04 = "green"
"""
TAX = """
[[tax]]
valid_from = 2020-01-01
icms = 0.2
pis = 0.02
cofins = 0.08
[[tax]]
valid_from = 2026-04-01
method = "together"
icms = 0.4
pis = 0.02
cofins = 0.08
"""


def test_a_day_of_quarters(tmp_path: Path) -> None:
    found = prices(tariff(BRANCA, tmp_path), at(2026, 3, 11), 96, 900)
    assert found.tolist() == [0.5] * 68 + [1.5] * 4 + [3.0] * 12 + [1.5] * 4 + [0.5] * 8


def test_hours_and_other_steps(tmp_path: Path) -> None:
    branca = tariff(BRANCA, tmp_path)
    assert prices(branca, at(2026, 3, 11, 16, 30), 2, 3600).tolist() == [1.0, 2.25]
    assert prices(branca, at(2026, 3, 11, 17, 59), 2, 60).tolist() == [1.5, 3.0]
    assert prices(branca, at(2026, 3, 11, 17), 1, 10 * 60).tolist() == [1.5]


def test_a_day_of_25_hours_has_100_quarters(tmp_path: Path) -> None:
    found = prices(tariff(BRANCA, tmp_path), at(2018, 2, 16, 12), 4 * 60, 900)
    assert np.count_nonzero(found == 3.0) == 12  # Friday's peak only, wherever midnight is


def test_flag_and_taxes_come_on_top(tmp_path: Path) -> None:
    (tmp_path / "flags.toml").write_text(FLAGS)
    flat = tariff(FLAT.replace("flags = false", "flags = true") + TAX, tmp_path)
    across = prices(flat, at(2026, 3, 31, 23), 2, 3600)
    assert across == pytest.approx([(0.7 + 0.08) / (0.8 * 0.9), 0.7 / (1 - 0.4 - 0.1)])


def test_a_month_without_a_flag_takes_the_tariffs_word(tmp_path: Path) -> None:
    (tmp_path / "flags.toml").write_text(FLAGS)
    text = FLAT.replace("flags = false", 'flags = true\nflag_when_unknown = "yellow"')
    assert prices(tariff(text, tmp_path), at(2026, 5, 1), 1, 900) == pytest.approx([0.72])


def test_a_clock_in_1970_still_has_prices(tmp_path: Path) -> None:
    assert prices(tariff(BRANCA, tmp_path), 0, 5, 900).tolist() == [1.5] * 4 + [0.5]  # 21 h there


@pytest.mark.parametrize(("steps", "step_s"), [(0, 900), (1_000_001, 900), (96, 0)])
def test_impossible_steps(steps: int, step_s: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 1 to 1000000 steps"):
        prices(tariff(BRANCA, tmp_path), 0, steps, step_s)
    with pytest.raises(ValueError, match="expected 1 to 1000000 steps"):
        demand_terms(tariff(BRANCA, tmp_path), 0, steps, step_s)
