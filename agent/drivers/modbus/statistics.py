"""What is known of a device's traffic: counts since the start, response times of the last requests."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

RESPONSES_KEPT = 200
COUNTS = ("requests", "timeouts", "crc_errors", "strays", "exceptions", "malformed")


@dataclass(slots=True)
class Traffic:
    """One device's traffic. Response times are in seconds, from the request's first byte on."""

    counts: Counter[str] = field(default_factory=Counter)
    responses_s: deque[float] = field(default_factory=lambda: deque(maxlen=RESPONSES_KEPT))

    def as_data(self) -> dict[str, Any]:
        """Every count, and the response times' percentiles in ms (None before the first answer)."""
        counts = {name: self.counts[name] for name in COUNTS}
        return counts | {"response_ms": percentiles_ms(self.responses_s)}


def percentiles_ms(responses_s: deque[float]) -> dict[str, float] | None:
    """Nearest-rank percentiles of the given seconds, in ms."""
    ordered = sorted(responses_s)
    if not ordered:
        return None
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {
        name: round(1000 * ordered[min(int(rank * len(ordered)), last)], 2) for name, rank in ranks.items()
    }
