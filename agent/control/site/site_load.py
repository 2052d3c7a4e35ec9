"""What else the site draws, and its highest quarter of the month: what the demand charge is about.

Rules: learned from the site's meter less what the rooms' meters say, by the quarter of the day, working days
apart from others. A quarter that nobody measured stays unknown. Plain numbers, JSON in and out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agent.control.room import QUARTERS_PER_DAY

SHARE = 0.25
"""Of a new day in what is expected of the next."""
SAMPLES_MIN = 3


@dataclass(slots=True)
class SiteLoad:
    """`others_w`: expected, first the quarters of working days, then of others; None: not known yet."""

    month: str = ""
    peak_w: float = 0.0
    others_w: list[float | None] = field(default_factory=lambda: [None] * (2 * QUARTERS_PER_DAY))
    quarter: int = -1
    slot: int = 0
    site_sum_w: float = 0.0
    others_sum_w: float = 0.0
    samples: int = 0

    def sample(self, quarter: int, slot: int, month: str, site_w: float, rooms_w: float) -> None:
        """Note what was seen in `quarter` (since 1970), in slot 0-191 of the day's kind, in a local month."""
        if quarter != self.quarter:
            self._close()
            self.quarter, self.slot = quarter, slot
        if month != self.month:
            self.month, self.peak_w = month, 0.0
        self.site_sum_w += site_w
        self.others_sum_w += max(site_w - rooms_w, 0.0)
        self.samples += 1

    def _close(self) -> None:
        if self.samples >= SAMPLES_MIN:
            self.peak_w = max(self.peak_w, self.site_sum_w / self.samples)
            new_w, old_w = self.others_sum_w / self.samples, self.others_w[self.slot]
            self.others_w[self.slot] = new_w if old_w is None else old_w + SHARE * (new_w - old_w)
        self.site_sum_w, self.others_sum_w, self.samples = 0.0, 0.0, 0

    def ahead_w(self, slots: Sequence[int]) -> tuple[float, ...] | None:
        """What is expected at these slots; None if nothing is known. A hole is the mean of what is known."""
        known = [each for each in self.others_w if each is not None]
        if not known:
            return None
        mean_w = sum(known) / len(known)
        return tuple(mean_w if (own := self.others_w[slot]) is None else own for slot in slots)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SiteLoad:
        return cls(**data)
