"""A week of a simulated room as a picture: SVG by hand, nothing to install."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, GAP = 1200, 520, 46, 24
UPPER = 340
COLOURS = {"room": "#c0392b", "set point": "#2980b9", "outdoors": "#95a5a6", "power": "#8e44ad"}

Line = tuple[float, float, float, float, float, int]
Scale = Callable[[float], float]
Points = list[tuple[float, float]]


def svg(trace: Sequence[Line], band_c: tuple[float, float], title: str) -> str:
    """Room, set point and outdoor temperature above, power below; `trace` as a `Run` has it."""
    if not trace:
        raise ValueError("trace: expected at least one line, found none")
    first, last = trace[0][0], trace[-1][0]
    temps = [value for row in trace for value in (row[1], row[4])]
    low, high = min(*temps, band_c[0]) - 0.5, max(*temps, band_c[1]) + 0.5
    top_w = max(*(row[3] for row in trace), 1.0)

    def x(day: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * (day - first) / max(last - first, 1e-9)

    def y_temp(temp_c: float) -> float:
        return UPPER - (UPPER - GAP) * (temp_c - low) / (high - low)

    def y_power(power_w: float) -> float:
        return HEIGHT - 20 - (HEIGHT - UPPER - 40) * power_w / top_w

    shade = (
        f'<rect x="{LEFT}" width="{WIDTH - LEFT - 10}" y="{y_temp(band_c[1]):.1f}" '
        f'height="{y_temp(band_c[0]) - y_temp(band_c[1]):.1f}" fill="#eafaf1"/>'
    )
    parts = [shade, *_days(first, last, x), *_marks(low, high, y_temp)]
    parts.append(_path([(x(row[0]), y_temp(row[4])) for row in trace], COLOURS["outdoors"]))
    parts += [_path(run, COLOURS["set point"]) for run in _runs(trace, x, y_temp)]
    parts.append(_path([(x(row[0]), y_temp(row[1])) for row in trace], COLOURS["room"]))
    parts.append(_path([(x(row[0]), y_power(row[3])) for row in trace], COLOURS["power"]))
    parts.append(_text(LEFT, 14, title))
    for at, (name, colour) in enumerate(COLOURS.items()):
        parts.append(_text(WIDTH - 330 + 80 * at, 14, name, colour))
    parts.append(_text(LEFT, UPPER + 16, f"power, up to {top_w:.0f} W"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join((head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>\n"))


def _runs(trace: Sequence[Line], x: Scale, y_temp: Scale) -> Iterator[Points]:
    """The set point where the unit is on, stretch by stretch."""
    run: Points = []
    for row in trace:
        if row[2] == row[2]:
            run.append((x(row[0]), y_temp(row[2])))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _days(first: float, last: float, x: Scale) -> Iterator[str]:
    for day in range(int(first), int(last) + 1):
        yield f'<line x1="{x(day):.1f}" x2="{x(day):.1f}" y1="{GAP}" y2="{HEIGHT - 20}" stroke="#ddd"/>'
        yield _text(x(day) + 4, HEIGHT - 6, f"day {day}")


def _marks(low: float, high: float, y_temp: Scale) -> Iterator[str]:
    for temp_c in range(int(low) + 1, int(high) + 1, 2):
        yield _text(8, y_temp(temp_c) + 4, f"{temp_c} °C")


def _path(points: Sequence[tuple[float, float]], colour: str) -> str:
    where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="1.2"/>'


def _text(x: float, y: float, text: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="{colour}">{escape(text)}</text>'
