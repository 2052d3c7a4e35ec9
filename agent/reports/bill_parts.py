"""The bill of a month in words: its lines, what could not be known, how the month will end. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from agent.reports.energy import Energy
from agent.reports.markup import Html, note, section, table, tag
from agent.reports.words import NONE, Words
from agent.tariff.bill import Bill, Item

DIGITS = {"kWh": 1, "kW": 2}


def cost(found: Energy, words: Words) -> Html:
    """Every line of the bill."""
    bill = found.month.bill
    said: list[Html | str] = [_lines(bill, words)]
    if found.price.tariff is not None:
        said.append(_flag(found, words))
        said.append(_reactive(found, words))
    said.append(tag("p", words.t("bill_text")))
    return section(words.t("cost_title"), said)


def _lines(bill: Bill, words: Words) -> Html:
    rows = [
        [
            _name(item, words),
            words.number(item.quantity, DIGITS.get(item.unit, 0), item.unit) if item.unit else "",
            words.brl(item.price_brl, 4 if item.unit == "kWh" else 2) if item.unit else "",
            words.brl(item.amount_brl),
        ]
        for item in bill.items
    ]
    rows.append([words.t("total"), "", "", words.brl(bill.total_brl)])
    heads = [words.t(key) for key in ("line", "quantity", "price_untaxed", "amount")]
    return table(words.t("bill_table"), heads, rows, class_="of-total")


def _name(item: Item, words: Words) -> str:
    name = words.t(f"item_{item.code}")
    if not item.part:
        return name
    kind = "flag" if item.code == "flag" else "window" if item.code in _BY_WINDOW else "post"
    return f"{name}, {words.t(f'{kind}_{item.part}')}"


_BY_WINDOW = frozenset({"demand", "unused_demand", "overshoot", "reactive_demand"})


def _flag(found: Energy, words: Words) -> Html:
    tariff = found.price.tariff
    if tariff is None or not tariff.file.flags:
        return Html("")
    month = f"{datetime.fromtimestamp(found.from_ms / 1000, words.zone):%Y-%m}"
    flag, is_known = tariff.flag_of(month)
    key = "flag_is" if is_known else "flag_is_assumed"
    return tag("p", words.t(key, flag=words.t(f"flag_{flag}")))


def _reactive(found: Energy, words: Words) -> Html:
    """What is said of reactive power where it is charged."""
    tariff, used = found.price.tariff, found.month.usage
    if tariff is None or used is None or not any(each.reactive for each in tariff.file.version):
        return Html("")
    if not found.month.reactive_known:
        return note(words.t("reactive_unknown"), kind="warn")
    total = float(used.reactive_kwh.sum())
    return tag("p", words.t("reactive_excess", excess=words.number(total, 1, "kWh")))


def notes(bill: Bill, words: Words) -> Iterator[str]:
    """What the bill could not know."""
    for each in bill.notes:
        key, _, value = each.partition(":")
        if key == "missing_hours":
            yield words.t("note_missing_hours", hours=words.number(float(value), 2, "h"))
        elif key in ("example_prices", "older_than_tariff"):
            yield words.t(f"note_{key}")
        elif key == "flag_assumed":
            yield words.t("note_flag_assumed", month=value)


def outlook(found: Energy, words: Words) -> Html:
    """How an open month will end."""
    ahead = found.ahead
    if ahead is None:
        return section(words.t("outlook_title"), tag("p", words.t("no_outlook")))
    rows = [
        [
            words.t("energy"),
            words.number(found.month.energy_kwh, 0, "kWh"),
            words.number(ahead.energy_kwh, 0, "kWh"),
        ],
        [words.t("cost"), words.brl(found.month.bill.total_brl), words.brl(ahead.bill.total_brl)],
        [
            words.t("peak_demand"),
            words.number(ahead.peak.so_far_kw, 1, "kW"),
            words.t(
                "peak_ahead",
                median=words.number(ahead.peak.median_kw, 1, "kW"),
                high=words.number(ahead.peak.high_kw, 1, "kW"),
            ),
        ],
    ]
    heads = [words.t("what"), words.t("so_far"), words.t("at_the_end")]
    error = words.number(ahead.error_kw, 1, "kW") if np.isfinite(ahead.error_kw) else NONE
    return section(
        words.t("outlook_title"),
        table(words.t("outlook_table"), heads, rows),
        tag("p", words.t("outlook_text", error=error)),
    )
