from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from agent.schema import FaultyFile
from agent.tariff import BUILT_IN, known, load
from agent.tariff.options import TaxOptions
from agent.tariff.tariff import with_taxes
from tests.tariff.files import AZUL, BRANCA, FLAT, VERDE, at, tariff


@pytest.mark.parametrize("tariff_id", known())
def test_what_is_built_in_is_marked_as_an_example(tariff_id: str) -> None:
    found = load(tariff_id)
    assert found.file.example
    assert found.covers(at(2026, 1, 1))
    assert not found.covers(at(2024, 12, 31, 23))


def test_the_users_own_file_wins(tmp_path: Path) -> None:
    (tmp_path / "exemplo-verde.toml").write_text(VERDE)
    (tmp_path / "mine.toml").write_text(FLAT)
    assert load("exemplo-verde", (tmp_path,)).file.label == "test"
    assert known((tmp_path,)) == tuple(sorted({*known(), "mine"}))


def test_an_unknown_id_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(FaultyFile, match="known: exemplo-azul, exemplo-branca"):
        load("exemplo-rosa", (tmp_path,))
    with pytest.raises(FaultyFile, match="no tariff of this id"):
        load("../tariffs/exemplo-verde", (tmp_path,))


def test_flags_are_no_tariff() -> None:
    assert (BUILT_IN / "flags.toml").is_file()
    with pytest.raises(FaultyFile, match="no tariff of this id"):
        load("flags")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (BRANCA.replace('"18:00"', '"18:10"'), "posts.peak.*quarter of an hour like"),
        (BRANCA.replace('"21:00"]\n', '"24:15"]\n'), "quarter of an hour"),
        (BRANCA.replace('["17:00", "18:00"]', '["17:00", "18:30"]'), "do not overlap"),
        (BRANCA.replace('peak = ["18:00", "21:00"]', 'peak = ["21:00", "18:00"]'), "end after they begin"),
        (BRANCA.replace("energy.intermediate", "# "), "energy.intermediate: branca needs it"),
        (FLAT + 'posts.peak = ["18:00", "21:00"]', "posts: convencional has none"),
        (VERDE.replace("demand_kw = 100.0", ""), "contract.0..demand_kw: verde needs it"),
        (VERDE[: VERDE.index("[[contract]]")], "contract: verde needs demand_kw"),
        (VERDE.replace("demand.single", "demand.peak"), "demand.single_brl_kw: verde needs it"),
        (AZUL.replace("demand.peak_brl_kw = 50.0", ""), "demand.peak_brl_kw: azul needs it"),
        (FLAT + "reactive.energy_brl_kwh = 0.3", "reactive: convencional has none"),
        (FLAT.replace("2017-01-01", '"2017-01-01"'), "version.0..valid_from"),
        (FLAT.replace("flags = false", 'flags = false\ntimezone = "America/Braslia"'), "time zone like"),
        (FLAT.replace("flags = false", 'flags = false\nholidays.state = "XX"'), "expected a state like"),
        (FLAT + "[[tax]]\nvalid_from = 2025-01-01\nicms = 18", "tax.0..icms"),
        (FLAT + "[[tax]]\nvalid_from = 2025-01-01\nicms = 0.6\npis = 0.4", "below 1 in all"),
        (FLAT + "[[tax]]\nvalid_from = 2025-02-01\n[[tax]]\nvalid_from = 2025-01-01", "order of valid_from"),
        (FLAT.replace("te_brl_kwh", "te_brl_kw"), "did you mean 'te_brl_kwh'"),
    ],
)
def test_faults_say_where_and_what(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(FaultyFile, match=fault):
        tariff(text, tmp_path)


@pytest.mark.parametrize(
    ("method", "icms", "expected"),
    [
        ("none", True, 1.0),
        ("together", True, 1 / 0.75),
        ("together", False, 1 / 0.93),
        ("chained", True, 1 / (0.82 * 0.93)),
        ("chained", False, 1 / 0.93),
    ],
)
def test_taxes_are_inside_the_price(method: str, icms: bool, expected: float) -> None:
    tax = TaxOptions.model_validate(
        {"valid_from": date(2025, 1, 1), "method": method, "icms": 0.18, "pis": 0.01, "cofins": 0.06}
    )
    assert with_taxes(1.0, tax, icms=icms) == pytest.approx(expected)
