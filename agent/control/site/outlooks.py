"""What lies ahead of each room: its calendar and the tariff, for the next 24 hours.

Rules: what holds is replaced whole (a setting of the centre), between cycles. The outlook of a quarter is
made once and kept while nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo

import numpy as np

from agent.control.room import HORIZON, QUARTERS_PER_DAY, Demand, Outlook
from agent.control.site.calendar import Calendar, ahead_ms, occupied
from agent.control.site.site_load import SiteLoad
from agent.localtime import DAY_MS, date_of, local_ms, minute_of_day
from agent.tariff import Tariff, demand_terms, prices
from agent.tariff.calendar import is_working_day
from agent.tariff.options import HolidayOptions

STEP_S = 900
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


@dataclass(slots=True)
class Outlooks:
    """Call `at` each cycle."""

    terms: Terms
    zone: tzinfo
    free: HolidayOptions = field(default_factory=HolidayOptions)
    load: SiteLoad = field(default_factory=SiteLoad)
    _made: tuple[object, dict[str, Outlook]] = (None, {})

    def at(self, now_ms: int) -> dict[str, Outlook]:
        """The outlook of each room."""
        times_ms = ahead_ms(now_ms)
        key = (int(times_ms[0]), id(self.terms), self.load.peak_w)
        if self._made[0] != key:
            self._made = (key, self._make(now_ms))
        return self._made[1]

    def sample(self, now_ms: int, site_w: float, rooms_w: float) -> None:
        """Note what the site's meter says."""
        local = local_ms(np.array([now_ms]), self.zone)
        day = date_of(int(local[0]) // DAY_MS)
        slot = self._slots(local)[0]
        self.load.sample(now_ms // (STEP_S * 1000), slot, f"{day:%Y-%m}", site_w, rooms_w)

    def _slots(self, local: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[int]:
        kind = np.where(is_working_day(local, self.free), 0, QUARTERS_PER_DAY)
        found: list[int] = (kind + minute_of_day(local) // 15).tolist()
        return found

    def _make(self, now_ms: int) -> dict[str, Outlook]:
        times_ms = ahead_ms(now_ms)
        local = local_ms(times_ms, self.zone)
        first_ms, terms = int(times_ms[0]), self.terms
        price = (
            np.full(HORIZON, terms.price_brl_kwh)
            if terms.tariff is None
            else prices(terms.tariff, first_ms, HORIZON, STEP_S)
        )
        whole = Outlook(
            int(minute_of_day(local[:1])[0]) // 15, (False,) * HORIZON, tuple(np.round(price, 6).tolist())
        )
        whole = self._with_demand(whole, first_ms, self._slots(local))
        return {
            room: replace(whole, occupied=occupied(calendar, times_ms, self.zone, self.free))
            for room, calendar in terms.calendars.items()
        }

    def _with_demand(self, outlook: Outlook, first_ms: int, slots: list[int]) -> Outlook:
        """The dearest of the tariff's demand charges, and the site's own limit."""
        terms = (
            () if self.terms.tariff is None else demand_terms(self.terms.tariff, first_ms, HORIZON, STEP_S)
        )
        dearest = max(terms, key=lambda term: term.price_brl_kw, default=None)
        limit_w = self.terms.limit_w
        if dearest is None and limit_w is None:
            return outlook
        contract_w = 1000 * dearest.contracted_kw if dearest else 0.0
        strictest_w = min(filter(None, (contract_w, limit_w)), default=None)
        price = max(dearest.price_brl_kw if dearest else 0.0, LIMIT_BRL_KW if limit_w else 0.0)
        others = np.array(self.load.ahead_w(slots) or (0.0,) * HORIZON)
        if dearest is not None and limit_w is None:
            others = np.where(dearest.mask, others, NOT_BILLED_W)
        peak_w = self.load.peak_w if limit_w is None else 0.0
        return replace(
            outlook, demand=Demand(price, peak_w, strictest_w), others_w=tuple(np.round(others).tolist())
        )
