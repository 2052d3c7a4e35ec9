"""Names, what is listed, what goes; no name leads out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.reports.shelf import Shelf, name_of

WEEK = "power-quality_main-meter_2026-11-09_2026-11-16_pt-BR"


def shelf(folder: Path, **limits: int) -> Shelf:
    return Shelf(folder / "reports", **({"count_max": 100, "size_max_mb": 10} | limits))


def test_what_is_put_is_listed_by_what_it_is_of(tmp_path: Path) -> None:
    kept = shelf(tmp_path)
    assert kept.all() == []
    kept.put(WEEK, {"html": b"<p>", "csv": b"a"})
    kept.put("energy_a_b_2026-11_en", {"html": b"x"})
    found = {each.name: each for each in kept.all()}
    page = found[f"{WEEK}.html"]
    assert (page.kind, page.subject, page.begin, page.end) == (
        "power-quality", "main-meter", "2026-11-09", "2026-11-16",
    )  # fmt: skip
    assert (page.language, page.format, page.size_bytes) == ("pt-BR", "html", 3)
    assert found["energy_a_b_2026-11_en.html"].subject == "a_b"
    assert found["energy_a_b_2026-11_en.html"].end == ""


@pytest.mark.parametrize(
    "name",
    ["../readings.db", f"../reports/{WEEK}.html", f"{WEEK}.html/..", "/etc/passwd", "", ".draft-x",
     f"{WEEK}.html\n", f"{WEEK}.HTML", "energy_../x_2026-11_en.html", f"{WEEK}.html\x00"],
)  # fmt: skip
def test_no_name_leads_out(tmp_path: Path, name: str) -> None:
    kept = shelf(tmp_path)
    kept.put(WEEK, {"html": b"<p>"})
    assert kept.find(name) is None
    assert not kept.remove(name)


def test_a_link_is_no_report(tmp_path: Path) -> None:
    kept = shelf(tmp_path)
    kept.put(WEEK, {"html": b"<p>"})
    secret = tmp_path / "secret"
    secret.write_text("s")
    (kept.folder / "energy_a_2026-11_en.html").symlink_to(secret)
    assert kept.find("energy_a_2026-11_en.html") is None
    assert len(kept.all()) == 1


def test_the_oldest_go_beyond_the_limits_and_never_the_new_ones(tmp_path: Path) -> None:
    kept = shelf(tmp_path, count_max=3)
    for month in range(1, 6):
        (path,) = kept.put(f"energy_a_2026-0{month}_en", {"html": b"x"})
        os.utime(path, (month, month))
    assert [each.begin for each in kept.all()] == ["2026-05", "2026-04", "2026-03"]
    small = shelf(tmp_path, size_max_mb=1)
    small.put(WEEK, {"html": b"x" * 2_000_000})
    assert [each.name for each in small.all()] == [f"{WEEK}.html"]
    (small.folder / "notes.txt").write_text("mine")
    small.put(WEEK, {"html": b"y"})
    assert (small.folder / "notes.txt").exists()


def test_a_name_that_would_not_be_found_again_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a name"):
        name_of("energy", "../x", "2026-11", "", "en")
