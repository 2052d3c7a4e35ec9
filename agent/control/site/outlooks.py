"""What lies ahead of each room: its calendar and the tariff, for the next 24 hours.

Rules: what holds is replaced whole (a setting of the centre), between cycles. What calendar and tariff say
is made once a local day (`almanac`, elsewhere: holidays and numpy come with it), the outlook once a quarter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, tzinfo
from typing import TYPE_CHECKING

from agent.control.room import HORIZON, QUARTER_MS, QUARTERS_PER_DAY, Demand, Outlook
from agent.control.site.calendar import Calendar
from agent.control.site.site_load import SiteLoad

if TYPE_CHECKING:
    from agent.tariff import Tariff

LIMIT_BRL_KW = 100.0
"""What a kW above a limit without a tariff's price of demand is taken to cost: more than any energy."""
NOT_BILLED_W = -1e9
"""Draws so little that no quarter of it can raise the demand: outside a post that has none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds at the site now. `calendars` by room id; `tariff` None: one price at all hours."""

    calendars: Mapping[str, Calendar]
    tariff: Tariff | None = None
    price_brl_kwh: float = 0.9
    limit_w: float | None = None
    zone: tzinfo = UTC
    holiday_state: str = ""
    holidays_extra: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True)
class DemandHours:
    """A price of demand, and in which quarters what is drawn counts for it."""

    price_brl_kw: float
    contract_w: float
    counts: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Almanac:
    """What calendar and tariff say of each quarter from the number `first` (since 1970) on.

    `slots`: the quarter of the local day, 0 to 95, on days without work 96 more; `occupied` by room id.
    """

    first: int
    slots: tuple[int, ...]
    price: tuple[float, ...]
    occupied: Mapping[str, tuple[bool, ...]]
    demand: DemandHours | None


@dataclass(slots=True)
class Outlooks:
    """Call `sample`, if there is something to note, and `at` each cycle. `make(terms, first)`: an almanac."""

    terms: Terms
    make: Callable[[Terms, int], Almanac]
    load: SiteLoad = field(default_factory=SiteLoad)
    _almanac: tuple[Terms, date, Almanac] | None = None
    _made: tuple[object, dict[str, Outlook]] = (None, {})

    def at(self, now_ms: int) -> dict[str, Outlook]:
        """The outlook of each room."""
        almanac = self._of(now_ms)
        quarter = now_ms // QUARTER_MS
        key = (quarter, almanac, self.load.peak_w)
        if self._made[0] != key:
            self._made = (key, self._outlooks(almanac, quarter - almanac.first))
        return self._made[1]

    def sample(self, now_ms: int, site_w: float, rooms_w: float) -> None:
        """Note what the site's meter says."""
        quarter, almanac = now_ms // QUARTER_MS, self._of(now_ms)
        month = f"{self._date(now_ms):%Y-%m}"
        self.load.sample(quarter, almanac.slots[quarter - almanac.first], month, site_w, rooms_w)

    def _of(self, now_ms: int) -> Almanac:
        """The almanac of the local day: prices of demand are those of its date."""
        first, day = now_ms // QUARTER_MS, self._date(now_ms)
        if self._almanac is not None:
            terms, made_for, almanac = self._almanac
            ahead = almanac.first + len(almanac.slots) - first
            if terms is self.terms and made_for == day and HORIZON <= ahead <= len(almanac.slots):
                return almanac
        self._almanac = (self.terms, day, self.make(self.terms, first))
        return self._almanac[2]

    def _date(self, now_ms: int) -> date:
        return datetime.fromtimestamp(now_ms / 1000, self.terms.zone).date()

    def _outlooks(self, almanac: Almanac, at: int) -> dict[str, Outlook]:
        ahead = slice(at, at + HORIZON)
        whole = Outlook(almanac.slots[at] % QUARTERS_PER_DAY, (False,) * HORIZON, almanac.price[ahead])
        whole = self._with_demand(whole, almanac, ahead)
        return {room: replace(whole, occupied=hours[ahead]) for room, hours in almanac.occupied.items()}

    def _with_demand(self, outlook: Outlook, almanac: Almanac, ahead: slice) -> Outlook:
        """The dearest of the tariff's demand charges, and the site's own limit."""
        dearest, limit_w = almanac.demand, self.terms.limit_w
        if dearest is None and limit_w is None:
            return outlook
        contract_w = dearest.contract_w if dearest else 0.0
        strictest_w = min(filter(None, (contract_w, limit_w)), default=None)
        price = max(dearest.price_brl_kw if dearest else 0.0, LIMIT_BRL_KW if limit_w else 0.0)
        others_w = self.load.ahead_w(almanac.slots[ahead]) or (0.0,) * HORIZON
        if dearest is not None and limit_w is None:
            billed = zip(others_w, dearest.counts[ahead], strict=True)
            others_w = tuple(each if counts else NOT_BILLED_W for each, counts in billed)
        peak_w = self.load.peak_w if limit_w is None else 0.0
        return replace(
            outlook,
            demand=Demand(price, peak_w, strictest_w),
            others_w=tuple(float(round(each)) for each in others_w),
        )
