"""The nouns: device, point, group, reading. Everything else in the agent speaks in these.

Rules.
1. A value is a float; booleans are 0/1, modes are codes with labels; text is never a reading.
2. Time is Unix milliseconds, UTC. Local time exists only at the page and the CSV.
3. NaN means "not available". A failed read is a reading too (all NaN, BAD): silence must never
   look like the last good value.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

NAN = math.nan
HOUR_MS = 3_600_000
STEP_TOLERANCE = 1e-6


class Quality(enum.IntEnum):
    """How far a reading can be trusted (after OPC UA: good, uncertain, bad)."""

    BAD = 0
    UNCERTAIN = 1
    GOOD = 2


class Kind(enum.StrEnum):
    """What a point is over time: a level, a counter that only grows, or a code."""

    GAUGE = "gauge"
    TOTAL = "total"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Writable:
    """What may be written to a point: from `low` to `high`, in steps of `step` from `low` (0: any value).

    `on_silence` are words on what the device does when nobody commands it any more; `fallback` is what the
    agent writes when the last lease on the point ends, None: nothing.
    """

    low: float = -math.inf
    high: float = math.inf
    step: float = 0.0
    on_silence: str = ""
    fallback: float | None = None

    def check(self, value: float) -> None:
        """ValueError if `value` is outside the range or off the grid."""
        if not math.isfinite(value):
            raise ValueError(f"expected a number, found {value}")
        if not self.low <= value <= self.high:
            raise ValueError(f"expected {self._range()}, found {value:g}")
        start = self.low if math.isfinite(self.low) else 0.0
        steps = (value - start) / self.step if self.step else 0.0
        if abs(steps - round(steps)) > STEP_TOLERANCE:
            raise ValueError(f"expected steps of {self.step:g} from {start:g} on, found {value:g}")

    def _range(self) -> str:
        if math.isinf(self.low):
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Point:
    """One measurable or writable thing of a device. `unit` is SI or the field's own ("V", "kWh", "°C"), "" if
    none; a point without `writable` is read only."""

    name: str
    unit: str = ""
    kind: Kind = Kind.GAUGE
    states: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    writable: Writable | None = None

    def check(self, value: float) -> None:
        """ValueError if `value` may not be written: what was expected and what was found."""
        if self.writable is None:
            raise ValueError("expected a point that can be written, this one is read only")
        self.writable.check(value)
        if self.states and value not in self.states:
            known = ", ".join(f"{code} {word}" for code, word in self.states.items())
            raise ValueError(f"expected one of {known}, found {value:g}")


@dataclass(frozen=True, slots=True)
class Device:
    """One telemetry module, meter, sensor or air conditioner. `type` is its profile's name."""

    name: str
    type: str
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The points of a device that are read together, `interval_ms` apart (0: the device decides)."""

    device: Device
    name: str
    points: tuple[Point, ...]
    interval_ms: int

    @property
    def point_ids(self) -> tuple[str, ...]:
        """`device.point` of each value of a reading of this group, in its order."""
        return tuple(f"{self.device.name}.{point.name}" for point in self.points)

    def bad(self, time_ms: int) -> Reading:
        """What is published when the group could not be read."""
        return Reading(self, time_ms, (NAN,) * len(self.points), Quality.BAD)


class Reading(NamedTuple):
    """The values of one group at one instant: `values[i]` belongs to `group.points[i]`."""

    group: Group
    time_ms: int
    values: Sequence[float]
    quality: Quality = Quality.GOOD
