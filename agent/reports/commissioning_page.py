"""The commissioning record as a page to sign, and as CSV. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.commissioning.wiring_text import describe
from agent.reports.commissioning import Commissioning, DeviceFacts, GroupSeen, Latest, Wiring
from agent.reports.document import Head, Tile, document, tiles, verdict
from agent.reports.markup import Html, facts, note, section, table, tag
from agent.reports.sheet import Cell, csv
from agent.reports.words import NONE, Words

ANSWERED_MIN = 0.95
CHECKS = ("display", "transformers", "addresses", "clock", "centre", "passwords", "backup", "labels")
SIGNATURES = ("technician", "customer")


def commissioning_page(found: Commissioning, words: Words) -> bytes:
    """The record as HTML."""
    period = words.t("period", begin=words.instant(found.from_ms), end=words.instant(found.to_ms))
    return document(
        Head(words.t("com_title"), found.facts.site, found.facts.site, period),
        words,
        tiles(list(_tiles(found, words))),
        tag("p", words.t("com_text")),
        _site(found, words),
        _devices(found, words),
        _answers(found, words),
        _lines(found, words),
        _wiring(found, words),
        _values(found, words),
        _checks(found, words),
        _signatures(words),
    )


def commissioning_csv(found: Commissioning, words: Words) -> bytes:
    """A point a row: what it is, its last value and when that was."""
    devices = {each.name: each for each in found.facts.devices}
    keys = ("device", "label", "profile", "line", "address", "point", "value", "unit", "when")
    return csv(words, [words.t(key) for key in keys], _rows(found, devices, words))


def _rows(found: Commissioning, devices: dict[str, DeviceFacts], words: Words) -> Iterator[list[Cell]]:
    for each in found.latest:
        device, _, point = each.id.partition(".")
        about = devices[device]
        value: Cell = each.state or each.value
        when = words.instant(each.time_ms, seconds=True) if each.time_ms else ""
        yield [device, about.label, about.profile, about.line, about.address, point, value, each.unit, when]


# ---------------------------------------------------------------- the summary


def _tiles(found: Commissioning, words: Words) -> Iterator[Tile]:
    answering = [each for each in found.facts.devices if _answered(found, each.name) >= ANSWERED_MIN]
    count = len(found.facts.devices)
    all_answer = len(answering) == count
    yield Tile(words.t("devices_answering"), f"{len(answering)} / {count}", "", _state(words, all_answer))
    faults = sum(len(each.findings) for each in found.wiring)
    unclear = any(not each.usable for each in found.wiring)
    judged = None if not found.wiring or (unclear and not faults) else faults == 0
    yield Tile(
        words.t("wiring_faults"),
        str(faults),
        words.t("of_meters", count=len(found.wiring)),
        _state(words, judged),
    )
    readings, uncertain = (
        sum(getattr(each, key) for each in found.groups) for key in ("readings", "uncertain")
    )
    share = 100 * uncertain / readings if readings else np.nan
    yield Tile(
        words.t("uncertain_time"),
        words.percent(share, 2),
        "",
        _state(words, uncertain == 0 if readings else None),
    )
    known = sum(1 for each in found.latest if each.time_ms)
    yield Tile(words.t("points_with_value"), f"{known} / {len(found.latest)}", words.t("last_hour"))


def _state(words: Words, well: bool | None) -> Html:
    return verdict(words, well, "in_order", "look_at_it")


def _answered(found: Commissioning, device: str) -> float:
    """The share of readings that came well, of its worst group; NaN counts as nothing."""
    period = (found.from_ms, found.to_ms)
    shares = []
    for each in found.groups:
        if each.group.device.name == device:
            expected = each.expected(period)
            of = expected if np.isfinite(expected) else float(each.readings)
            shares.append((each.readings - each.bad) / of if of else 0.0)
    return min(shares, default=0.0)


# ---------------------------------------------------------------- what there is


def _site(found: Commissioning, words: Words) -> Html:
    pairs = [
        (words.t(key), value or NONE)
        for key, value in (("site_name", found.facts.site), *found.facts.settings, *found.facts.versions)
    ]
    return section(words.t("site_title"), facts(pairs))


def _devices(found: Commissioning, words: Words) -> Html:
    rows = [
        [
            each.name,
            each.label or NONE,
            each.title,
            each.profile,
            each.line,
            each.address or NONE,
            each.fingerprint,
        ]
        for each in found.facts.devices
    ]
    keys = ("device", "label", "device_type", "profile", "line", "address", "fingerprint")
    heads = [words.t(key) for key in keys]
    sources = {each.profile: each.sources for each in found.facts.devices if each.sources}
    said = [tag("li", tag("strong", profile), ": ", "; ".join(text)) for profile, text in sources.items()]
    return section(
        words.t("devices_title"),
        table(words.t("devices_table"), heads, rows, text_columns=len(keys)),
        tag("h3", words.t("profile_sources")) if said else "",
        tag("ul", said, class_="list") if said else "",
    )


def _answers(found: Commissioning, words: Words) -> Html:
    rows = [_answer_row(each, found, words) for each in found.groups]
    keys = ("group", "interval", "pace", "readings", "of_expected", "bad", "longest_silence", "last_reading")
    return section(
        words.t("answers_title"),
        table(words.t("answers_table"), [words.t(key) for key in keys], rows),
        tag("p", words.t("answers_text")),
    )


def _answer_row(seen: GroupSeen, found: Commissioning, words: Words) -> list[str | Html]:
    expected = seen.expected((found.from_ms, found.to_ms))
    planned = seen.group.interval_ms
    return [
        f"{seen.group.device.name}, {seen.group.name}",
        words.span(planned / 1000) if planned else words.t("by_itself"),
        words.span(seen.pace_ms / 1000),
        words.number(seen.readings, 0),
        words.percent(100 * seen.readings / expected) if np.isfinite(expected) else NONE,
        words.percent(100 * seen.bad / seen.readings, 2) if seen.readings else NONE,
        words.span(seen.longest_ms / 1000) if seen.longest_ms else NONE,
        words.instant(seen.last_ms, seconds=True) if seen.last_ms else words.t("never"),
    ]


def _lines(found: Commissioning, words: Words) -> Html:
    rows = []
    for line in found.facts.lines:
        figures = found.line_figures.get(line.name, {})
        counts = [figures.get(key, np.nan) for key in ("requests", "timeouts", "crc_errors", "exceptions")]
        rows.append(
            [
                line.name,
                line.driver,
                line.where,
                words.number(figures.get("stretch", np.nan), 2),
                words.percent(figures.get("busy", np.nan)),
                *(words.number(each, 0) for each in counts),
            ]
        )
    keys = ("line", "driver", "where", "stretch", "busy", "requests", "timeouts", "crc_errors", "exceptions")
    return section(
        words.t("lines_title"),
        table(words.t("lines_table"), [words.t(key) for key in keys], rows, text_columns=3),
        tag("p", words.t("lines_text")),
    )


# ---------------------------------------------------------------- how it is wired


def _wiring(found: Commissioning, words: Words) -> Html:
    if not found.wiring:
        return section(words.t("wiring_title"), tag("p", words.t("no_wiring")))
    return section(words.t("wiring_title"), [_wiring_of(each, words) for each in found.wiring])


def _wiring_of(wiring: Wiring, words: Words) -> Html:
    device, last = wiring.meter.device, wiring.last
    rows = [
        [
            f"L{k + 1}",
            words.number(last.voltage_v[k], 1, "V"),
            words.number(last.current_a[k], 2, "A"),
            words.number(last.active_power_w[k], 0, "W"),
            words.number(last.reactive_power_var[k], 0, "var"),
        ]
        for k in range(3)
    ]
    heads = [words.t(key) for key in ("phase", "voltage", "current", "active", "reactive")]
    said: list[Html] = []
    for finding in wiring.findings:
        text = describe(finding, "pt" if words.is_portuguese else "en")
        title = tag("strong", f"{text.title} ({text.confidence}). ")
        said.append(note(title, f"{text.seen} ", text.action, kind="warn"))
    if not wiring.findings:
        key = "wiring_well" if wiring.usable else "wiring_no_load"
        said.append(note(words.t(key, count=wiring.readings, usable=wiring.usable)))
    return tag(
        "div",
        tag("h3", f"{device.label} ({device.name})" if device.label else device.name),
        said,
        table(words.t("wiring_table"), heads, rows),
    )


def _values(found: Commissioning, words: Words) -> Html:
    rows = [[each.id, _value(each, words), _when(each, words)] for each in found.latest]
    heads = [words.t(key) for key in ("point", "value", "when")]
    return section(words.t("values_title"), table(words.t("values_table"), heads, rows))


def _value(latest: Latest, words: Words) -> str:
    if latest.state:
        return latest.state
    size = abs(latest.value)
    return words.number(latest.value, 0 if size >= 1000 else 2 if size >= 1 else 3, latest.unit)


def _when(latest: Latest, words: Words) -> str:
    return words.instant(latest.time_ms, seconds=True) if latest.time_ms else words.t("never")


# ---------------------------------------------------------------- to be filled in by hand


def _checks(found: Commissioning, words: Words) -> Html:
    box = tag("span", "", class_="box", role="img", aria_label=words.t("empty_box"))
    rows = [[words.t(f"check_{key}"), box, box, ""] for key in CHECKS]
    heads = [words.t(key) for key in ("check", "done", "not_applicable", "remarks")]
    return section(
        words.t("checks_title"),
        table(words.t("checks_table"), heads, rows, text_columns=4, class_="to-fill"),
        class_="new-page",
    )


def _signatures(words: Words) -> Html:
    return tag(
        "div",
        [tag("div", words.t(f"sign_{key}"), tag("small", words.t("sign_hint"))) for key in SIGNATURES],
        class_="sign",
    )
