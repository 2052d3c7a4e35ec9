"""The dashboard as JSON: what ThingsBoard's own front end needs to show it."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from agent.centre.dashboard import LANGUAGES, LINES_MAX, Language, configuration, label, words
from agent.model import Device, Group, Kind, Point
from tests.centre.conftest import GROUPS

# Names of ThingsBoard's own widget types, with the kind of data each takes.
WIDGETS = {
    "system.cards.entities_table": "latest",
    "system.time_series_chart": "timeseries",
    "system.state_chart": "timeseries",
}


def made(groups: Any = GROUPS, language: Language = "en") -> dict[str, Any]:
    return configuration("acme", groups, lambda name: f"id of {name}", language)


def widgets(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["config"]["title"]: each for each in board["widgets"].values()}


def test_all_that_a_site_has_is_shown() -> None:
    assert list(widgets(made())) == [
        "Live: Main meter",
        "Live: ac-101",
        "Power",
        "Energy",
        "Power quality: Voltage",
        "Power quality: Frequency",
        "Climate (°C)",
        "Air conditioning: ac-101, on",
    ]


def test_every_reference_leads_somewhere() -> None:
    board = made()
    layout = board["states"]["default"]["layouts"]["main"]["widgets"]
    assert layout.keys() == board["widgets"].keys()
    for key, widget in board["widgets"].items():
        assert widget["id"] == key
        assert WIDGETS[widget["typeFullFqn"]] == widget["type"]
        for source in widget["config"]["datasources"]:
            assert source["entityAliasId"] in board["entityAliases"]
            assert source["dataKeys"]
    aliases = board["entityAliases"].values()
    assert {each["filter"]["singleEntity"]["id"] for each in aliases} == {"id of main-meter", "id of ac-101"}


def test_widgets_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for place in made()["states"]["default"]["layouts"]["main"]["widgets"].values():
        cells = {
            (row, col)
            for row in range(place["row"], place["row"] + place["sizeY"])
            for col in range(place["col"], place["col"] + place["sizeX"])
        }
        assert not cells & taken
        assert max(col for _, col in cells) < 24
        taken |= cells


def test_keys_have_units_and_labels_of_the_language() -> None:
    (source,) = widgets(made(language="pt-BR"))["Potência"]["config"]["datasources"]
    (key,) = source["dataKeys"]
    assert (key["name"], key["label"], key["units"], key["decimals"]) == (
        "active_power",
        "Potência ativa",
        "W",
        0,
    )


def test_states_have_words() -> None:
    chart = widgets(made(language="pt-BR"))["Ar-condicionado: ac-101, ligado"]
    states = chart["config"]["settings"]["states"]
    assert [(each["sourceValue"], each["label"]) for each in states] == [(0, "desligado"), (1, "ligado")]


def test_the_same_site_gives_the_same_bytes() -> None:
    assert orjson.dumps(made()) == orjson.dumps(made())


def test_a_hundred_meters_make_more_charts_not_longer_ones() -> None:
    groups = [
        Group(Device(f"m{at}", "t"), "g", (Point("active_power", "W"), Point("x", kind=Kind.STATE)), 1000)
        for at in range(100)
    ]
    board = made(groups)
    charts = [each for each in board["widgets"].values() if each["typeFullFqn"] == "system.time_series_chart"]
    assert len(charts) == -(-100 // LINES_MAX)
    assert all(sum(len(s["dataKeys"]) for s in each["config"]["datasources"]) <= LINES_MAX for each in charts)
    assert "Power (2)" in widgets(board)


def test_a_site_without_points_has_an_empty_dashboard() -> None:
    assert made(())["widgets"] == {}


@pytest.mark.parametrize(
    ("point", "english", "portuguese"),
    [
        ("voltage_l1", "Voltage L1", "Tensão L1"),
        ("voltage_l1_l2", "Voltage L1-L2", "Tensão L1-L2"),
        ("current_n", "Current N", "Corrente N"),
        ("thd_voltage_l3", "Voltage THD L3", "DHT de tensão L3"),
        ("something_new", "Something new", "Something new"),
    ],
)
def test_labels(point: str, english: str, portuguese: str) -> None:
    assert (label(point, "en"), label(point, "pt-BR")) == (english, portuguese)


def test_every_built_in_point_has_a_portuguese_name() -> None:
    from agent.drivers.profile import BUILT_IN

    text = "".join(file.read_text(encoding="utf-8") for file in BUILT_IN.glob("*.toml"))
    names = set(re.findall(r'\{ name = "([a-z0-9_]+)"', text))
    stems = {re.sub(r"((_l[123n])+|_n)$", "", name) for name in names}
    assert len(stems) > 10
    assert not {stem for stem in stems if stem not in words("pt-BR")}
    assert all(words(each).keys() >= {"live", "power", "energy", "quality", "hvac"} for each in LANGUAGES)
