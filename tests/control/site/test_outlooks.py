"""What lies ahead: one almanac a day, and each quarter what an almanac of that quarter would say."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.control.room import HORIZON, Outlook
from agent.control.site.almanac import almanac
from agent.control.site.calendar import of_room
from agent.control.site.outlooks import NOT_BILLED_W, Almanac, Outlooks, Terms
from tests.control.site.places import room_options
from tests.tariff.files import AZUL, SAO_PAULO, VERDE, tariff

QUARTER_MS = 900_000
ROOM = room_options()


class Maker:
    """Makes almanacs and counts them."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, terms: Terms, first: int) -> Almanac:
        self.made.append(first)
        return almanac(terms, first)


def at_ms(text: str, zone: ZoneInfo = SAO_PAULO) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


def of(outlooks: Outlooks, now_ms: int) -> Outlook:
    return outlooks.at(now_ms)[ROOM.id]


@pytest.mark.parametrize(
    ("zone", "begin"),
    [("America/Sao_Paulo", "2026-01-05T10:20"), ("America/Santiago", "2026-04-04T10:20")],
    ids=["plain", "the clock goes back"],
)
def test_each_quarter_is_what_an_almanac_of_its_own_would_say(tmp_path: Path, zone: str, begin: str) -> None:
    terms = Terms({ROOM.id: of_room(ROOM)}, tariff(AZUL, tmp_path), zone=ZoneInfo(zone))
    maker = Maker()
    kept = Outlooks(terms, maker)
    first_ms = at_ms(begin, ZoneInfo(zone))
    for quarter in range(0, 2 * HORIZON, 5):
        now_ms = first_ms + quarter * QUARTER_MS
        assert of(kept, now_ms) == of(Outlooks(terms, almanac), now_ms)
    assert len(maker.made) == 3, "one a local day"


def test_hours_prices_and_holidays_are_those_of_the_wall_clock(tmp_path: Path) -> None:
    maker = Maker()
    outlooks = Outlooks(Terms({ROOM.id: of_room(ROOM)}, tariff(VERDE, tmp_path), zone=SAO_PAULO), maker)
    found = of(outlooks, at_ms("2026-04-20T16:05"))
    assert found.quarter == 64
    assert found.occupied[0]
    assert found.price[:9] == (0.5,) * 8 + (3.0,)
    assert not any(found.occupied[32:]), "Tiradentes, a Tuesday"
    assert set(found.price[32:]) == {0.5}


def test_a_change_of_terms_and_a_clock_set_back_need_another_almanac() -> None:
    maker = Maker()
    outlooks = Outlooks(Terms({ROOM.id: of_room(ROOM)}, zone=SAO_PAULO), maker)
    noon_ms = at_ms("2026-01-05T12:00")
    assert of(outlooks, noon_ms).price[0] == 0.9
    outlooks.terms = Terms({ROOM.id: of_room(ROOM)}, price_brl_kwh=2.0, zone=SAO_PAULO)
    assert of(outlooks, noon_ms).price[0] == 2.0
    assert of(outlooks, noon_ms - 4 * 3_600_000).quarter == 32
    assert of(outlooks, noon_ms).quarter == 48
    assert len(maker.made) == 3


def test_the_peak_of_the_month_and_the_rest_of_the_site_need_none(tmp_path: Path) -> None:
    """What the site's meter says is added here: a new peak is known in the cycle that closes its quarter."""
    maker = Maker()
    terms = Terms({ROOM.id: of_room(ROOM)}, tariff(AZUL, tmp_path), zone=SAO_PAULO)
    outlooks = Outlooks(terms, maker)
    first_ms = at_ms("2026-01-05T17:30")
    for minute in range(46):
        now_ms = first_ms + minute * 60_000
        outlooks.sample(now_ms, 30_000.0, 2000.0)
        found = of(outlooks, now_ms)
    assert found.demand is not None
    assert found.demand.peak_w == 30_000.0
    assert found.demand.contract_w == 80_000.0
    assert found.others_w is not None
    assert found.others_w[0] == 28_000.0
    assert found.others_w[12] == NOT_BILLED_W, "after nine no peak is billed"
    assert outlooks.load.others_w[70] == 28_000.0
    assert outlooks.load.month == "2026-01"
    assert len(maker.made) == 1


def test_a_sunday_is_another_kind_of_day() -> None:
    outlooks = Outlooks(Terms({ROOM.id: of_room(ROOM)}, zone=SAO_PAULO), almanac)
    for minute in range(16):
        outlooks.sample(at_ms("2026-01-04T08:00") + minute * 60_000, 5000.0, 0.0)
    assert outlooks.load.others_w[96 + 32] == 5000.0
