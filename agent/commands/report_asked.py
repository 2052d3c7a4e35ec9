"""What a report is asked of: which meters, which period, which month, and what is wrong with that."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from agent.analysis.meters import Meter, Quantities, meters, quantity
from agent.analysis.site.options import MeterOptions
from agent.config import Config
from agent.model import Group
from agent.schema import Fault, FaultyFile

DAY_MS, TEN_MINUTES_MS = 86_400_000, 600_000
PERIOD_DAYS_MAX = 100


class Stored(Protocol):
    """Of the store: every group that it ever had."""

    groups: list[Group]


class Asking(Protocol):
    """Who asks: the site and the moment."""

    @property
    def config(self) -> Config: ...
    @property
    def history(self) -> Stored: ...
    @property
    def zone(self) -> ZoneInfo: ...
    @property
    def now_ms(self) -> int: ...


def chosen(maker: Asking, arguments: argparse.Namespace) -> tuple[list[Meter], bool]:
    """The meters, and whether they were named. FaultyFile: there is none of such a name."""
    options, groups = maker.config.options, maker.history.groups
    labels = {device.name: device.label for line in options.line for device in line.device}
    said = {each.name: each for each in options.meter}
    # What a device is called may have changed since it was stored.
    known = {
        name: as_said(replace(each, device=replace(each.device, label=labels[name])), said.get(name), groups)
        for name, each in meters(groups).items()
        if name in labels and not (name in said and said[name].skip)
    }
    named: Sequence[str] = arguments.meter or options.reports.meters
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"
            raise FaultyFile([Fault("--meter", "", f"no meter is named {name!r}{hint}")])
    return [known[name] for name in (named or known)], bool(arguments.meter)


def as_said(meter: Meter, said: MeterOptions | None, groups: Sequence[Group]) -> Meter:
    """With what `[[meter]]` says of its points; those that were never stored are none."""
    if said is None:
        return meter
    points = {
        point.name: point
        for group in groups
        if group.device.name == meter.device.name
        for point in group.points
    }

    def given(names: Sequence[str] | None, otherwise: Quantities) -> Quantities:
        if names is None:
            return otherwise
        return tuple(quantity(meter.device, points[name]) for name in names if name in points)

    return replace(
        meter,
        voltage_v=given(said.voltage, meter.voltage_v),
        line_voltage_v=given(said.line_voltage, meter.line_voltage_v),
        active_power_w=given(said.power, meter.active_power_w),
        reactive_power_var=given(said.reactive, meter.reactive_power_var),
        frequency_hz=given([said.frequency] if said.frequency else None, meter.frequency_hz),
        import_wh=given([said.energy] if said.energy else None, meter.import_wh),
    )


def _instant_ms(option: str, text: str, zone: ZoneInfo) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        expected = f"expected a local time like 2026-11-16 or 2026-11-16T08:30, found {text!r}"
        raise FaultyFile([Fault(option, "", expected)]) from None
    return round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)


def week_before(now_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """The last whole week: Monday to Monday, on the local clock."""
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    monday = today - timedelta(days=today.weekday())
    return _midnight_ms(monday - timedelta(days=7), zone), _midnight_ms(monday, zone)


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def month_of(text: str | None, now_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """Year and month; the last whole one if nothing is said. FaultyFile: it is none, or has not begun."""
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    if text is None:
        last = today.replace(day=1) - timedelta(days=1)
        return last.year, last.month
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError:
        raise FaultyFile([Fault("--month", "", f"expected a month like 2026-11, found {text!r}")]) from None
    if first > today:
        raise FaultyFile([Fault("--month", "", f"expected a month that has begun, found {text}")])
    return first.year, first.month


def period(arguments: argparse.Namespace, maker: Asking, default: tuple[int, int]) -> tuple[int, int]:
    """From and to on whole 10 minutes. FaultyFile: they make no sense together."""
    given = {"--from": arguments.begin, "--to": arguments.end}
    from_ms, to_ms = (
        _instant_ms(option, text, maker.zone) if text else None for option, text in given.items()
    )
    length_ms = default[1] - default[0]
    if from_ms is None:
        from_ms = default[0] if to_ms is None else to_ms - length_ms
    if to_ms is None:
        to_ms = min(from_ms + length_ms, maker.now_ms) if arguments.begin else default[1]
    from_ms, to_ms = from_ms - from_ms % TEN_MINUTES_MS, to_ms - to_ms % TEN_MINUTES_MS
    if not 0 < to_ms - from_ms <= PERIOD_DAYS_MAX * DAY_MS:
        text = f"expected --from before --to, at most {PERIOD_DAYS_MAX} days apart and not all in the future"
        raise FaultyFile([Fault("--from", "", text)])
    return from_ms, to_ms
