"""Reports of one command, one after the other: computed once, drawn in each language."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from agent.analysis.meters import Meter
from agent.analysis.power_quality.limits import limits_on
from agent.analysis.site.options import MeterOptions
from agent.commands.report_asked import chosen, month_of, period, week_before
from agent.commands.report_facts import site_facts
from agent.config import Config
from agent.control.site.prices import price_at
from agent.control.site.record import read_only
from agent.localtime import Floats, Ints
from agent.reports.commissioning import commissioning
from agent.reports.commissioning_page import commissioning_csv, commissioning_page
from agent.reports.energy import Price, energy
from agent.reports.energy_page import energy_csv, energy_page
from agent.reports.hvac import RoomReport, hvac
from agent.reports.options import Kind, Language
from agent.reports.power_quality import NoReadings, power_quality
from agent.reports.power_quality_page import power_quality_csv, power_quality_page
from agent.reports.shelf import when
from agent.reports.words import Words
from agent.store.onlooker import Onlooker
from agent.tariff import load as load_tariff

RECORD_FILE = "control.db"
DAY_MS = 86_400_000
MINUTE_MS = 60_000

Files = dict[str, bytes]
Rendered = Callable[[Language], Files]


class Wanted(NamedTuple):
    """One report: what its file is named by, and what draws it."""

    subject: str
    begin: str
    end: str
    rendered: Rendered


@dataclass
class Maker:
    """What all reports of one command share. `tell(share, text)` says how far it is."""

    config: Config
    history: Onlooker
    zone: ZoneInfo
    languages: Sequence[Language]
    tell: Callable[[float, str], None]
    now_ms: int

    @property
    def site(self) -> str:
        return self.config.options.agent.site

    def part(self, at: int, of: int, text: str) -> Callable[[float], None]:
        """The progress of one of many."""
        return lambda share: self.tell((at + min(max(share, 0.0), 1.0)) / of, text)


Work = Callable[[Maker, argparse.Namespace], AsyncIterator[Wanted]]


async def _power_quality(maker: Maker, arguments: argparse.Namespace) -> AsyncIterator[Wanted]:
    period_ms = period(arguments, maker, week_before(maker.now_ms, maker.zone))
    limits = limits_on(datetime.fromtimestamp(period_ms[0] / 1000, maker.zone).date())
    found, named = chosen(maker, arguments)
    for at, meter in enumerate(found):
        progress = maker.part(at, len(found), meter.device.name)
        said = _said(maker.config, meter)
        try:
            quality = await power_quality(
                maker.history,
                meter,
                period_ms,
                limits,
                nominal_v=arguments.nominal_v or (said.nominal_v if said else None),
                between=said.between if said else None,
                now_ms=maker.now_ms,
                progress=progress,
            )
        except NoReadings as nothing:
            await _without(maker, nothing, named=named)
            continue

        def rendered(language: Language) -> Files:
            words = Words(language, maker.zone)
            page = power_quality_page(quality, maker.site, words)  # noqa: B023 - drawn before the next
            return {"html": page, "csv": power_quality_csv(quality, words)}  # noqa: B023

        begin, end = (when(each, maker.zone) for each in period_ms)
        yield Wanted(meter.device.name, begin, end, rendered)


async def _energy(maker: Maker, arguments: argparse.Namespace) -> AsyncIterator[Wanted]:
    price = _price(maker.config)
    zone = price.tariff.zone if price.tariff else maker.zone
    month = month_of(arguments.month, maker.now_ms, zone)
    found, named = chosen(maker, arguments)
    main = _main_meter(maker.config, found) if found else None
    for at, meter in enumerate(found):
        progress = maker.part(at, len(found), meter.device.name)
        own = _price(maker.config, meter)
        try:
            used = await energy(
                maker.history, meter, month, own, zone, now_ms=maker.now_ms, progress=progress
            )
        except NoReadings as nothing:
            await _without(maker, nothing, named=named)
            continue
        rooms = _rooms(maker, (used.from_ms, used.to_ms)) if meter is main else None

        def rendered(language: Language) -> Files:
            words = Words(language, zone)
            page = energy_page(used, rooms, maker.site, words)  # noqa: B023 - drawn before the next
            return {"html": page, "csv": energy_csv(used, words)}  # noqa: B023

        yield Wanted(meter.device.name, f"{month[0]}-{month[1]:02}", "", rendered)


async def _commissioning(maker: Maker, arguments: argparse.Namespace) -> AsyncIterator[Wanted]:
    span = await maker.history.span_ms()
    if span is None:
        raise OSError("expected readings of the site, found none stored: has the agent run?")
    last_ms = span[1] - span[1] % MINUTE_MS + MINUTE_MS
    period_ms = period(arguments, maker, (last_ms - DAY_MS, last_ms))
    progress = maker.part(0, 1, maker.site)
    found = await commissioning(
        maker.history, maker.history.groups, site_facts(maker.config), period_ms, progress=progress
    )

    def rendered(language: Language) -> Files:
        words = Words(language, maker.zone)
        return {"html": commissioning_page(found, words), "csv": commissioning_csv(found, words)}

    day = when(period_ms[1], maker.zone)[:10]
    yield Wanted(maker.site, day, "", rendered)


WORK: dict[Kind, Work] = {
    "power-quality": _power_quality,
    "energy": _energy,
    "commissioning": _commissioning,
}


async def _without(maker: Maker, nothing: NoReadings, *, named: bool) -> None:
    """Of one of all meters it is said, of one that was asked for it is the answer."""
    span = await maker.history.span_ms()
    text = str(nothing)
    if span:
        begin, end = (datetime.fromtimestamp(each / 1000, maker.zone) for each in span)
        text += f"; the store has readings from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    if named:
        raise OSError(text)
    print(f"left out: {text}", file=sys.stderr)


def _said(config: Config, meter: Meter) -> MeterOptions | None:
    return next((each for each in config.options.meter if each.name == meter.device.name), None)


def _price(config: Config, meter: Meter | None = None) -> Price:
    """Of the site, or of a meter that has a tariff of its own."""
    said, tariff = _said(config, meter) if meter else None, config.options.tariff
    name = tariff.id if said is None or said.tariff is None else said.tariff
    return Price(load_tariff(name, _folders(config)) if name else None, tariff.price_brl_kwh)


def _folders(config: Config) -> tuple[Path, ...]:
    folder = config.options.agent.tariff_dir
    return (folder,) if folder else ()


def _main_meter(config: Config, found: Sequence[Meter]) -> Meter:
    """The meter of the site's power, whose report says what control did; else the first."""
    point = config.options.control.site_power_point
    name = point.partition(".")[0] if point else ""
    return next((each for each in found if each.device.name == name), found[0])


def _rooms(maker: Maker, period_ms: tuple[int, int]) -> tuple[RoomReport, ...] | None:
    """What control recorded; None on a site without rooms."""
    config = maker.config
    if not config.options.room:
        return None
    file = config.data_dir / RECORD_FILE
    if not file.is_file():
        return ()

    def prices(times_ms: Ints) -> Floats:
        return price_at(config.options.tariff, _folders(config), times_ms)

    try:
        with closing(read_only(file)) as record:
            return hvac(record, config.options.room, period_ms, prices)
    except sqlite3.Error as error:
        raise OSError(f"{file}: cannot be read: {error}") from error
