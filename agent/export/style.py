"""How a CSV looks (RFC 4180), and its first line.

With a decimal comma cells are separated by semicolons, as spreadsheets of such countries expect.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import NamedTuple


class Style(NamedTuple):
    """`layout`: "long" or "wide". `zone` "": UTC."""

    layout: str = "long"
    zone: str = ""
    comma: bool = False

    @property
    def separator(self) -> str:
        return ";" if self.comma else ","


def long_header(style: Style, sixth: str = "quality") -> bytes:
    """Of one value a line."""
    return line(("time", "device", "point", "value", "unit", sixth, "time_ms"), style)


def wide_header(style: Style, points: Iterable[tuple[str, str]]) -> bytes:
    """Of `points`: id and unit of each."""
    names = (f"{name} [{unit}]" if unit else name for name, unit in points)
    return line(("time", *names), style)


def line(cells: Iterable[str], style: Style) -> bytes:
    """One line, quoted where it has to be."""
    out = io.StringIO()
    csv.writer(out, delimiter=style.separator).writerow(cells)
    return out.getvalue().encode()
