"""Figures as inline SVG: curves over time with bands, bars by day, a heat map, a bar of shares. Pure.

A figure is 760 wide in its own units, whatever it is shown at. Colours are told apart by people who see few
of them (after Okabe and Ito), and never say alone what a word beside them does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agent.localtime import DAY_MS, Floats, Ints, date_of, local_ms, midnight_ms
from agent.reports.markup import Html, joined, tag
from agent.reports.words import Words

WIDTH = 760.0
PHASE_COLOURS = ("#0072b2", "#d55e00", "#009e73")
POST_COLOURS = ("#8fb8de", "#e6a835", "#b5442e")  # off-peak, intermediate, peak
TICKS_X_MAX = 10
_HEAT = ((247, 250, 253), (158, 197, 226), (38, 111, 171), (8, 40, 84))
UNKNOWN = "#e4e4e0"


class Curve(NamedTuple):
    """`values` (n,) at `times_ms` (n,), one a `step_ms`; NaN and holes break it."""

    label: str
    times_ms: Ints
    values: Floats
    colour: str


class Band(NamedTuple):
    """Between two heights over the whole width."""

    low: float
    high: float
    class_: str


class Level(NamedTuple):
    """A height that is named at its right end."""

    value: float
    label: str
    class_: str = "limit"


class Mark(NamedTuple):
    """An instant on the time axis: `class_` says what it is."""

    from_ms: int
    to_ms: int
    class_: str
    label: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the axes are."""

    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 54.0
    right: float = 12.0
    top: float = 10.0
    bottom: float = 24.0

    def at_x(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return self.left + share * (WIDTH - self.left - self.right)

    def at_y(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def within(self, value: float) -> float:
        return min(max(value, self.y[0]), self.y[1])


def figure(title: str, legend: Sequence[tuple[str, str]], *drawn: Html, height: float) -> Html:
    """A drawing under its title, with what its colours mean."""
    svg = tag(
        "svg",
        tag("title", title),
        *drawn,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_label=title,
        xmlns="http://www.w3.org/2000/svg",
    )
    keys = [
        tag("span", tag("i", "", style=f"background:{colour}"), label, class_="key")
        for label, colour in legend
    ]
    return tag(
        "figure",
        tag("figcaption", tag("strong", title), tag("span", keys, class_="keys") if keys else ""),
        tag("div", svg, class_="scroll", tabindex="0", role="group", aria_label=title),
    )


def time_chart(
    title: str,
    unit: str,
    curves: Sequence[Curve],
    period_ms: tuple[int, int],
    words: Words,
    *,
    bands: Sequence[Band] = (),
    levels: Sequence[Level] = (),
    marks: Sequence[Mark] = (),
    from_zero: bool = False,
    height: float = 230.0,
    step_ms: int = 600_000,
) -> Html:
    """Curves over a period in local time."""
    low, high = _range([*(each.values for each in curves)], [each.value for each in levels], from_zero)
    frame = Frame(height, period_ms, (low, high), right=58.0 if levels else 12.0)
    drawn = joined(
        [_band(frame, each) for each in bands],
        [_mark(frame, each) for each in marks],
        _grid(frame, unit, words),
        _days(frame, words),
        [_level(frame, each) for each in levels],
        [_curve(frame, each, step_ms) for each in curves],
    )
    legend = [(each.label, each.colour) for each in curves if each.label]
    return figure(title, legend, drawn, height=height)


def bars(
    title: str,
    unit: str,
    labels: Sequence[str],
    stacks: Sequence[tuple[str, str, Floats]],
    words: Words,
    *,
    height: float = 210.0,
) -> Html:
    """Stacked bars; `stacks`: name, colour and a height for each of `labels`."""
    total = np.sum([np.nan_to_num(each[2]) for each in stacks], axis=0)
    frame = Frame(height, (0.0, float(max(len(labels), 1))), (0.0, _nice_top(float(total.max(initial=0.0)))))
    drawn, base = [_grid(frame, unit, words)], np.zeros(len(labels))
    for name, colour, heights in stacks:
        known = np.nan_to_num(heights)
        for at, size in enumerate(known.tolist()):
            if size > 0:
                drawn.append(_bar(frame, at, (float(base[at]), size), colour, f"{labels[at]}: {name}"))
        base = base + known
    every = -(-len(labels) // 16)
    drawn += [
        _text(frame.at_x(at + 0.5), height - 7, labels[at], "middle") for at in range(0, len(labels), every)
    ]
    return figure(title, [(name, colour) for name, colour, _ in stacks], joined(drawn), height=height)


def hour_chart(
    title: str,
    unit: str,
    curves: Sequence[tuple[str, str, Floats]],
    words: Words,
    *,
    height: float = 170.0,
) -> Html:
    """Curves over the hours of a day; each has a label, a colour and 24 means."""
    most = max((float(np.nanmax(each, initial=0.0)) for _, _, each in curves), default=0.0)
    frame = Frame(height, (0.0, 24.0), (0.0, _nice_top(most)))
    middles = np.arange(24, dtype=np.int64)
    drawn = [_grid(frame, unit, words)]
    drawn += [_text(frame.at_x(hour), height - 7, f"{hour} h", "middle") for hour in range(0, 25, 3)]
    drawn += [
        _curve(frame, Curve(label, middles, values, colour), 1, shift=0.5) for label, colour, values in curves
    ]
    return figure(title, [(label, colour) for label, colour, _ in curves], joined(drawn), height=height)


def heat_map(title: str, unit: str, days: Sequence[str], values: Floats, words: Words) -> Html:
    """`values` (24, days): a cell for each hour (top is midnight) of each day."""
    cell_h, left, top = 9.0, 40.0, 6.0
    width = (WIDTH - left - 12) / max(len(days), 1)
    most = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    least = min(float(np.nanmin(values)), 0.0) if np.isfinite(values).any() else 0.0
    drawn = []
    for hour in range(24):
        for day in range(len(days)):
            value = float(values[hour, day])
            colour = UNKNOWN if math.isnan(value) else _heat((value - least) / ((most - least) or 1.0))
            place = {"x": left + day * width, "y": top + hour * cell_h}
            drawn.append(tag("rect", **place, width=width - 0.6, height=cell_h - 0.6, fill=colour))
    bottom = top + 24 * cell_h
    drawn += [
        _text(left - 5, top + hour * cell_h + 7.5, f"{hour:02} h", "end") for hour in (0, 6, 12, 18, 23)
    ]
    every = -(-len(days) // 16)
    drawn += [
        _text(left + (at + 0.5) * width, bottom + 13, days[at], "middle") for at in range(0, len(days), every)
    ]
    steps = 5
    legend = [
        (
            words.number(least + (most - least) * step / (steps - 1), 0 if most >= 20 else 1, unit),
            _heat(step / (steps - 1)),
        )
        for step in range(steps)
    ]
    legend.append((words.t("not_known"), UNKNOWN))
    return figure(title, legend, joined(drawn), height=bottom + 20)


def shares(parts: Sequence[tuple[str, float, str]], words: Words) -> Html:
    """A bar of shares (they add up to 1): name, share, class of its colour."""
    inner = [
        tag(
            "span",
            words.percent(100 * share) if share >= 0.08 else "",
            class_=f"share {colour}",
            style=f"width:{100 * share:.2f}%",
            title=f"{name}: {words.percent(100 * share, 2)}",
        )
        for name, share, colour in parts
        if share > 0
    ]
    text = ", ".join(f"{name} {words.percent(100 * share)}" for name, share, _ in parts)
    return tag("div", inner, class_="shares", role="img", aria_label=text)


# ---------------------------------------------------------------- parts of a drawing


def _text(x: float, y: float, text: str, anchor: str = "start", class_: str | None = None) -> Html:
    return tag("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=class_)


def _grid(frame: Frame, unit: str, words: Words) -> Html:
    ticks = _ticks(*frame.y)
    digits = next((each for each in range(6) if all(round(tick, each) == tick for tick in ticks)), 6)
    drawn = []
    for at, value in enumerate(ticks):
        y = round(frame.at_y(value), 1)
        drawn.append(tag("line", x1=frame.left, x2=WIDTH - frame.right, y1=y, y2=y, class_="grid"))
        label = words.number(value, digits, unit if at == len(ticks) - 1 else "")
        drawn.append(_text(frame.left - 6, y + 3.5, label, "end"))
    return joined(drawn)


def _days(frame: Frame, words: Words) -> Html:
    drawn = []
    for time_ms, is_named in _midnights(frame.x, words):
        x = round(frame.at_x(time_ms), 1)
        y1, y2 = frame.top, frame.height - frame.bottom
        drawn.append(tag("line", x1=x, x2=x, y1=y1, y2=y2, class_="grid"))
        if is_named and x < WIDTH - frame.right - 18:
            drawn.append(_text(x + 3, frame.height - 8, words.short_day(time_ms)))
    return joined(drawn)


def _midnights(period_ms: tuple[float, float], words: Words) -> Iterator[tuple[int, bool]]:
    """Local midnights of the period, and which are named."""
    from_ms, to_ms = int(period_ms[0]), int(period_ms[1])
    first = int(local_ms(np.array([from_ms]), words.zone)[0]) // DAY_MS
    days = -(-(to_ms - from_ms) // DAY_MS) + 1
    every = -(-days // TICKS_X_MAX)
    for at in range(days + 1):
        time_ms = midnight_ms(date_of(first + at), words.zone)
        if from_ms <= time_ms < to_ms:
            yield time_ms, at % every == 0


def _band(frame: Frame, band: Band) -> Html:
    top, bottom = frame.at_y(frame.within(band.high)), frame.at_y(frame.within(band.low))
    if bottom - top < 0.1:
        return Html("")
    width = WIDTH - frame.left - frame.right
    return tag("rect", x=frame.left, y=round(top, 1), width=width, height=bottom - top, class_=band.class_)


def _level(frame: Frame, level: Level) -> Html:
    if not frame.y[0] <= level.value <= frame.y[1]:
        return Html("")
    y, x = round(frame.at_y(level.value), 1), WIDTH - frame.right
    line = tag("line", x1=frame.left, x2=x, y1=y, y2=y, class_=level.class_)
    return joined(line, _text(x + 4, y + 3.5, level.label, class_="limit-label"))


def _mark(frame: Frame, mark: Mark) -> Html:
    x1, x2 = frame.at_x(max(mark.from_ms, frame.x[0])), frame.at_x(min(mark.to_ms, frame.x[1]))
    height = frame.height - frame.top - frame.bottom
    return tag(
        "rect", tag("title", mark.label), x=round(x1, 1), y=frame.top, width=max(x2 - x1, 1.2),
        height=height, class_=mark.class_,
    )  # fmt: skip


def _curve(frame: Frame, curve: Curve, step_ms: int, shift: float = 0.0) -> Html:
    """As one path; a hole longer than a step and a half is not bridged."""
    known = ~np.isnan(curve.values)
    times, values = curve.times_ms[known], curve.values[known]
    if not times.size:
        return Html("")
    breaks = np.concatenate([[True], np.diff(times) > 1.5 * step_ms])
    xs = frame.left + (times + shift - frame.x[0]) / (frame.x[1] - frame.x[0]) * (
        WIDTH - frame.left - frame.right
    )
    clipped = np.clip(values, *frame.y)
    ys = frame.at_y(0.0) + (frame.at_y(1.0) - frame.at_y(0.0)) * clipped
    path = "".join(
        f"{'M' if begins else 'L'}{x:.1f} {y:.1f}"
        for begins, x, y in zip(breaks.tolist(), xs.tolist(), ys.tolist(), strict=True)
    )
    return tag("path", d=path, class_="curve", stroke=curve.colour)


def _bar(frame: Frame, at: int, span: tuple[float, float], colour: str, label: str) -> Html:
    low, size = span
    x, width = frame.at_x(at + 0.14), frame.at_x(at + 0.86) - frame.at_x(at + 0.14)
    top, bottom = frame.at_y(low + size), frame.at_y(low)
    return tag(
        "rect", tag("title", label), x=round(x, 1), y=round(top, 1), width=width, height=bottom - top,
        fill=colour,
    )  # fmt: skip


def _heat(share: float) -> str:
    place = min(max(share, 0.0), 1.0) * (len(_HEAT) - 1)
    at = min(int(place), len(_HEAT) - 2)
    part = place - at
    mixed = [round(a + (b - a) * part) for a, b in zip(_HEAT[at], _HEAT[at + 1], strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


# ---------------------------------------------------------------- scales


def _range(values: Sequence[Floats], levels: Sequence[float], from_zero: bool) -> tuple[float, float]:
    found = np.concatenate([*values, np.array(levels, dtype=np.float64)]) if values else np.array(levels)
    found = found[np.isfinite(found)]
    if not found.size:
        return 0.0, 1.0
    low, high = float(found.min()), float(found.max())
    if from_zero and low >= 0:
        return 0.0, _nice_top(high)
    margin = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _nice_top(high: float) -> float:
    return high * 1.06 if high > 0 else 1.0


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within the range."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(at * step, 10) for at in range(first, math.floor(high / step + 1e-9) + 1)]
