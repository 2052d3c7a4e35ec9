"""The power quality of a meter as a page and as CSV. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.analysis.power_quality.percentile import Exceeded
from agent.analysis.power_quality.voltage import compensation_percent
from agent.reports import power_quality_parts as parts
from agent.reports.document import Head, Tile, document, tiles, verdict
from agent.reports.markup import Html, joined, note
from agent.reports.power_quality import PowerQuality
from agent.reports.sheet import Cell, csv, times
from agent.reports.words import Words


def power_quality_page(found: PowerQuality, site: str, words: Words) -> bytes:
    """The report as HTML."""
    meter = found.meter.device
    head = Head(
        words.t("pq_title"),
        meter.label or meter.name,
        site,
        words.t("period", begin=words.instant(found.from_ms), end=words.instant(found.asked_to_ms)),
    )
    return document(
        head,
        words,
        tiles(list(_tiles(found, words))),
        _method(found, words),
        parts.voltage(found, words),
        parts.unbalance(found, words),
        parts.distortion(found, words),
        parts.frequency(found, words),
        parts.power(found, words),
        parts.events(found, words),
        parts.data(found, words),
        parts.unseen(found, words),
    )


def power_quality_csv(found: PowerQuality, words: Words) -> bytes:
    """An interval of 10 minutes a row."""
    names = parts.phases(found)
    heads = [
        words.t("csv_start"),
        *(words.t("csv_voltage", phase=each) for each in names),
        *(words.t("csv_class", phase=each) for each in names),
        words.t("csv_coverage"),
        words.t("csv_expurgated"),
        words.t("csv_unbalance"),
        *(words.t("csv_thd", phase=each) for each in parts.thd_phases(found)),
        words.t("csv_frequency"),
        words.t("csv_active"),
        words.t("csv_reactive"),
    ]
    return csv(words, heads, _rows(found, words))


def _rows(found: PowerQuality, words: Words) -> Iterator[list[Cell]]:
    kinds = [words.t(key) for key in ("adequate", "precarious", "critical")]
    for at, start in enumerate(times(words, found.start_ms.tolist())):
        yield [
            start,
            *found.voltage_v[at].tolist(),
            *("" if each < 0 else kinds[each] for each in found.classes[at].tolist()),
            float(min(found.coverage[at], 1.0)),
            int(found.expurgated[at]),
            float(found.unbalance_percent[at]),
            *(found.thd_percent[at].tolist() if parts.thd_phases(found) else ()),
            float(found.frequency_hz[at]),
            float(found.active_w[at]),
            float(found.reactive_var[at]),
        ]


# ---------------------------------------------------------------- the summary


def _tiles(found: PowerQuality, words: Words) -> Iterator[Tile]:
    voltage, rules = found.voltage, found.limits.voltage
    for name, value, limit, within in (
        ("DRP", voltage.drp_percent, rules.drp_percent_max, voltage.drp_within),
        ("DRC", voltage.drc_percent, rules.drc_percent_max, voltage.drc_within),
    ):
        limit_text = words.t("limit", limit=words.percent(limit))
        yield Tile(
            words.t(f"name_{name.lower()}"), words.percent(value, 2), limit_text, verdict(words, within)
        )
    if found.unbalance:
        yield _exceeded_tile("FD95", found.unbalance, words)
    if found.distortion:
        yield _exceeded_tile("DTT95", found.distortion.total, words)
    if found.frequency:
        steady = next(each for each in found.excursions if each.name == "steady")
        share = 100 * steady.total_s / found.frequency.seen_s if found.frequency.seen_s else np.nan
        low, high = found.limits.frequency.steady_hz
        limit_text = words.t("between", low=words.number(low, 1), high=words.number(high, 1, "Hz"))
        yield Tile(words.t("frequency_outside"), words.percent(share, 2), limit_text)
    if found.power_factor and found.power_factor.readings:
        factor = found.power_factor
        limit_text = words.t("at_least", limit=words.number(found.limits.power_factor.minimum, 2))
        within = factor.mean >= found.limits.power_factor.minimum
        yield Tile(
            words.t("power_factor"), words.number(factor.mean, 3), limit_text, verdict(words, bool(within))
        )
    yield Tile(words.t("events"), str(len(found.events)), words.t("as_far_as_seen"))
    yield Tile(
        words.t("completeness"),
        words.percent(100 * found.completeness, 2),
        words.t("readings_of", count=found.voltage.readings, all=found.limits.window.readings),
    )


def _exceeded_tile(name: str, found: Exceeded, words: Words) -> Tile:
    limit = words.t("limit", limit=words.percent(found.limit))
    return Tile(
        words.t(f"name_{name.lower()}"), words.percent(found.value, 2), limit, verdict(words, found.within)
    )


def _method(found: PowerQuality, words: Words) -> Html:
    voltage, limits = found.voltage, found.limits
    said = [note(words.t("pq_method", revision=limits.revision))]
    if not voltage.complete:
        text = words.t("pq_provisional", count=voltage.readings, all=limits.window.readings)
        said.append(note(text, kind="warn"))
    elif found.to_ms > found.asked_to_ms:
        text = words.t(
            "pq_extended",
            count=int((~found.valid[found.start_ms < found.asked_to_ms]).sum()),
            until=words.instant(voltage.to_ms),
            all=limits.window.readings,
        )
        said.append(note(text))
    owed_percent = compensation_percent(voltage, limits)
    if owed_percent > 0:
        said.append(note(words.t("pq_compensation", share=words.percent(owed_percent)), kind="warn"))
    if found.nominal_is_assumed:
        text = words.t("nominal_assumed", nominal=words.number(found.nominal_v, 0, "V"))
        said.append(note(text, kind="warn"))
    return joined(said)
