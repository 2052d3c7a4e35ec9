"""What control recorded, as a part of the month's report."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from agent.control.planner import at_home
from agent.control.site.record import read_only
from agent.control.site.savings import Savings
from agent.reports.hvac import RoomReport, hvac
from agent.reports.hvac_part import hvac as hvac_part
from agent.reports.options import LANGUAGES, Language
from agent.reports.words import Words
from tests.control.site.places import Place, dispatching, room_options
from tests.reports.places import SAO_PAULO

FOREVER = (0, 2**53)


async def test_rungs_starts_and_comfort_are_those_of_the_record(tmp_path: Path) -> None:
    place = Place(tmp_path, [room_options()], planner=at_home)
    async with place.control() as control, dispatching(place):
        decisions = await place.minutes(control, 120)
    with closing(read_only(tmp_path / "control.db")) as record:
        (room,) = hvac(record, [room_options()], FOREVER, lambda times: np.full(times.size, 0.9))
        cycles = list(record.cycles(0, FOREVER[1]))
        assert hvac(record, [room_options()], (0, 1), lambda times: np.full(times.size, 0.9)) == ()
    assert room.id == room_options().id
    assert sum(room.rungs.values()) == sum(len(each.decisions) for each in cycles) == len(cycles)
    assert decisions
    ons = [bool(each.decisions[0]["on"]) for each in cycles]
    starts = sum(now and not before for before, now in itertools.pairwise(ons))
    assert sum(room.starts.values()) == starts
    assert room.saved is None  # less than three whole days


@pytest.mark.parametrize("language", LANGUAGES)
def test_savings_are_told_with_how_sure_they_are(language: Language) -> None:
    saved = Savings(20, 310.0, 402.5, 21.0, 279.0, 362.25, 18.9, 0.4, 1.9)
    nothing = Savings(20, 310.0, 312.5, 21.0, 279.0, 281.0, 18.9, 0.4, 1.9)
    rooms = [
        RoomReport("sala-1", (21, 25), True, saved, 800, 0.97, 0.01, 24.1, 25.6, {"s": 41}, {0: 900, 2: 100}),
        RoomReport("<sala>", (21, 25), False, nothing, 0, np.nan, np.nan, np.nan, np.nan),
        RoomReport("sala-3", (21, 25), True, None, 10, 1.0, 0.0, 23.0, 24.0),
    ]
    page = hvac_part(rooms, Words(language, SAO_PAULO))
    comma = language == "pt-BR"
    assert ("92,5 ± 21,0" if comma else "92.5 ± 21.0") in page
    assert ("R$\u00a083,25 ± 18,90" if comma else "R$\u00a083.25 ± 18.90") in page
    words = Words(language, SAO_PAULO)
    assert words.t("saving_sure") in page
    assert words.t("saving_unsure") in page
    assert words.t("no_model") in page
    assert "&lt;sala&gt;" in page
    assert "nan" not in page
    assert words.t("no_rooms") in hvac_part([], words)
