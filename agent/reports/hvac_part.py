"""What control did in the rooms, as a part of the month's report. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.reports.figures import shares
from agent.reports.hvac import RoomReport
from agent.reports.markup import Html, section, table, tag
from agent.reports.words import NONE, Words

MINUS_PLUS = "±"


def hvac(rooms: Sequence[RoomReport], words: Words) -> Html:
    """All rooms; says so where there is nothing to say."""
    if not rooms:
        return section(words.t("hvac_title"), tag("p", words.t("no_rooms")))
    return section(
        words.t("hvac_title"),
        _saved(rooms, words),
        _comfort(rooms, words),
        _work(rooms, words),
        tag("p", words.t("hvac_text")),
        class_="new-page",
    )


def _saved(rooms: Sequence[RoomReport], words: Words) -> Html:
    rows: list[list[str | Html]] = []
    for room in rooms:
        saved = room.saved
        if saved is None:
            rows.append([room.id, *[NONE] * 5, words.t("no_model")])
            continue
        sure = saved.saved_kwh - saved.kwh_sure > 0
        rows.append(
            [
                room.id,
                str(saved.days),
                words.number(saved.actual_kwh, 1, "kWh"),
                words.number(saved.baseline_kwh, 1, "kWh"),
                f"{words.number(saved.saved_kwh, 1)} {MINUS_PLUS} {words.number(saved.kwh_sure, 1, 'kWh')}",
                f"{words.brl(saved.saved_brl)} {MINUS_PLUS} {words.number(saved.brl_sure, 2)}",
                words.t("saving_sure" if sure else "saving_unsure"),
            ]
        )
    known = [room.saved for room in rooms if room.saved]
    if len(known) > 1:
        kwh, brl = sum(each.saved_kwh for each in known), sum(each.saved_brl for each in known)
        kwh_sure = float(np.hypot.reduce([each.kwh_sure for each in known]))
        brl_sure = float(np.hypot.reduce([each.brl_sure for each in known]))
        rows.append(
            [
                words.t("total"),
                "",
                words.number(sum(each.actual_kwh for each in known), 1, "kWh"),
                words.number(sum(each.baseline_kwh for each in known), 1, "kWh"),
                f"{words.number(kwh, 1)} {MINUS_PLUS} {words.number(kwh_sure, 1, 'kWh')}",
                f"{words.brl(brl)} {MINUS_PLUS} {words.number(brl_sure, 2)}",
                "",
            ]
        )
    keys = ("room", "days", "used", "schedule_used", "saved", "saved_brl", "verdict")
    return table(
        words.t("saved_table"),
        [words.t(key) for key in keys],
        rows,
        class_="of-total" if len(known) > 1 else None,
    )


def _comfort(rooms: Sequence[RoomReport], words: Words) -> Html:
    rows = [
        [
            room.id,
            _band(room, words),
            words.number(room.quarters / 4, 1, "h"),
            words.percent(100 * room.in_band_share),
            words.percent(100 * room.warm_share),
            words.number(room.mean_c, 1, "°C"),
            words.number(room.highest_c, 1, "°C"),
            words.number(room.saved.actual_kh, 1, "K·h") if room.saved else NONE,
            words.number(room.saved.baseline_kh, 1, "K·h") if room.saved else NONE,
        ]
        for room in rooms
    ]
    keys = ("room", "band", "occupied", "in_band", "too_warm", "mean", "highest", "warm_kh", "schedule_kh")
    return table(words.t("comfort_table"), [words.t(key) for key in keys], rows)


def _band(room: RoomReport, words: Words) -> str:
    low, high = room.band_c
    return words.t("between", low=words.number(low, 1), high=words.number(high, 1, "°C"))


def _work(rooms: Sequence[RoomReport], words: Words) -> Html:
    rows: list[list[str | Html]] = []
    for room in rooms:
        total = max(sum(room.rungs.values()), 1)
        parts = [
            (words.t(f"rung_{rung}"), count / total, f"rung-{rung}") for rung, count in room.rungs.items()
        ]
        starts = ", ".join(f"{unit}: {count}" for unit, count in room.starts.items())
        mode = words.t("is_commanded" if room.commanded else "is_observed")
        rungs = (shares(parts, words), tag("small", _named(parts, words))) if parts else NONE
        rows.append([room.id, mode, starts or NONE, tag("span", rungs) if parts else NONE])
    heads = [words.t(key) for key in ("room", "mode", "starts", "rungs")]
    return table(words.t("work_table"), heads, rows, text_columns=4)


def _named(parts: Sequence[tuple[str, float, str]], words: Words) -> str:
    return ", ".join(f"{name} {words.percent(100 * share)}" for name, share, _ in parts)
