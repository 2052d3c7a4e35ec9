"""What every analysis of one run looks at."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from agent.analysis.power_quality.limits import Limits, limits_on
from agent.analysis.site.book import Book
from agent.analysis.site.plan import GroupPlan, Plan

TEN_MS = 600_000


class Scene(NamedTuple):
    """`at_ms`: the instant that the run is for, the end of a 10-minute interval."""

    book: Book
    plan: Plan
    limits: Limits
    zone: ZoneInfo
    at_ms: int

    @property
    def day(self) -> str:
        """The local day."""
        return f"{datetime.fromtimestamp(self.at_ms / 1000, self.zone):%Y-%m-%d}"

    def groups(self, device: str) -> list[GroupPlan]:
        """Those of one device."""
        return [group for group in self.plan.groups if group.device == device]


def scene(book: Book, plan: Plan, time_ms: int) -> Scene:
    """As of the last 10-minute interval that has ended by `time_ms`."""
    zone, at_ms = ZoneInfo(plan.zone), time_ms // TEN_MS * TEN_MS
    day = datetime.fromtimestamp(at_ms / 1000, zone).date()
    return Scene(book, plan, limits_on(day), zone, at_ms)
