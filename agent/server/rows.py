"""Readings as CSV, one value a row (RFC 4180). Pure.

`time,device,point,value,unit,quality,time_ms`: `time` is UTC with milliseconds, `value` the shortest
text that reads back as the very same float64, empty when not available.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

from agent.model import Group, Reading
from agent.server.selection import Selection
from agent.server.times import iso

HEADER = "time,device,point,value,unit,quality,time_ms\r\n"


class Rows:
    """The rows of the chosen points; remembers the constant cells of each group."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._cells: dict[Group, list[tuple[int, str, str]]] = {}

    def width(self, group: Group) -> int:
        """How many rows a reading of `group` makes."""
        return len(self._selection.columns(group))

    def text(self, readings: Iterable[Reading]) -> str:
        """The rows of `readings`, in their order."""
        rows: list[str] = []
        for reading in readings:
            cells = self._cells.get(reading.group) or self._constant(reading.group)
            time, values = iso(reading.time_ms), reading.values
            tail = f",{reading.quality.name.lower()},{reading.time_ms}\r\n"
            rows += [f"{time}{left}{number(values[at])}{right}{tail}" for at, left, right in cells]
        return "".join(rows)

    def _constant(self, group: Group) -> list[tuple[int, str, str]]:
        cells = [
            (
                at,
                f",{_cell(group.device.name)},{_cell(group.points[at].name)},",
                f",{_cell(group.points[at].unit)}",
            )
            for at in self._selection.columns(group)
        ]
        self._cells[group] = cells
        return cells


def number(value: float) -> str:
    """230.0 as "230.0", 0.1 as "0.1", NaN as ""."""
    return repr(float(value)) if math.isfinite(value) else ""


def _cell(text: str) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([text, ""])
    return out.getvalue()[:-1]
