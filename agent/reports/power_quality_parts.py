"""The parts of a power quality report, one for each index. Pure."""

from __future__ import annotations

import numpy as np

from agent.analysis.power_quality.events import Event, ieee_1159_class, prodist_class
from agent.analysis.power_quality.unseen import unseen as sentences_of
from agent.reports.document import verdict
from agent.reports.figures import PHASE_COLOURS, Band, Curve, Level, Mark, shares, time_chart
from agent.reports.markup import Html, facts, note, section, table, tag
from agent.reports.power_quality import PowerQuality
from agent.reports.words import Words

EVENTS_SHOWN_MAX = 60
GAPS_SHOWN_MAX = 25
FAR_V = 1e9


def phases(found: PowerQuality) -> tuple[str, ...]:
    """The names of what `voltage_v` has, in its order."""
    if found.voltage_v.shape[1] == 1:
        return ("L1",)
    return ("L1–L2", "L2–L3", "L3–L1") if found.between == "phase_phase" else ("L1", "L2", "L3")


def thd_phases(found: PowerQuality) -> tuple[str, ...]:
    """The names of what `thd_percent` has; none where it is not measured."""
    if found.distortion is None:
        return ()
    return ("L1", "L2", "L3")[: found.thd_percent.shape[1]]


# ---------------------------------------------------------------- voltage


def voltage(found: PowerQuality, words: Words) -> Html:
    band, names = found.band, phases(found)
    known = found.voltage_v[np.isfinite(found.voltage_v)]
    window = found.valid & np.isfinite(found.voltage_v).all(axis=1)
    rows = []
    for at, name in enumerate(names):
        values = found.voltage_v[window, at]
        rows.append(
            (
                name,
                *_spread(values, words),
                str(found.voltage.precarious[at]),
                str(found.voltage.critical[at]),
            )
        )
    head = words.t("phase_neutral" if found.between == "phase_neutral" else "phase_phase")
    return section(
        words.t("voltage_title"),
        facts(
            [
                (words.t("nominal"), f"{words.number(found.nominal_v, 0, 'V')} ({head})"),
                (words.t("adequate"), _between(band.adequate_v, words)),
                (words.t("precarious"), _precarious(found, words)),
                (words.t("critical"), _critical(found, words)),
            ]
        ),
        _voltage_chart(found, words) if known.size else "",
        table(
            words.t("voltage_table"),
            [words.t(key) for key in ("phase", "lowest", "mean", "highest", "n_precarious", "n_critical")],
            rows,
        ),
        _class_bars(found, words),
        tag("p", words.t("worst_phase")),
    )


def _spread(values: np.ndarray[tuple[int], np.dtype[np.float64]], words: Words) -> list[str]:
    if not values.size:
        return [words.number(np.nan)] * 3
    return [words.number(float(each), 1, "V") for each in (values.min(), values.mean(), values.max())]


def _between(ends: list[float], words: Words) -> str:
    return words.t("between", low=words.number(ends[0], 0), high=words.number(ends[1], 0, "V"))


def _precarious(found: PowerQuality, words: Words) -> str:
    band = found.band
    parts = [
        words.t("between", low=words.number(low, 0), high=words.number(high, 0, "V"))
        for low, high in (
            (band.precarious_v[0], band.adequate_v[0]),
            (band.adequate_v[1], band.precarious_v[1]),
        )
        if low < high
    ]
    return f" {words.t('or')} ".join(parts)


def _critical(found: PowerQuality, words: Words) -> str:
    low, high = found.band.precarious_v
    return words.t("outside", low=words.number(low, 0), high=words.number(high, 0, "V"))


def _voltage_chart(found: PowerQuality, words: Words) -> Html:
    band, names = found.band, phases(found)
    bands = [
        Band(band.adequate_v[0], band.adequate_v[1], "zone-adequate"),
        Band(band.precarious_v[0], band.adequate_v[0], "zone-precarious"),
        Band(band.adequate_v[1], band.precarious_v[1], "zone-precarious"),
        Band(-FAR_V, band.precarious_v[0], "zone-critical"),
        Band(band.precarious_v[1], FAR_V, "zone-critical"),
    ]
    levels = [Level(each, words.number(each, 0, "V"), "edge") for each in band.adequate_v]
    curves = [
        # What is expurgated is no steady state: it stands among the events, and would flatten the rest.
        Curve(name, found.start_ms, np.where(found.valid, found.voltage_v[:, at], np.nan), PHASE_COLOURS[at])
        for at, name in enumerate(names)
    ]
    return time_chart(
        words.t("voltage_chart"),
        "V",
        curves,
        (found.from_ms, found.to_ms),
        words,
        bands=bands,
        levels=levels,
        marks=_marks(found, words),
        height=270.0,
    )


def _marks(found: PowerQuality, words: Words) -> list[Mark]:
    marks = [Mark(each.from_ms, each.to_ms, "mark-gap", words.t("gap")) for each in found.gaps]
    marks += [
        Mark(each.start_ms, each.end_ms, "mark-event", words.t(f"kind_{each.kind}"))
        for each in found.events[:EVENTS_SHOWN_MAX]
    ]
    if found.to_ms > found.asked_to_ms:
        marks.append(Mark(found.asked_to_ms, found.to_ms, "mark-extension", words.t("extension")))
    return marks


def _class_bars(found: PowerQuality, words: Words) -> Html:
    readings = max(found.voltage.readings, 1)
    rows = []
    for at, name in enumerate(phases(found)):
        precarious, critical = found.voltage.precarious[at], found.voltage.critical[at]
        counts = (found.voltage.readings - precarious - critical, precarious, critical)
        parts = [
            (words.t(key), count / readings, key)
            for key, count in zip(("adequate", "precarious", "critical"), counts, strict=True)
        ]
        rows.append((name, shares(parts, words)))
    return table(words.t("class_table"), [words.t("phase"), words.t("class_shares")], rows, text_columns=2)


# ---------------------------------------------------------------- the other indices


def unbalance(found: PowerQuality, words: Words) -> Html:
    if found.unbalance is None:
        return section(words.t("unbalance_title"), note(words.t("not_measured")))
    limit = found.unbalance.limit
    return section(
        words.t("unbalance_title"),
        tag(
            "p",
            words.t(
                "unbalance_text",
                value=words.percent(found.unbalance.value, 2),
                limit=words.percent(limit, 1),
                count=found.unbalance.readings,
            ),
            " ",
            verdict(words, found.unbalance.within),
        ),
        time_chart(
            words.t("unbalance_chart"),
            "%",
            [Curve("FD", found.start_ms, found.unbalance_percent, PHASE_COLOURS[0])],
            (found.from_ms, found.to_ms),
            words,
            levels=[Level(limit, words.percent(limit, 1))],
            from_zero=True,
            height=150.0,
        ),
    )


def distortion(found: PowerQuality, words: Words) -> Html:
    if found.distortion is None:
        return section(words.t("distortion_title"), note(words.t("not_measured")))
    total = found.distortion.total
    curves = [
        Curve(name, found.start_ms, found.thd_percent[:, at], PHASE_COLOURS[at])
        for at, name in enumerate(thd_phases(found))
    ]
    return section(
        words.t("distortion_title"),
        tag(
            "p",
            words.t(
                "distortion_text",
                value=words.percent(total.value, 2),
                limit=words.percent(total.limit, 1),
                count=total.readings,
            ),
            " ",
            verdict(words, total.within),
        ),
        time_chart(
            words.t("distortion_chart"),
            "%",
            curves,
            (found.from_ms, found.to_ms),
            words,
            levels=[Level(total.limit, words.percent(total.limit, 0))],
            from_zero=True,
            height=150.0,
        ),
    )


def frequency(found: PowerQuality, words: Words) -> Html:
    seen = found.frequency
    if seen is None or not seen.seen_s:
        return section(words.t("frequency_title"), note(words.t("not_measured")))
    rules = found.limits.frequency
    rows = [
        (
            words.t(f"excursion_{each.name.partition('_')[0]}", **_hertz(each.name, found, words)),
            words.span(each.total_s),
            words.span(each.longest_s),
            words.span(each.longest_s_max) if each.longest_s_max is not None else "–",
            verdict(words, each.within),
        )
        for each in found.excursions
    ]
    return section(
        words.t("frequency_title"),
        time_chart(
            words.t("frequency_chart"),
            "Hz",
            [Curve("", found.start_ms, found.frequency_hz, PHASE_COLOURS[0])],
            (found.from_ms, found.to_ms),
            words,
            levels=[Level(each, words.number(each, 1, "Hz")) for each in rules.steady_hz],
            height=150.0,
        ),
        table(
            words.t("frequency_table"),
            [words.t(key) for key in ("rule", "time_beyond", "longest", "allowed", "verdict")],
            rows,
        ),
        tag(
            "p",
            words.t(
                "frequency_seen",
                low=words.number(seen.low_hz, 2, "Hz"),
                high=words.number(seen.high_hz, 2, "Hz"),
                span=words.span(seen.seen_s),
            ),
        ),
    )


def _hertz(name: str, found: PowerQuality, words: Words) -> dict[str, str]:
    rules = found.limits.frequency
    ranges = {
        "steady": rules.steady_hz,
        "disturbed": rules.disturbed_hz,
        "extreme": rules.extreme_hz,
    }
    if name in ranges:
        low, high = ranges[name]
        return {"low": words.number(low, 1), "high": words.number(high, 1, "Hz")}
    return {"hz": words.number(float(name.split("_")[1]), 1, "Hz")}


def power(found: PowerQuality, words: Words) -> Html:
    factor = found.power_factor
    if factor is None or not factor.readings:
        return section(words.t("factor_title"), note(words.t("not_measured")))
    with np.errstate(invalid="ignore"):
        by_time = found.active_w / np.hypot(found.active_w, found.reactive_var)
    minimum = found.limits.power_factor.minimum
    return section(
        words.t("factor_title"),
        facts(
            [
                (words.t("factor_mean"), words.number(factor.mean, 3)),
                (words.t("factor_worst"), words.number(factor.worst, 3)),
                (words.t("low_inductive"), words.percent(factor.low_inductive_percent, 2)),
                (words.t("low_capacitive"), words.percent(factor.low_capacitive_percent, 2)),
            ]
        ),
        time_chart(
            words.t("factor_chart"),
            "",
            [Curve("", found.start_ms, np.where(found.active_w > 0, by_time, np.nan), PHASE_COLOURS[0])],
            (found.from_ms, found.to_ms),
            words,
            levels=[Level(minimum, words.number(minimum, 2))],
            height=150.0,
        ),
        tag("p", words.t("factor_text")),
    )


# ---------------------------------------------------------------- events, data, what is not seen


def events(found: PowerQuality, words: Words) -> Html:
    if not found.events:
        return section(words.t("events_title"), tag("p", words.t("no_events")))
    shown = sorted(found.events, key=_weight, reverse=True)[:EVENTS_SHOWN_MAX]
    rows = [_event_row(each, found, words) for each in sorted(shown, key=lambda each: each.start_ms)]
    heads = ("event_start", "duration", "event_extreme", "phases", "prodist_class", "ieee_class")
    more = len(found.events) - len(shown)
    return section(
        words.t("events_title"),
        _event_counts(found, words),
        table(words.t("events_table"), [words.t(key) for key in heads], rows),
        note(words.t("events_more", count=more)) if more else "",
    )


def _weight(event: Event) -> float:
    return abs(1 - event.extreme_pu) * max(event.duration_s, 1.0)


def _event_counts(found: PowerQuality, words: Words) -> Html:
    counts: dict[tuple[str, str], int] = {}
    for each in found.events:
        key = (prodist_class(each, found.limits), ieee_1159_class(each, found.limits))
        counts[key] = counts.get(key, 0) + 1
    rows = [
        (words.t(f"class_{prodist}"), words.t(f"class_{ieee}"), str(count))
        for (prodist, ieee), count in sorted(counts.items())
    ]
    heads = [words.t(key) for key in ("prodist_class", "ieee_class", "how_many")]
    return table(words.t("event_counts"), heads, rows, text_columns=2)


def _event_row(event: Event, found: PowerQuality, words: Words) -> list[str | Html]:
    names = phases(found)
    least = words.t("at_least_so_long") if event.cut else ""
    length = f"{words.span(event.duration_s)} ± {words.span(event.uncertainty_s)} {least}".strip()
    return [
        words.instant(event.start_ms, seconds=True),
        length,
        f"{words.number(event.extreme_pu, 3, 'pu')} "
        f"({words.number(event.extreme_pu * found.nominal_v, 1, 'V')})",
        ", ".join(names[each] for each in event.phases if each < len(names)) or "–",
        words.t(f"class_{prodist_class(event, found.limits)}"),
        words.t(f"class_{ieee_1159_class(event, found.limits)}"),
    ]


def data(found: PowerQuality, words: Words) -> Html:
    pace = found.pace
    planned = words.span(pace.planned_ms / 1000) if pace.planned_ms else words.t("by_itself")
    parts: list[Html] = [
        facts(
            [
                (words.t("device"), found.meter.device.name),
                (words.t("profile"), found.meter.device.type),
                (words.t("poll_planned"), planned),
                (words.t("poll_real"), words.span(pace.real_ms / 1000)),
                (words.t("completeness"), words.percent(100 * found.completeness, 2)),
                (words.t("expurgated"), str(int(found.expurgated.sum()))),
                (words.t("uncertain_time"), words.percent(100 * found.uncertain_share, 2)),
                (words.t("window"), _window(found, words)),
            ]
        )
    ]
    if found.gaps:
        longest = sorted(found.gaps, key=lambda each: each.from_ms - each.to_ms)[:GAPS_SHOWN_MAX]
        rows = [
            (words.instant(begin), words.instant(end), words.span((end - begin) / 1000))
            for begin, end in sorted(longest)
        ]
        heads = [words.t(key) for key in ("from", "until", "length")]
        parts.append(table(words.t("gaps_table"), heads, rows, text_columns=2))
        if len(found.gaps) > len(longest):
            parts.append(note(words.t("gaps_more", count=len(found.gaps) - len(longest))))
    else:
        parts.append(tag("p", words.t("no_gaps")))
    return section(words.t("data_title"), parts)


def _window(found: PowerQuality, words: Words) -> str:
    voltage = found.voltage
    if not voltage.readings:
        return "–"
    return words.t("period", begin=words.instant(voltage.from_ms), end=words.instant(voltage.to_ms))


def unseen(found: PowerQuality, words: Words) -> Html:
    sentences = sentences_of(found.sight)
    said = [tag("li", each.pt if words.is_portuguese else each.en) for each in sentences]
    return section(words.t("unseen_title"), tag("ul", said, class_="list"))
