"""A ready ThingsBoard dashboard from the points of a site: live values, energy, power quality, HVAC. Pure.

Rules. The same site gives the same JSON, ids included, or every `sync` would change it. Widgets are those
that ThingsBoard brings itself (3.6 and newer). A chart has at most `LINES_MAX` lines: beyond, a second one.
"""

from __future__ import annotations

import re
import tomllib
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agent.model import Device, Group, Kind, Point

Language = Literal["en", "pt-BR"]
LANGUAGES: tuple[Language, ...] = ("en", "pt-BR")
COLUMNS = 24
LINES_MAX = 12
TABLE_POINTS_MAX = 8
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_SPACE = uuid.UUID("6b0a4f8e-2f0b-4f5e-9a37-6f1b7b0d1c55")
_COLOURS = (
    "#1565c0",
    "#2e7d32",
    "#ef6c00",
    "#6a1b9a",
    "#c62828",
    "#00838f",
    "#9e9d24",
    "#4e342e",
    "#37474f",
    "#ad1457",
    "#283593",
    "#558b2f",
)
_TEXTS = Path(__file__).with_name("texts.toml")
_DECIMALS = {"V": 1, "A": 2, "W": 0, "kW": 2, "kWh": 1, "Hz": 2, "°C": 1, "%": 1, "ppm": 0}

_POWER = re.compile(r"active_power")
_ENERGY = re.compile(r"(reactive_)?energy_(import|export)")
_QUALITY = (
    ("voltage", re.compile(r"voltage(_l[123n])*")),
    ("current", re.compile(r"current(_l[123n])?")),
    ("distortion", re.compile(r"thd_.*|voltage_unbalance|current_unbalance")),
    ("factor", re.compile(r"power_factor(_l[123])?")),
    ("frequency", re.compile(r"frequency")),
)
_HVAC = frozenset({"on", "mode", "fan_speed", "temperature_setpoint"})
_CLIMATE = re.compile(r"temperature(_setpoint)?|humidity|co2")


class _Line(NamedTuple):
    """One point of one device in a widget."""

    device: Device
    point: Point


class _Widget(NamedTuple):
    """`fqn` without "system."; sizes in cells of the grid."""

    key: str
    fqn: str
    type: str
    title: str
    lines: Sequence[_Line]
    width: int
    height: int
    settings: Mapping[str, Any]
    window_ms: int = HOUR_MS
    aggregation: str = "AVG"


def configuration(
    site: str, groups: Iterable[Group], entity: Callable[[str], str], language: Language
) -> dict[str, Any]:
    """The `configuration` of a dashboard. `entity` gives what stands for a device's id."""
    lines = [_Line(group.device, point) for group in groups for point in group.points]
    widgets = list(_widgets(lines, language))
    devices = {line.device.name: line.device for widget in widgets for line in widget.lines}
    return {
        "description": words(language)["description"],
        "widgets": {_id(site, each.key): _widget(site, each, language) for each in widgets},
        "states": {"default": _state(site, widgets)},
        "entityAliases": {
            _id(site, f"alias {name}"): _alias(site, device, entity(name)) for name, device in devices.items()
        },
        "filters": {},
        "timewindow": _window(HOUR_MS, "AVG"),
        "settings": {
            "stateControllerId": "entity",
            "showTitle": False,
            "showDashboardsSelect": True,
            "showEntitiesSelect": False,
            "showDashboardTimewindow": True,
            "showDashboardExport": True,
            "toolbarAlwaysOpen": True,
        },
    }


@cache
def words(language: Language) -> Mapping[str, str]:
    """The titles and the names of points in a language."""
    texts: Mapping[str, str] = tomllib.loads(_TEXTS.read_text(encoding="utf-8"))[language]
    return texts


def label(point: str, language: Language) -> str:
    """A point's name for people: `voltage_l1_l2` is "Voltage L1-L2"."""
    known = words(language)
    if point in known:
        return known[point]
    stem, _, phases = re.match(r"(.*?)((?:_l[123n]|_n)*)$", point).group(1, 0, 2)  # type: ignore[union-attr]
    name = known.get(stem) or stem.replace("_", " ").capitalize()
    return f"{name} {phases.strip('_').upper().replace('_', '-')}" if phases else name


def _widgets(lines: Sequence[_Line], language: Language) -> Iterator[_Widget]:
    text = words(language)
    yield from _tables(lines, text["live"])
    power = [line for line in lines if _POWER.fullmatch(line.point.name)]
    yield from _charts("power", text["power"], power, 24)
    energy = [line for line in lines if _ENERGY.fullmatch(line.point.name)]
    yield from _charts("energy", text["energy"], energy, 24, window_ms=DAY_MS, aggregation="MAX")
    for key, pattern in _QUALITY:
        quality = [line for line in lines if pattern.fullmatch(line.point.name)]
        yield from _charts(key, f"{text['quality']}: {text[key]}", quality, 12)
    climate = [line for line in lines if _CLIMATE.fullmatch(line.point.name)]
    for unit in sorted({line.point.unit for line in climate}):
        yield from _charts(
            f"climate {unit}",
            f"{text['climate']} ({unit})" if unit else text["climate"],
            [line for line in climate if line.point.unit == unit],
            12,
            window_ms=DAY_MS,
        )
    yield from _states(lines, text["hvac"], language)


def _tables(lines: Sequence[_Line], title: str) -> Iterator[_Widget]:
    """The newest values: a card per device."""
    devices = {line.device.name: line.device for line in lines}
    for name, device in devices.items():
        own = [line for line in lines if line.device.name == name]
        own.sort(key=lambda line: bool(re.search(r"_l[123n]", line.point.name)))  # totals before phases
        shown = own[:TABLE_POINTS_MAX]
        settings = {"displayEntityName": False, "displayPagination": False, "enableSearch": False}
        yield _Widget(
            f"live {name}",
            "cards.entities_table",
            "latest",
            f"{title}: {device.label or name}",
            shown,
            12,
            3,
            settings,
        )


def _charts(
    key: str,
    title: str,
    lines: Sequence[_Line],
    width: int,
    *,
    window_ms: int = HOUR_MS,
    aggregation: str = "AVG",
) -> Iterator[_Widget]:
    for at in range(0, len(lines), LINES_MAX):
        number = at // LINES_MAX
        settings = {"showLegend": True, "dataZoom": True, "showTooltip": True}
        yield _Widget(
            f"{key} {number}",
            "time_series_chart",
            "timeseries",
            f"{title} ({number + 1})" if number else title,
            lines[at : at + LINES_MAX],
            width,
            6,
            settings,
            window_ms,
            aggregation,
        )


def _states(lines: Sequence[_Line], title: str, language: Language) -> Iterator[_Widget]:
    """What the air conditioners do: a chart for each point with words, as codes are not shared."""
    known = words(language)
    for line in lines:
        if line.point.kind is not Kind.STATE or line.point.name not in _HVAC:
            continue
        states = [
            {
                "label": known.get(f"state_{text}", text),
                "value": code,
                "sourceType": "constant",
                "sourceValue": code,
            }
            for code, text in sorted(line.point.states.items())
        ]
        settings = {"showLegend": True, "dataZoom": True, "showTooltip": True, "states": states}
        name = line.device.label or line.device.name
        yield _Widget(
            f"state {line.device.name} {line.point.name}",
            "state_chart",
            "timeseries",
            f"{title}: {name}, {label(line.point.name, language).lower()}",
            [line],
            12,
            4,
            settings,
            DAY_MS,
            "NONE",
        )


def _widget(site: str, widget: _Widget, language: Language) -> dict[str, Any]:
    return {
        "typeFullFqn": f"system.{widget.fqn}",
        "type": widget.type,
        "sizeX": widget.width,
        "sizeY": widget.height,
        "row": 0,
        "col": 0,
        "id": _id(site, widget.key),
        "config": {
            "datasources": list(_datasources(site, widget, language)),
            "timewindow": _window(widget.window_ms, widget.aggregation),
            "useDashboardTimewindow": False,
            "displayTimewindow": widget.type == "timeseries",
            "showTitle": True,
            "title": widget.title,
            "dropShadow": True,
            "enableFullscreen": True,
            "backgroundColor": "#fff",
            "color": "rgba(0, 0, 0, 0.87)",
            "padding": "8px",
            "settings": dict(widget.settings),
        },
    }


def _datasources(site: str, widget: _Widget, language: Language) -> Iterator[dict[str, Any]]:
    """A source for each device; lines of several devices carry the device's name."""
    devices = {line.device.name: line.device for line in widget.lines}
    for name, device in devices.items():
        prefix = f"{device.label or name}: " if len(devices) > 1 else ""
        yield {
            "type": "entity",
            "name": "",
            "entityAliasId": _id(site, f"alias {name}"),
            "dataKeys": [
                _data_key(line.point, prefix, _COLOURS[at % len(_COLOURS)], language)
                for at, line in enumerate(widget.lines)
                if line.device.name == name
            ],
        }


def _data_key(point: Point, prefix: str, colour: str, language: Language) -> dict[str, Any]:
    return {
        "name": point.name,
        "type": "timeseries",
        "label": prefix + label(point.name, language),
        "color": colour,
        "units": point.unit,
        "decimals": 0 if point.kind is Kind.STATE else _DECIMALS.get(point.unit, 2),
        "settings": {},
        "_hash": zlib.crc32(f"{prefix}{point.name}".encode()) / 2**32,
    }


def _window(window_ms: int, aggregation: str) -> dict[str, Any]:
    interval_ms = max(1000, window_ms // 360)
    return {
        "selectedTab": 0,
        "realtime": {"realtimeType": 0, "interval": interval_ms, "timewindowMs": window_ms},
        "aggregation": {"type": aggregation, "limit": 25_000},
    }


def _alias(site: str, device: Device, entity_id: str) -> dict[str, Any]:
    return {
        "id": _id(site, f"alias {device.name}"),
        "alias": device.label or device.name,
        "filter": {
            "type": "singleEntity",
            "resolveMultiple": False,
            "singleEntity": {"entityType": "DEVICE", "id": entity_id},
        },
    }


def _state(site: str, widgets: Sequence[_Widget]) -> dict[str, Any]:
    """Where each widget is: rows filled from left to right, in the order of the widgets."""
    placed: dict[str, Any] = {}
    row = col = height = 0
    for widget in widgets:
        if col + widget.width > COLUMNS:
            row, col, height = row + height, 0, 0
        placed[_id(site, widget.key)] = {
            "sizeX": widget.width,
            "sizeY": widget.height,
            "row": row,
            "col": col,
        }
        col, height = col + widget.width, max(height, widget.height)
    grid = {"columns": COLUMNS, "margin": 10, "outerMargin": True, "backgroundColor": "#eeeeee"}
    layouts = {"main": {"widgets": placed, "gridSettings": grid}}
    return {"name": site, "root": True, "layouts": layouts}


def _id(site: str, key: str) -> str:
    return str(uuid.uuid5(_SPACE, f"{site}/{key}"))
