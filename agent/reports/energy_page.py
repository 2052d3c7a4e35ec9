"""The energy of a month, its bill, and what control saved, as a page and as CSV. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from agent.localtime import DAY_MS
from agent.reports import bill_parts, hvac_part
from agent.reports.document import Head, Tile, document, tiles
from agent.reports.energy import COUNTED, MEASURED, MISSING, SPREAD, Energy, Month
from agent.reports.figures import (
    PHASE_COLOURS,
    POST_COLOURS,
    Curve,
    Level,
    Mark,
    bars,
    heat_map,
    hour_chart,
    time_chart,
)
from agent.reports.hvac import RoomReport
from agent.reports.markup import Html, facts, joined, note, section, table, tag
from agent.reports.sheet import Cell, csv, times
from agent.reports.words import NONE, Words

SOURCES = {MISSING: "missing", MEASURED: "measured", COUNTED: "counted", SPREAD: "spread"}
POST_KEYS = ("off_peak", "intermediate", "peak")
RESETS_SHOWN_MAX = 10


def energy_page(found: Energy, rooms: Sequence[RoomReport] | None, site: str, words: Words) -> bytes:
    """The report as HTML. `rooms` None: nothing is said of control."""
    meter, month = found.meter.device, found.month
    data = words.month(found.from_ms)
    if found.is_open:
        data = words.t("month_until", month=data, until=words.instant(month.until_ms))
    return document(
        Head(words.t("energy_title"), meter.label or meter.name, site, data),
        words,
        tiles(list(_tiles(found, words))),
        _remarks(found, words),
        _energy(found, words),
        _demand(found, words),
        bill_parts.cost(found, words),
        bill_parts.outlook(found, words) if found.is_open else "",
        _compared(found, words),
        _pattern(found, words),
        _daily(found, words),
        hvac_part.hvac(rooms, words) if rooms is not None else "",
        _data(found, words),
    )


def energy_csv(found: Energy, words: Words) -> bytes:
    """A quarter of an hour a row."""
    keys = ("start", "power_kw", "energy_kwh", "reactive_kvar", "post", "source")
    heads = [words.t(f"csv_{key}") for key in keys]
    return csv(words, heads, _rows(found.month, words))


def _rows(month: Month, words: Words) -> Iterator[list[Cell]]:
    quarters = month.quarters
    sources = {code: words.t(f"source_{key}") for code, key in SOURCES.items()}
    posts = [words.t(f"post_{key}") for key in POST_KEYS]
    for at, start in enumerate(times(words, quarters.start_ms.tolist())):
        power = float(quarters.power_kw[at])
        yield [
            start,
            power,
            power / 4,
            float(quarters.reactive_kvar[at]),
            posts[month.posts[at]],
            sources[int(quarters.source[at])],
        ]


# ---------------------------------------------------------------- the summary


def _tiles(found: Energy, words: Words) -> Iterator[Tile]:
    month, before = found.month, found.before
    change = _change(month.energy_kwh, before.energy_kwh if before else np.nan, words)
    yield Tile(words.t("energy"), words.number(month.energy_kwh, 0, "kWh"), change)
    at = words.instant(month.demand.peak_start_ms) if month.demand.intervals else NONE
    yield Tile(words.t("peak_demand"), words.number(month.demand.peak_kw, 1, "kW"), at)
    yield Tile(words.t("load_factor"), words.number(month.demand.load_factor, 2), words.t("load_factor_hint"))
    was = before.bill.total_brl if before else np.nan
    yield Tile(
        words.t("cost_so_far" if found.is_open else "cost"),
        words.brl(month.bill.total_brl),
        _change(month.bill.total_brl, was, words),
    )
    if found.ahead:
        energy = words.t("about_kwh", energy=words.number(found.ahead.energy_kwh, 0, "kWh"))
        yield Tile(words.t("cost_ahead"), words.brl(found.ahead.bill.total_brl), energy)
    share = month.missing_h / max(month.quarters.power_kw.size / 4, 0.25)
    yield Tile(
        words.t("completeness"),
        words.percent(100 * (1 - share), 2),
        words.t("missing_for", span=words.span(month.missing_h * 3600)),
    )


def _change(now: float, was: float, words: Words) -> str:
    if not np.isfinite(was) or was <= 0:
        return ""
    percent = 100 * (now - was) / was
    sign = "+" if percent >= 0 else ""
    return words.t("against_before", change=f"{sign}{words.percent(percent)}")


def _remarks(found: Energy, words: Words) -> Html:
    said = []
    if found.price.tariff is None:
        price = words.brl(found.price.brl_kwh, 4)
        said.append(note(words.t("no_tariff", price=price), kind="warn"))
    else:
        file = found.price.tariff.file
        said.append(note(words.t("tariff_used", label=file.label, source=file.source)))
    said += [note(text, kind="warn") for text in bill_parts.notes(found.month.bill, words)]
    return joined(said)


# ---------------------------------------------------------------- energy and demand


def _energy(found: Energy, words: Words) -> Html:
    month = found.month
    used = [post for post in (0, 1, 2) if (month.posts == post).any()]
    labels = [words.short_day(_noon(day)) for day in month.days.tolist()]
    names = {post: words.t(f"post_{POST_KEYS[post]}") for post in used}
    one = found.price.tariff is None or len(used) == 1
    stacks = [
        (words.t("energy") if one else names[post], POST_COLOURS[post], month.daily_kwh[:, post])
        for post in used
    ]
    total = month.energy_kwh
    rows: list[list[str]] = []
    for post in used:
        kwh = float(month.daily_kwh[:, post].sum())
        peak_kw, peak_ms = month.peaks_kw[post]
        rows.append(
            [
                names[post] if not one else words.t("all_hours"),
                words.number(kwh, 1, "kWh"),
                words.percent(100 * kwh / total if total else np.nan),
                words.number(peak_kw, 1, "kW"),
                words.instant(peak_ms) if peak_ms else NONE,
            ]
        )
    rows.append(
        [
            words.t("total"),
            words.number(total, 1, "kWh"),
            words.percent(100.0),
            words.number(month.demand.peak_kw, 1, "kW"),
            "",
        ]
    )
    heads = [words.t(key) for key in ("post", "energy", "share", "peak_demand", "when")]
    return section(
        words.t("energy_by_post"),
        bars(words.t("daily_chart"), "kWh", labels, stacks, words),
        table(words.t("post_table"), heads, rows, class_="of-total"),
    )


def _daily(found: Energy, words: Words) -> Html:
    """Two tables side by side: a month is long."""
    month = found.month
    used = [post for post in (0, 1, 2) if (month.posts == post).any()]
    rows = [
        [
            f"{words.short_day(_noon(day))} {words.weekday((day + 3) % 7)}",
            *(words.number(float(month.daily_kwh[at, post]), 1) for post in used),
            words.number(float(month.daily_kwh[at].sum()), 1),
        ]
        for at, day in enumerate(month.days.tolist())
    ]
    names = [words.t(f"post_{POST_KEYS[post]}") for post in used] if len(used) > 1 else []
    if not names:
        rows = [[row[0], row[-1]] for row in rows]
    heads = [words.t("day"), *names, words.t("total")]
    half = -(-len(rows) // 2)
    parts = [part for part in (rows[:half], rows[half:]) if part]
    pair = tag("div", [table(_named_days(part, words), heads, part) for part in parts], class_="pair")
    return section(words.t("daily_table"), pair)


def _named_days(rows: Sequence[Sequence[str]], words: Words) -> str:
    return words.t("period", begin=rows[0][0], end=rows[-1][0])


def _noon(day: int) -> float:
    """A time that is on that day in every zone of Brazil."""
    return day * DAY_MS + 15 * 3_600_000


def _demand(found: Energy, words: Words) -> Html:
    month, quarters = found.month, found.month.quarters
    levels, rows = [], []
    for term in found.contract:
        name = words.t(f"window_{term.window}")
        levels.append(Level(term.contracted_kw, words.number(term.contracted_kw, 0, "kW")))
        power = np.where(np.isin(month.posts, term.posts), quarters.power_kw, np.nan)
        known = ~np.isnan(power)
        peak = float(np.nanmax(power)) if known.any() else np.nan
        rows.append(
            [
                name,
                words.number(term.contracted_kw, 1, "kW"),
                words.number(peak, 1, "kW"),
                words.percent(100 * peak / term.contracted_kw if term.contracted_kw else np.nan),
                str(int((power[known] > term.contracted_kw).sum())),
            ]
        )
    marks = [Mark(begin, end, "mark-gap", words.t("gap")) for begin, end in _missing(month)]
    curve = Curve("", quarters.start_ms, quarters.power_kw, PHASE_COLOURS[0])
    chart = time_chart(
        words.t("demand_chart"),
        "kW",
        [curve],
        (month.from_ms, month.until_ms),
        words,
        levels=levels,
        marks=marks,
        from_zero=True,
        height=240.0,
        step_ms=900_000,
    )
    heads = [words.t(key) for key in ("window", "contracted", "measured", "of_contract", "quarters_above")]
    return section(
        words.t("demand_title"),
        chart,
        table(words.t("contract_table"), heads, rows) if rows else "",
        facts(
            [
                (words.t("peak_demand"), words.number(month.demand.peak_kw, 1, "kW")),
                (words.t("mean_power"), words.number(month.demand.mean_kw, 1, "kW")),
                (words.t("load_factor"), words.number(month.demand.load_factor, 3)),
                (words.t("quarters_known"), str(month.demand.intervals)),
            ]
        ),
    )


def _missing(month: Month) -> Iterator[tuple[int, int]]:
    """Stretches of quarters that nothing is known of."""
    missing = np.concatenate([[False], month.quarters.source == MISSING, [False]])
    edges = np.flatnonzero(np.diff(missing.astype(np.int8)))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield month.from_ms + begin * 900_000, month.from_ms + end * 900_000


# ---------------------------------------------------------------- patterns and comparisons


def _compared(found: Energy, words: Words) -> Html:
    now, was = found.month, found.before
    if was is None:
        return section(words.t("compared_title"), tag("p", words.t("nothing_before")))
    days_now, days_was = len(now.days), len(was.days)

    def row(name: str, a: float, b: float, digits: int, unit: str) -> list[str]:
        change = f"{'+' if a >= b else ''}{words.percent(100 * (a - b) / b)}" if b else NONE
        return [name, words.number(b, digits, unit), words.number(a, digits, unit), change]

    rows = [
        row(words.t("energy"), now.energy_kwh, was.energy_kwh, 1, "kWh"),
        row(words.t("energy_a_day"), now.energy_kwh / days_now, was.energy_kwh / days_was, 1, "kWh"),
        row(words.t("peak_demand"), now.demand.peak_kw, was.demand.peak_kw, 1, "kW"),
        row(words.t("load_factor"), now.demand.load_factor, was.demand.load_factor, 3, ""),
        [
            words.t("cost"),
            words.brl(was.bill.total_brl),
            words.brl(now.bill.total_brl),
            row("", now.bill.total_brl, was.bill.total_brl, 2, "")[3],
        ],
        row(words.t("missing"), now.missing_h, was.missing_h, 1, "h"),
    ]
    heads = [words.t("what"), _span(was, words), _span(now, words), words.t("change")]
    return section(words.t("compared_title"), table(words.t("compared_table"), heads, rows))


def _span(month: Month, words: Words) -> str:
    return words.t("period", begin=words.short_day(month.from_ms), end=words.short_day(month.until_ms - 1))


def _pattern(found: Energy, words: Words) -> Html:
    labels = [words.short_day(_noon(day)) for day in found.month.days.tolist()]
    typical = [
        (words.t(key), colour, found.typical_kw[at])
        for at, (key, colour) in enumerate(zip(("working_day", "free_day"), PHASE_COLOURS, strict=False))
    ]
    return section(
        words.t("pattern_title"),
        heat_map(words.t("heat_chart"), "kW", labels, found.heat_kw, words),
        hour_chart(words.t("typical_chart"), "kW", typical, words),
    )


def _data(found: Energy, words: Words) -> Html:
    month = found.month
    counts = {key: float((month.quarters.source == code).sum()) / 4 for code, key in SOURCES.items()}
    pairs: list[tuple[str, str | Html]] = [
        (words.t("device"), found.meter.device.name),
        (words.t("profile"), found.meter.device.type),
        *(
            (words.t(f"hours_{key}"), words.number(counts[key], 2, "h"))
            for key in ("measured", "counted", "spread", "missing")
        ),
        (words.t("by_counter"), words.number(found.import_kwh, 1, "kWh")),
        (words.t("by_power"), words.number(month.energy_kwh, 1, "kWh")),
    ]
    if np.isfinite(found.import_kwh) and month.energy_kwh:
        apart = 100 * (found.import_kwh - month.energy_kwh) / month.energy_kwh
        pairs.append((words.t("apart"), words.percent(apart, 2)))
    if np.isfinite(found.export_kwh) and found.export_kwh > 0:
        pairs.append((words.t("exported"), words.number(found.export_kwh, 1, "kWh")))
    said: list[Html] = [facts(pairs), tag("p", words.t("energy_method"))]
    if found.resets_ms:
        when = ", ".join(words.instant(each) for each in found.resets_ms[:RESETS_SHOWN_MAX])
        said.append(note(words.t("counter_resets", count=len(found.resets_ms), when=when), kind="warn"))
    return section(words.t("data_title"), said)
